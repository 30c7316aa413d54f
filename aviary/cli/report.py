"""`aviary report`: the page for the post-mortem of a release."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import AddressOption, NamespaceOption
from aviary.cli.reaching import ReleaseArgument

if TYPE_CHECKING:
    from aviary.settings import Settings
    from schemas.timeline import Timeline

_STDOUT = Path("-")


def register(app: typer.Typer) -> None:
    """Add `aviary report` to the command line."""
    app.command()(report)


def report(
    release: ReleaseArgument,
    target: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; - is stdout, and the default.")
    ] = _STDOUT,
    address: AddressOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Write the report of a release, finished or running, as one page of HTML."""
    from aviary.report.folder import write_whole  # noqa: PLC0415 - keeps --help fast
    from aviary.report.page import render  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415

    settings = load_settings(temporal_address=address, temporal_namespace=namespace)
    page = render(asyncio.run(_timeline(settings, release)), datetime.now(UTC))
    if target == _STDOUT:
        sys.stdout.write(page)
        return
    try:
        write_whole(target, page)
    except OSError as error:
        text = f"--output: got '{target}', expected a writable file ({error.strerror})"
        raise CommandError(ExitCode.BAD_INPUT, text) from None


async def _timeline(settings: Settings, release: str) -> Timeline:
    from aviary.releases.remote import Releases, failures_told  # noqa: PLC0415 - brings in the SDK
    from aviary.report.running import with_running  # noqa: PLC0415

    releases = await Releases.connect(settings)
    timeline = await releases.timeline(release)
    async with failures_told(f"release {release}"):
        return await with_running(releases.client, timeline, cell=settings.in_cell)
