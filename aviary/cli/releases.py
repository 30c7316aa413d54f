"""`aviary release …`: start, list, look at and steer releases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aviary.cli.answering import answer
from aviary.cli.border import print_json, say
from aviary.cli.catalogs import VersionOption
from aviary.cli.failing import CommandError, ExitCode, Group
from aviary.cli.options import (
    AddressOption,
    ByOption,
    CatalogOption,
    Format,
    FormatOption,
    NamespaceOption,
    NoColorOption,
    PatienceOption,
    ReasonOption,
    duration,
)
from aviary.cli.picking import pick
from aviary.cli.reaching import (
    ReleaseArgument,
    RunningArgument,
    login,
    service_name,
    temporal_settings,
    with_releases,
)
from aviary.cli.reverting import revert
from schemas.causes import CauseKind
from schemas.phases import ReleasePhase
from schemas.verdict import VerdictKind

if TYPE_CHECKING:
    from aviary.cli.events import Asked
    from aviary.releases.remote import Releases
    from aviary.settings import Settings
    from schemas.release import ReleasePlan


StateOption = Annotated[ReleasePhase | None, typer.Option(help="Only releases in this state.")]
WithServiceOption = Annotated[
    list[str] | None,
    typer.Option("--service", "-s", help="Only with this service; repeat it for several."),
]
EnvironmentOption = Annotated[
    str | None, typer.Option("--environment", help="Only of this environment.")
]
SinceOption = Annotated[
    str | None, typer.Option(help="Started since: 7d, 12h, or 2026-01-31T12:00 (local, or Z).")
]
UntilOption = Annotated[str | None, typer.Option(help="Started before; as --since.")]
VerdictOption = Annotated[VerdictKind | None, typer.Option(help="Only with this last verdict.")]
CauseOption = Annotated[CauseKind | None, typer.Option(help="Only those that went back for this.")]
BecauseOfOption = Annotated[
    str | None, typer.Option(help="Only those that went back because of this service.")
]
WaitingOption = Annotated[
    bool,
    typer.Option(
        "--waiting", help="Only those that go on when a person has done something, or don't answer."
    ),
]
WaitOption = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        help="How long the release may not be there yet, such as 2m: an event is still on its way.",
        autocompletion=lambda: ["30s", "2m", "10m"],
    ),
]


def register(app: typer.Typer) -> None:
    """Add `aviary release` to the command line."""
    release = typer.Typer(
        cls=Group, no_args_is_help=True, help="Start, list, look at and steer releases."
    )
    release.callback()(about)
    release.command()(start)
    release.command(name="list")(list_releases)
    release.command()(status)
    release.command()(watch)
    release.command()(explain)
    release.command()(_command("pause", "Go no further until resumed; judging goes on."))
    release.command()(_command("resume", "Go on after a pause."))
    release.command()(_command("approve", "Open the gate that waits."))
    release.command()(_command("skip", "End the bake that runs, and go on."))
    release.command()(_command("rollback", "Take the whole release back."))
    meaning = "Rather than go back to a version that is down: leave --service on its new one."
    release.command()(_command("keep", meaning))
    release.command()(pick)
    release.command()(revert)
    release.command()(answer)
    app.add_typer(release, name="release")


def about(*, version: VersionOption = False) -> None:
    """Start, list, look at and steer releases."""


def start(  # noqa: PLR0913 - one parameter an option
    *,
    release: Annotated[str | None, typer.Argument(help="The release id, with --service.")] = None,
    event: Annotated[
        Path | None, typer.Option("--event", "-e", help="Deploy event; - is stdin.")
    ] = None,
    service: Annotated[
        list[str] | None, typer.Option("--service", "-s", help="Such as checkout=1.4.2; repeat it.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option("--image", help="Such as checkout=registry.example/checkout:2; repeat it."),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option("--config", help="Such as checkout:LOG_LEVEL=debug; repeat it. No secrets."),
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="For all services of the release.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Such as team=shop; repeat it.")] = None,
    catalog: CatalogOption = None,
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Start a release directly in Temporal, from an event or from --service options."""
    from aviary.settings import load_settings  # noqa: PLC0415 - keeps --help fast

    settings = load_settings(
        catalog=catalog, temporal_address=address, temporal_namespace=namespace
    )
    asked = _asked(release, event, service, image, config, strategy, label)
    planned = _planned(settings, asked)

    async def run(releases: Releases) -> bool:
        return await releases.start(planned, asked.deploy.digest())

    started = with_releases(settings, run)
    if output is Format.JSON:
        print_json({"release": planned.release, "started": started})
    elif started:
        say(f"release {planned.release}: started")
    else:
        say(f"release {planned.release}: known already, nothing started")


def _asked(  # noqa: PLR0913, PLR0917 - one parameter an option
    release: str | None,
    event: Path | None,
    services: list[str] | None,
    images: list[str] | None,
    config: list[str] | None,
    strategy: str | None,
    labels: list[str] | None,
) -> Asked:
    from aviary.cli.events import Asked, deploy_from_options, read_event  # noqa: PLC0415

    if event is not None:
        if release is not None or any((services, images, config, strategy, labels)):
            text = (
                "--event: expected alone, without RELEASE, --service, --image, --config, "
                "--strategy and --label"
            )
            raise CommandError(ExitCode.BAD_INPUT, text)
        return read_event(event)
    if release is None or not services:
        text = "expected --event, or RELEASE with at least one --service such as checkout=1.4.2"
        raise CommandError(ExitCode.BAD_INPUT, text)
    return Asked(
        deploy_from_options(release, services, images or [], config or [], strategy, labels or [])
    )


