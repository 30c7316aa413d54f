"""`aviary release revert`: takes back a release that has ended, and says before what that means."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aviary.cli.border import print_json, say
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import (
    AddressOption,
    ByOption,
    Format,
    FormatOption,
    NamespaceOption,
    ReasonOption,
)
from aviary.cli.reaching import ReleaseArgument, login, temporal_settings, with_releases

if TYPE_CHECKING:
    from aviary.releases.remote import Releases
    from schemas.reverting import RevertPreview


def revert(  # noqa: PLR0913 - one parameter an option
    *,
    release: ReleaseArgument,
    by: ByOption = None,
    reason: ReasonOption = "",
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would do, and do nothing.")] = (
        False
    ),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask, on a terminal.")] = False,
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Take back a release that was finalized: its services, dependents first, each as before."""
    as_json = output is Format.JSON
    who = by or login()
    because = f"reverted by {who}: {reason}" if reason else f"reverted by {who}"

    async def run(releases: Releases) -> tuple[RevertPreview, bool | None]:
        looked = await releases.way_back(release)
        seen = looked.preview
        if not as_json:
            _tell(seen)
        if seen.obstacles or plan:
            return seen, None
        if not (yes or as_json) and sys.stdin.isatty():
            typer.confirm("Take it back?", abort=True)
        return seen, await releases.take_back(looked, because)

    seen, started = with_releases(temporal_settings(address, namespace), run)
    if as_json:
        print_json(_data(seen, started))
    elif started is not None:
        known = "started" if started else "known already, nothing started"
        say(f"release {seen.revert}: {known}; `aviary release watch {seen.revert}` follows it")
    if seen.obstacles and not seen.reverted:
        raise CommandError(ExitCode.FAILURE, f"release {release}: not reverted: {seen.refusal}")


def _tell(seen: RevertPreview) -> None:
    """What it would do, a line each."""
    if seen.reverted:
        say(seen.refusal)
        return
    for number, stage in enumerate(seen.stages, start=1):
        for one in stage:
            say(f"{number}  {one.service} {one.version} → {one.to}")
            for note in one.notes:
                say(f"     {note}")


def _data(seen: RevertPreview, started: bool | None) -> dict[str, Any]:
    return {**seen.model_dump(mode="json"), "started": bool(started)}
