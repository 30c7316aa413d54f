"""Commands that need no server: plan, validate, schema, version."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aviary import __version__
from aviary.cli.border import echo, print_json
from aviary.cli.failing import ExitCode
from aviary.cli.options import CatalogOption, Format, FormatOption

if TYPE_CHECKING:
    from schemas.catalog_file import CatalogError
    from schemas.release import ReleasePlan, ServicePlan


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(plan)
    app.command()(validate)
    app.command()(schema)
    app.command()(version)


def plan(
    event: Annotated[
        Path,
        typer.Option(
            "--event", "-e", help="Deploy event (CloudEvent or only its data); - is stdin."
        ),
    ],
    catalog: CatalogOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show what a release would do: order, stages, steps. Needs no server."""
    from aviary.catalogs import read_catalog  # noqa: PLC0415
    from aviary.cli.events import read_event  # noqa: PLC0415 - keeps --help fast
    from aviary.connections import read_connections  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415
    from workflows.planning import plan_release  # noqa: PLC0415

    settings = load_settings(catalog=catalog)
    found = read_catalog(settings.catalog, read_connections(settings))
    asked = read_event(event)
    planned = plan_release(
        found,
        asked.deploy,
        source=asked.source,
        environment=asked.environment,
        images=asked.images,
    )
    if output is Format.JSON:
        print_json(plan_as_data(planned))
    else:
        from aviary.cli.tables import print_plan  # noqa: PLC0415

        print_plan(planned)


def plan_as_data(planned: ReleasePlan) -> dict[str, Any]:
    """A plan as plain data: what `aviary plan --format json` prints."""
    from schemas.base import format_duration  # noqa: PLC0415

    stage_of = {name: at for at, stage in enumerate(planned.stages) for name in stage}
    return {
        "release": planned.release,
        "stages": [list(stage) for stage in planned.stages],
        "groups": [list(group) for group in planned.groups],
        "services": {
            name: {"version": service.version, "stage": stage_of[name], **_details(service)}
            for name, service in planned.services.items()
        },
        "soak": format_duration(planned.soak),
        "max_parallel": planned.max_parallel,
        "environment": planned.environment,
        "labels": planned.labels,
        "source": planned.source,
    }


def _details(service: ServicePlan) -> dict[str, Any]:
    return {
        "depends_on": list(service.depends_on),
        "group": list(service.group),
        "router": service.router.text,
        "strategy": service.strategy_name,
        "metrics": [metric.name for metric in service.metrics],
        "steps": [
            step.model_dump(mode="json")
            for step in service.strategy.full_steps
            if service.strategy.ramp is None
        ],
        "audiences": [
            {
                "step": stage.step,
                "adds": stage.adds,
                "audience": stage.audience and stage.audience.model_dump(mode="json"),
                "unlike": stage.unlike,
            }
            for stage in service.stages
            if stage.kind == "shift" and stage.adds
        ],
        "needs": dict(service.needs),
        "ramp": service.strategy.ramp and service.strategy.ramp.model_dump(mode="json"),
    }


def validate(
    catalogs: Annotated[list[Path], typer.Argument(help="Catalog files.", metavar="CATALOG...")],
    output: FormatOption = Format.TABLE,
) -> None:
    """Check catalogs and tell everything that is wrong with them; exit code 2 if anything is."""
    from aviary.catalogs import read_catalog  # noqa: PLC0415
    from aviary.connections import read_connections  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415
    from schemas.catalog_check import listed  # noqa: PLC0415
    from schemas.catalog_file import CatalogError  # noqa: PLC0415
    from schemas.catalog_fit import by_time_alone, notes  # noqa: PLC0415

    connections = read_connections(load_settings())
    valid = True
    results: list[dict[str, Any]] = []
    for path in catalogs:
        try:
            found = read_catalog(path, connections)
            count, by_time = len(found.services), by_time_alone(found)
        except CatalogError as error:
            valid = False
            results.append({"file": str(path), "valid": False, **_problems(error)})
            if output is Format.TABLE:
                echo(str(error), err=True)
        else:
            good = {"valid": True, "services": count, "problems": [], "by_time_alone": by_time}
            results.append({"file": str(path), **good, "notes": notes(found)})
            if output is Format.TABLE:
                echo(f"{path}: valid, {count} service{'' if count == 1 else 's'}")
                if by_time:
                    echo(f"{path}: judged by time alone (metrics: []): {listed(by_time)}")
                for note in notes(found):
                    echo(f"{path}: note: {note}")
    if output is Format.JSON:
        print_json(results)
    if not valid:
        raise typer.Exit(int(ExitCode.BAD_INPUT))


def _problems(error: CatalogError) -> dict[str, Any]:
    return {"problems": [problem.to_json() for problem in error.shown], "more": error.more}


def schema(
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: stdout.")
    ] = None,
    *,
    events: Annotated[
        bool, typer.Option("--events", help="Of the events that Aviary publishes, instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of catalogs, for editors, or of events."""
    text = events_text() if events else schema_text()
    if target is None:
        echo(text, nl=False)
        return
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        echo(f"--output: got '{target}', expected a writable file ({error.strerror})", err=True)
        raise typer.Exit(int(ExitCode.BAD_INPUT)) from None


def schema_text() -> str:
    """The JSON Schema of catalogs, as `docs/catalog.schema.json` has it."""
    from aviary.kinds import registry  # noqa: PLC0415
    from aviary.routers import CatalogKinds  # noqa: PLC0415

    schema = deepcopy(CatalogKinds(registry()).schema())
    _write_durations(schema)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Aviary catalog",
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _write_durations(node: Any) -> None:
    """Defaults of durations as a catalog has them: `15s` and not `PT15S`."""
    from pydantic import TypeAdapter  # noqa: PLC0415

    from schemas.base import format_duration  # noqa: PLC0415

    if isinstance(node, dict):
        default = node.get("default")
        if "ms|s|m|h|d" in str(node.get("pattern")) and isinstance(default, str):
            node["default"] = format_duration(TypeAdapter(timedelta).validate_python(default))
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            _write_durations(inner)


def events_text() -> str:
    """The JSON Schema of events, as `docs/events.schema.json` has it."""
    from schemas.event_data import events_schema  # noqa: PLC0415

    return json.dumps(events_schema(), indent=2, ensure_ascii=False) + "\n"


def _version(wanted: bool) -> None:
    if wanted:
        version(Format.TABLE)
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
]


def about(*, version: VersionOption = False) -> None:
    """Canary releases that span several dependent services."""


def version(output: FormatOption = Format.TABLE) -> None:
    """Print Aviary's version."""
    if output is Format.JSON:
        print_json({"version": __version__})
    else:
        echo(f"aviary {__version__}")
