"""`aviary completion`: the shell's script, and release ids to complete, as Temporal lists them.

A shell asks for release ids while a person types: the answer is fast, or there is none, and nothing
is printed beside it.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aviary.cli.border import echo

if TYPE_CHECKING:
    from aviary.settings import Settings

_WITHIN_S: Final = 1.5
_MOST: Final = 50


class Shell(StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(completion)


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print the script that has a shell complete commands, options and release ids."""
    from typer import completion as scripts  # noqa: PLC0415 - keeps --help fast

    script = scripts.get_completion_script(  # type: ignore[attr-defined]
        prog_name="aviary", complete_var="_AVIARY_COMPLETE", shell=shell.value
    )
    echo(script)


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
    begin = release_workflow_id(incomplete, settings.in_cell)
    query = f"WorkflowType = '{RELEASE_WORKFLOW}' AND WorkflowId STARTS_WITH '{begin}'{more}"
    listed = client.list_workflows(query, limit=_MOST, page_size=_MOST)
    mine = release_workflow_id("", settings.in_cell)
    return [one.id.removeprefix(mine) async for one in listed]
