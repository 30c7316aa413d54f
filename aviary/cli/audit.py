"""`aviary audit`: whether what was recorded of releases is as it was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aviary.cli.border import echo, print_json, say
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import Format, FormatOption, checked, duration
from schemas.catalog_check import many
from schemas.outside import one_line

if TYPE_CHECKING:
    from aviary.audit.verify import Audit

_SHOWN: Final = 20
"""Findings of one release that are shown as text; JSON has them all."""
_DIGITS: Final = 64

Take = Callable[["bytes | None", str], None]
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
    app.command("replay")(replay)


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
    from aviary.audit.gather import Gathered  # noqa: PLC0415 - keeps --help fast
    from aviary.audit.verify import verify as verified  # noqa: PLC0415
    from schemas.base import ReleaseId  # noqa: PLC0415

    checked("--release", release, ReleaseId)
    ends = dict(_end(text) for text in end or ())
    gathered = Gathered(release)
    read(files or [], gathered.take, topic=topic)
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


def read(files: list[Path], take: Take, *, topic: bool) -> None:
    """Hand over each record that there is, and where it is.

    Raises:
        CommandError: nothing is named, a file can't be read, or there is too much.
    """
    from aviary.audit.gather import TooMuchError, files_in, lines_of  # noqa: PLC0415

    if not files and not topic:
        raise CommandError(ExitCode.BAD_INPUT, "FILE: missing, expected files, or --topic")
    path = Path()
    try:
        for path in files_in(files):
            for line, where in lines_of(path):
                take(line, where)
        path = Path("--topic")
        if topic:
            asyncio.run(_take_topic(take))
    except OSError as error:
        text = f"FILE: got '{path}', expected a readable file ({error.strerror or error})"
        raise CommandError(ExitCode.BAD_INPUT, text) from None
    except TooMuchError as error:
        raise CommandError(ExitCode.BAD_INPUT, f"{path}: expected {error}") from None


async def _take_topic(take: Take) -> None:
    from adapters.errors import AdapterError  # noqa: PLC0415 - keeps --help fast
    from aviary.audit.topic import records_of  # noqa: PLC0415 - brings in the client of Kafka
    from aviary.connect import kafka_options  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415
    from schemas.ids import TOPIC_EVENTS  # noqa: PLC0415

    try:
        async for value, where in records_of(kafka_options(load_settings()), TOPIC_EVENTS):
            take(value, where)
    except AdapterError as error:
        raise CommandError(ExitCode.FAILURE, str(error)) from None


def replay(  # noqa: PLR0913, PLR0917 - one argument per option
    policy: Annotated[Path, typer.Option("--policy", help="The other catalog.")],
    files: FilesArgument = None,
    topic: TopicOption = False,
    since: Annotated[
        str | None, typer.Option("--since", help="So long before the newest event, as 30d.")
    ] = None,
    release: ReleaseOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Judge past releases again, by another catalog's judge, metrics and strategies."""
    from aviary.audit.gather import Gathered  # noqa: PLC0415 - keeps --help fast
    from aviary.audit.links import event_in  # noqa: PLC0415
    from aviary.audit.past import Past  # noqa: PLC0415
    from aviary.audit.rejudge import rejudged  # noqa: PLC0415
    from aviary.audit.verify import verify as verified  # noqa: PLC0415
    from aviary.catalogs import read_catalog  # noqa: PLC0415
    from aviary.cli.replay import print_replay, replay_as_data  # noqa: PLC0415
    from aviary.connections import read_connections  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415
    from schemas.base import ReleaseId  # noqa: PLC0415

    checked("--release", release, ReleaseId)
    length = None if since is None else duration("--since", since)
    catalog = read_catalog(policy, read_connections(load_settings()))
    gathered, past = Gathered(release), Past()

    def take(value: bytes | None, where: str) -> None:
        gathered.take(value, where)
        event = event_in(value)
        if event is not None and release in {None, event.get("partitionkey")}:
            past.take(event)

    read(files or [], take, topic=topic)
    releases = past.since(length)
    if not releases:
        text = f"no event of a release among {gathered.records:,} records"
        raise CommandError(ExitCode.NOT_FOUND, text)
    audits = verified(gathered.links, gathered.flaws, running=True)
    whole = {one.release for one in audits if one.whole}
    found = list(zip(releases, rejudged(releases, catalog), strict=True))
    if output is Format.JSON:
        print_json(replay_as_data(found, whole))
    else:
        print_replay(found, whole)


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
    count = many(len(audits), "release")
    echo(f"{count}: all whole" if not bad else f"{count}: {bad} not whole")
