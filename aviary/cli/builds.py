"""`aviary builds …`: which builds of Aviary there are, and what runs on them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from aviary.cli.border import plain, print_json, say, show
from aviary.cli.failing import CommandError, ExitCode, Group
from aviary.cli.options import AddressOption, Format, FormatOption, NamespaceOption

if TYPE_CHECKING:
    from aviary.builds.server import Build, Deployment
    from aviary.settings import Settings


def register(app: typer.Typer) -> None:
    """Add `aviary builds` to the command line."""
    builds = typer.Typer(cls=Group, no_args_is_help=True, help="The builds of Aviary itself.")
    builds.command(name="list")(list_builds)
    builds.command(name="id")(build_id)
    app.add_typer(builds, name="builds")


def build_id() -> None:
    """Print the build ID that a worker from here would have."""
    from aviary.builds.identity import version_of  # noqa: PLC0415 - keeps --help fast
    from aviary.settings import load_settings  # noqa: PLC0415

    version = version_of(load_settings())
    if version is None:
        raise CommandError(ExitCode.BAD_INPUT, "AVIARY_BUILD_ID: off: a worker has no build ID")
    say(version.build_id)


def list_builds(
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """List the builds: what is current, who works, and what runs on them."""
    from aviary.builds.identity import deployment_of  # noqa: PLC0415 - heavy
    from aviary.settings import load_settings  # noqa: PLC0415

    settings = load_settings(temporal_address=address, temporal_namespace=namespace)
    name = deployment_of(settings)
    found = asyncio.run(rows(settings, name))
    if output is Format.JSON:
        print_json({"deployment": name, "builds": [vars(row) for row in found]})
    elif not found:
        say(f"deployment {name}: no worker with a build ID has begun yet")
    else:
        _print(found)


@dataclass(frozen=True)
class Row:
    """One build."""

    build: str
    state: str
    percentage: float
    """Of new releases that begin on it."""
    workers: int
    """Processes that Temporal has heard of lately."""
    workflows: int
    """Releases and canaries that are pinned to it, and run."""


async def rows(settings: Settings, name: str) -> list[Row]:
    """The builds of a deployment, newest first.

    Raises:
        CommandError: Temporal can't be reached, or refused.
    """
    from aviary.builds.server import Deployment  # noqa: PLC0415
    from aviary.releases.remote import Releases, failures_told  # noqa: PLC0415

    client = (await Releases.connect(settings)).client
    deployment = Deployment(client, name)
    async with failures_told(f"deployment {name}"):
        routing = await deployment.routing()
        heartbeats = await deployment.heartbeats()
        share = {routing.ramping: routing.percentage, routing.current: 100 - routing.percentage}
        working = {
            build.build_id: {
                b.identity for b in heartbeats if b.running and b.build_id == build.build_id
            }
            for build in routing.builds
        }
        return [
            await _row(deployment, build, share, len(working[build.build_id]))
            for build in routing.builds
        ]


async def _row(deployment: Deployment, build: Build, share: dict[str, float], workers: int) -> Row:
    return Row(
        build=build.build_id,
        state=build.state.value,
        percentage=share.get(build.build_id, 0.0),
        workers=workers,
        workflows=await deployment.pinned_to(build.build_id),
    )


def _print(rows: list[Row]) -> None:
    from rich.table import Table  # noqa: PLC0415 - heavy

    table = Table()
    for column in ("build", "state", "of new releases", "workers", "runs on it"):
        table.add_column(column)
    for row in rows:
        cells: list[Any] = [row.build, row.state, f"{row.percentage:g} %"]
        table.add_row(*(plain(one) for one in (*cells, str(row.workers), str(row.workflows))))
    show(table)
