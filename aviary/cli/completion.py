"""Release ids for the shell to complete, as Temporal lists them: fast, and silent when it can't.

Nothing here may print: a shell asks while a person types.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aviary.settings import Settings

_WITHIN_S: Final = 1.5
_MOST: Final = 50


def running(incomplete: str) -> list[str]:
    """Releases that run and begin like this."""
    return _releases(incomplete, " AND ExecutionStatus = 'Running'")


def known(incomplete: str) -> list[str]:
    """Releases that begin like this, newest first."""
    return _releases(incomplete, "")


def _releases(incomplete: str, more: str) -> list[str]:
    from temporalio.service import RPCError  # noqa: PLC0415 - only when asked

    from adapters.errors import Retryable  # noqa: PLC0415
    from aviary.settings import SettingsError, load_settings  # noqa: PLC0415

    if not all(one.isascii() and (one.isalnum() or one in "._-") for one in incomplete):
        return []
    try:
        settings = load_settings()
        return asyncio.run(asyncio.wait_for(_listed(settings, incomplete, more), _WITHIN_S))
    except (SettingsError, RPCError, Retryable, TimeoutError):
        return []  # no completion is what a shell shows for none


async def _listed(settings: Settings, incomplete: str, more: str) -> list[str]:
    from aviary.connect import connect_temporal  # noqa: PLC0415
    from schemas.ids import RELEASE_WORKFLOW, release_workflow_id  # noqa: PLC0415

    client = await connect_temporal(settings)
    begin = release_workflow_id(incomplete)
    query = f"WorkflowType = '{RELEASE_WORKFLOW}' AND WorkflowId STARTS_WITH '{begin}'{more}"
    listed = client.list_workflows(query, limit=_MOST, page_size=_MOST)
    return [one.id.removeprefix(release_workflow_id("")) async for one in listed]