def _planned(settings: Settings, asked: Asked) -> ReleasePlan:
    from aviary.catalogs import read_catalog  # noqa: PLC0415
    from aviary.connections import read_connections  # noqa: PLC0415
    from workflows.planning import plan_release  # noqa: PLC0415

    catalog = read_catalog(settings.catalog, read_connections(settings))
    return plan_release(
        catalog,
        asked.deploy,
        source=asked.source,
        environment=asked.environment,
        images=asked.images,
    )


def list_releases(  # noqa: PLR0913, PLR0917 - one parameter an option
    state: StateOption = None,
    service: WithServiceOption = None,
    environment: EnvironmentOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    verdict: VerdictOption = None,
    cause: CauseOption = None,
    because_of: BecauseOfOption = None,
    waiting: WaitingOption = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most to list.")] = 20,
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    no_color: NoColorOption = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """List releases, newest first."""
    from aviary.cli.tables import found_as_data, print_found  # noqa: PLC0415
    from aviary.releases.finding import Filters, moment  # noqa: PLC0415

    now = datetime.now(UTC)
    filters = Filters(
        state=state,
        services=tuple(one for text in service or () if (one := service_name(text)) is not None),
        environment=environment,
        since=moment("--since", since, now),
        until=moment("--until", until, now),
        verdict=verdict,
        cause=cause,
        because_of=service_name(because_of),
        waiting=waiting,
    )
    found = with_releases(
        temporal_settings(address, namespace), lambda releases: releases.find(filters, limit)
    )
    if output is Format.JSON:
        print_json([found_as_data(one) for one in found])
    else:
        print_found(found, no_color=no_color)


def status(
    release: ReleaseArgument,
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    no_color: NoColorOption = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show where a release and its services are, and why."""
    from aviary.cli.tables import print_status, status_as_data  # noqa: PLC0415

    async def run(releases: Releases) -> Any:
        found = await releases.status(release)
        return found, await releases.canaries(found)

    found, canaries = with_releases(temporal_settings(address, namespace), run)
    if output is Format.JSON:
        print_json(status_as_data(found, canaries))
    else:
        print_status(found, canaries, no_color=no_color)


def watch(  # noqa: PLR0913, PLR0917 - one parameter an option
    release: ReleaseArgument,
    interval: Annotated[float, typer.Option(min=0.05, max=60, help="Seconds between looks.")] = 1.0,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds for which nobody may answer.")
    ] = 600.0,
    wait: WaitOption = "0s",
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    no_color: NoColorOption = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Follow a release until it ends; exit code 0 when finalized, 3 when rolled back."""
    from aviary.cli.watch import follow  # noqa: PLC0415

    most = duration("--wait", wait)

    def run(releases: Releases) -> Awaitable[Any]:
        return follow(
            releases,
            release,
            interval,
            as_json=output is Format.JSON,
            no_color=no_color,
            patience=timedelta(seconds=patience),
            wait=most,
        )

    try:
        ended = with_releases(temporal_settings(address, namespace), run)
    except KeyboardInterrupt:
        text = f"release {release} goes on; `aviary release watch {release}` follows it again"
        raise CommandError(ExitCode.INTERRUPTED, text) from None
    if ended.phase is ReleasePhase.ROLLED_BACK:
        raise typer.Exit(int(ExitCode.ROLLED_BACK))


def explain(
    release: ReleaseArgument,
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    no_color: NoColorOption = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Tell what happened to a release, when, on which evidence, and who said so."""
    timeline = with_releases(
        temporal_settings(address, namespace), lambda releases: releases.timeline(release)
    )
    if output is Format.JSON:
        print_json(timeline.model_dump(mode="json"))
    else:
        from aviary.cli.tables import print_timeline  # noqa: PLC0415

        print_timeline(timeline, no_color=no_color)


def _command(word: str, meaning: str) -> Callable[..., None]:
    """One of the six words that a person may say to a release."""

    def run(  # noqa: PLR0913 - one parameter an option
        *,
        release: RunningArgument,
        service: Annotated[
            str | None,
            typer.Option("--service", "-s", help="Only this service.", callback=service_name),
        ] = None,
        by: ByOption = None,
        reason: ReasonOption = "",
        timeout: PatienceOption = 10.0,
        address: AddressOption = None,
        namespace: NamespaceOption = None,
        output: FormatOption = Format.TABLE,
    ) -> None:
        from schemas.release import Command  # noqa: PLC0415 - keeps --help fast

        command = Command(by=by or login(), reason=reason, service=service)
        patience = timedelta(seconds=timeout)
        answer = with_releases(
            temporal_settings(address, namespace),
            lambda releases: releases.command(word, release, command, patience),
        )
        if output is Format.JSON:
            print_json({"release": release, "command": word, "answer": answer})
        else:
            say(f"release {release}: {answer}")

    run.__name__ = word
    run.__doc__ = meaning
    return run
