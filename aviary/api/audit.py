"""The audit log: a line for each request that changes something, or would have."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import Request

from aviary.api.roles import Caller

_log = structlog.get_logger("aviary.audit")
NOBODY: Final = "-"
"""Who has not proved who it is."""


def audit(  # noqa: PLR0913, PLR0917 - the fields of a line
    request: Request,
    caller: Caller | str | None,
    action: str,
    status: HTTPStatus,
    about: Mapping[str, object],
    reason: str = "",
) -> None:
    """Write one line.

    Args:
        request: what was asked.
        caller: who asked; None: nobody who is known.
        action: what was asked for, such as `rollback`.
        status: the answer.
        about: what it was about: the release, the services, what the caller said.
        reason: why it was refused, in one word; empty where it was not.
    """
    name = caller.name if isinstance(caller, Caller) else caller or NOBODY
    _log.info(
        "audit",
        action=action,
        by=name,
        address=request.client.host if request.client else "",
        status=status.value,
        **({"refused": reason} if reason else {}),
        **about,
    )
