"""`aviary watch`: processes that turn changes elsewhere into releases."""

from __future__ import annotations

import typer

from aviary.cli.options import CatalogOption
from aviary.cli.processes import run_process, settings_of

watch = typer.Typer(
    help="Turn changes elsewhere into releases. (One release: aviary release watch.)",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    watch.command()(kubernetes)
    app.add_typer(watch, name="watch")


def kubernetes(catalog: CatalogOption = None) -> None:
    """Turn changed templates of a namespace into deploy events, until SIGTERM or SIGINT."""
    from aviary.watching.run import run_watcher  # noqa: PLC0415 - heavy, and only wanted here

    run_process([run_watcher], settings_of(catalog), "watch")
