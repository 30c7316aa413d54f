"""`aviary audit`: whether what was recorded of releases is as it was recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aviary.cli.border import echo, print_json, say
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import Format, FormatOption, checked
from schemas.outside import one_line

if TYPE_CHECKING:
    from aviary.audit.gather import Gathered
    from aviary.audit.verify import Audit

_SHOWN: Final = 20
"""Findings of one release that are shown as text; JSON has them all."""
_DIGITS: Final = 64

FilesArgument = Annotated[
    list[Path] | None,
    typer.Argument(help="Files of events, one a line, or folders of reports.", metavar="FILE"),
]
TopicOption = Annotated[
    bool, typer.Option("--topic", help="Read aviary.events, from Kafka of the settings.")
]
ReleaseOption = Annotated[str | None, typer.Option("--release", help="Only this release.")]
EndOption = Annotated[
    list[str] | None,
    typer.Option("--end", help="RELEASE=DIGEST: its last digest, as kept elsewhere."),
]
RunningOption = Annotated[
    bool, typer.Option("--running", help="Releases that have not ended are no finding.")
]


def register(app: typer.Typer) -> None:
    """Add `aviary audit` to the command line."""
    group = typer.Typer(help="Check what was recorded of releases.", no_args_is_help=True)
    group.command("verify")(verify)
    app.add_typer(group, name="audit")


def verify(  # noqa: PLR0913, PLR0917 - one argument per option
    files: FilesArgument = None,
    topic: TopicOption = False,
    release: ReleaseOption = None,
    end: EndOption = None,
    running: RunningOption = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Find what was changed, left out or exchanged in the hash chains of releases.

    Ends with 0 if all of it is whole, and with 1 if not.
    """
    from aviary.audit.verify import verify as verified  # noqa: PLC0415 - keeps --help fast
    from schemas.base import ReleaseId  # noqa: PLC0415

    checked("--release", release, ReleaseId)
    ends = dict(_end(text) for text in end or ())
    gathered = gather(files or [], topic=topic, release=release)
    if release is not None and not gathered.links.get(release):
        raise CommandError(ExitCode.NOT_FOUND, f"release {release}: none of its events is here")
    audits = verified(gathered.links, gathered.flaws, ends=ends, running=running)
    if not audits:
        raise CommandError(
            ExitCode.NOT_FOUND, f"no event of a release among {gathered.records:,} records"
        )
    if output is Format.JSON:
        print_json({"whole": all(one.whole for one in audits), "releases": _data(audits)})
    else:
        _print(audits)
    if not all(one.whole for one in audits):
        raise typer.Exit(int(ExitCode.FAILURE))


def gather(files: list[Path], *, topic: bool, release: str | None) -> Gathered:
    """All links that there are.

    Raises:
        CommandError: nothing is named, a file can't be read, or there is too much.
    """
    from aviary.audit.gather import Gathered, TooMuchError, files_in, lines_of  # noqa: PLC0415

    if not files and not topic:
        raise CommandError(ExitCode.BAD_INPUT, "FILE: missing, expected files, or --topic")
    gathered = Gathered(release)
    path = Path()
    try:
        for path in files_in(files):
            for line, where in lines_of(path):
                gathered.take(line, where)
        path = Path("--topic")
        if topic:
            asyncio.run(_take_topic(gathered))
    except OSError as error:
        text = f"FILE: got '{path}', expected a readable file ({error.strerror or error})"
        raise CommandError(ExitCode.BAD_INPUT, text) from None
    except TooMuchError as error:
        raise CommandError(ExitCode.BAD_INPUT, f"{path}: expected {error}") from None
    return gathered


async def _take_topic(gathered: Gathered) -> None:
    from adapters.errors import AdapterError  # noqa: PLC0415 - keeps --help fast
    from aviary.audit.topic import records_of  # noqa: PLC0415 - brings in the client of Kafka
    from aviary.connect import kafka_options  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415
    from schemas.ids import TOPIC_EVENTS  # noqa: PLC0415

    try:
        async for value, where in records_of(kafka_options(load_settings()), TOPIC_EVENTS):
            gathered.take(value, where)
    except AdapterError as error:
        raise CommandError(ExitCode.FAILURE, str(error)) from None


def _end(text: str) -> tuple[str, str]:
    release, _, digest = text.partition("=")
    if not release or len(digest) != _DIGITS or set(digest) - set("0123456789abcdef"):
        expected = f"RELEASE=DIGEST with {_DIGITS} characters of hex"
        raise CommandError(ExitCode.BAD_INPUT, f"--end: got '{text}', expected {expected}")
    return release, digest


def _data(audits: list[Audit]) -> list[dict[str, Any]]:
    return [
        {
            "release": one.release,
            "whole": one.whole,
            "ended": one.ended,
            "links": one.links,
            "head": one.head,
            "copies": one.copies,
            "of_reset_runs": one.reset,
            "findings": [
                {"kind": f.kind.value, "link": f.link, "text": f.text, "where": f.where}
                for f in one.found
            ],
            "findings_left_out": one.left_out,
        }
        for one in audits
    ]


def _print(audits: list[Audit]) -> None:
    for one in audits:
        name = f"release {one.release}" if one.release else "records of no release"
        if one.links:
            state = "ended" if one.ended else "has not ended"
            beside = f", {one.copies} copies" if one.copies else ""
            beside += f", {one.reset} of runs that were reset" if one.reset else ""
            say(f"{name}: {one.links} links{beside}, {state}, last {one.head}")
        else:
            say(name)
        for found in one.found[:_SHOWN]:
            number = "" if found.link is None else f" link {found.link}"
            where = f" ({found.where})" if found.where else ""
            echo(f"  {one_line(f'{found.kind.value}{number}: {found.text}{where}')}")
        more = len(one.found) - _SHOWN + one.left_out
        if more > 0:
            echo(f"  and {more} more")
    bad = sum(not one.whole for one in audits)
    count = "1 release" if len(audits) == 1 else f"{len(audits)} releases"
    echo(f"{count}: all whole" if not bad else f"{count}: {bad} not whole")
