"""Hooks over HTTP: a signed CloudEvent is posted, and the status says yes, no or later.

Here belongs how it is sent, signed and answered. When it is sent and what a no does does not
(`workflows/hooks.py`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from pydantic import Field

from adapters.hooks.http.connection import HttpHookConnection
from adapters.kinds import HookKind
from schemas.base import Model, SomeDuration

if TYPE_CHECKING:
    from adapters.hooks.http.caller import HttpHook


class HttpHookOptions(Model):
    """What a catalog says beside `kind: http`."""

    path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~!$&'()*+,;=:-]*)*/?$",
        max_length=500,
        description="Below the connection's address, such as `/smoke-test`.",
    )
    timeout: SomeDuration = Field(
        default=timedelta(seconds=30), description="Longest that one call may take."
    )


def _make(options: HttpHookOptions, connection: HttpHookConnection | None, _: object) -> HttpHook:
    from adapters.hooks.http.caller import HttpHook  # noqa: PLC0415 - its client is heavy

    if connection is None:
        raise ValueError("connection: missing")
    return HttpHook(connection, path=options.path, timeout=options.timeout)


HTTP: Final = HookKind[HttpHookOptions, HttpHookConnection](
    name="http",
    text="A signed CloudEvent, posted over HTTP; the status is the answer.",
    options=HttpHookOptions,
    connection=HttpHookConnection,
    needs_connection=True,
    make=_make,
)
