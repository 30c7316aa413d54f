"""`aviary dora`: DORA's four numbers of software delivery, from what releases told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aviary.cli.audit import FilesArgument, read
from aviary.cli.border import echo, print_json, say
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import Format, FormatOption, checked, duration
from schemas.base import format_duration
from schemas.catalog_check import many

if TYPE_CHECKING:
    from aviary.numbers.dora import Dora, Span


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(dora)


def dora(  # noqa: PLR0913, PLR0917 - one argument per option
    files: FilesArgument = None,
    topic: Annotated[
        bool,
        typer.Option("--topic", help="Read aviary.events as well; without files it is read."),
    ] = False,
    since: Annotated[str, typer.Option("--since", help="So long before now, as 7d.")] = "30d",
    environment: Annotated[
        str | None, typer.Option("--environment", help="Only its releases.")
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", help="Only releases that have it.")
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Deployment frequency, lead time, change failure rate and time to restore."""
    from aviary.numbers.dora import measure  # noqa: PLC0415 - keeps --help fast
    from aviary.numbers.told import Told  # noqa: PLC0415
    from schemas.base import ServiceName  # noqa: PLC0415

    checked("--service", service, ServiceName)
    length = duration("--since", since)
    if not length:
        raise CommandError(ExitCode.BAD_INPUT, f"--since: got '{since}', expected more than 0s")
    told, taken = Told(), 0

    def take(value: bytes | None, _where: str) -> None:
        nonlocal taken
        taken += 1
        told.take_record(value)

    read(files or [], take, topic=topic or not files)
    if told.oldest is None:
        text = f"no event of a release among {taken:,} records"
        raise CommandError(ExitCode.NOT_FOUND, text)
    now = datetime.now(UTC)
    found = measure(told, now - length, now, environment=environment, service=service)
    if output is Format.JSON:
        print_json(_data(found, told.forgotten))
    else:
        _print(found, told.forgotten)


def _data(found: Dora, forgotten: int) -> dict[str, Any]:
    from schemas.phase_facts import Waiting  # noqa: PLC0415 - keeps --help fast

    return {
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "oldest_event": None if found.oldest is None else found.oldest.isoformat(),
        "deployment_frequency": {
            "deployments": found.deployed,
            "per_day": found.per_day,
            "days": found.days,
        },
        "lead_time_for_changes": _span(found.lead),
        "change_failure_rate": {
            "rate": found.failure_rate,
            "failed": found.failed,
            "deployments": len(found.deployments),
        },
        "time_to_restore": _span(found.restored),
        "time_spent": {
            "seconds": {one.value: found.spent_on(one) for one in Waiting},
            "phases": [
                {"phase": one.phase.value, "spent_on": one.waiting.value, "seconds": one.seconds}
                for one in found.spent
            ],
        },
        "not_deployments": found.unseen,
        "releases_left_out": forgotten,
        "deployments": [
            {
                "release": one.release,
                "environment": one.environment,
                "outcome": one.outcome.value,
                "at": one.at.isoformat(),
                "lead_s": None if one.lead is None else one.lead.total_seconds(),
                "restored_s": None if one.restored is None else one.restored.total_seconds(),
                "cause": one.cause or None,
            }
            for one in found.deployments
        ],
    }


def _span(span: Span | None) -> dict[str, Any] | None:
    if span is None:
        return None
    return {
        "count": span.count,
        "median_s": span.median_s,
        "p90_s": span.p90_s,
        "longest_s": span.longest_s,
    }


def _print(found: Dora, forgotten: int) -> None:
    say(f"{_at(found.since)} to {_at(found.until)}")
    count = many(found.deployed, "deployment")
    _line(
        "deployment frequency", f"{count}, {found.per_day:.3g} a day, on {many(found.days, 'day')}"
    )
    _line("lead time for changes", _told(found.lead, "no deployment says when its commit was made"))
    rate = found.failure_rate
    of = f"{found.failed} of {len(found.deployments)}"
    _line("change failure rate", "no deployment" if rate is None else f"{100 * rate:.3g} % ({of})")
    _line("time to restore", _told(found.restored, "nothing failed, or is over"))
    _print_spent(found)
    if found.unseen:
        count = many(found.unseen, "release")
        echo(f"  not counted: {count} that went back before a user had a new version")
    if found.oldest is not None and found.oldest > found.since:
        echo(f"  no event is older than {_at(found.oldest)}: what was before is not in it")
    if forgotten:
        echo(f"  the {many(forgotten, 'oldest release')} had no room, and are not in it")


def _print_spent(found: Dora) -> None:
    from schemas.phase_facts import Waiting  # noqa: PLC0415 - keeps --help fast

    whole = sum(one.seconds for one in found.spent)
    if not whole:
        return
    words = {Waiting.WORK: "working", Waiting.PEOPLE: "for people", Waiting.OTHERS: "for others"}
    parts = [f"{words[one]} {100 * found.spent_on(one) / whole:.3g} %" for one in Waiting]
    _line("time of the services", ", ".join(parts))


def _line(name: str, text: str) -> None:
    echo(f"  {name:<22} {text}")


def _told(span: Span | None, nothing: str) -> str:
    if span is None:
        return nothing
    median, p90 = _length(span.median_s), _length(span.p90_s)
    return f"median {median}, 9 of 10 within {p90} ({span.count})"


def _length(seconds: float) -> str:
    return format_duration(timedelta(seconds=round(seconds)))


def _at(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
