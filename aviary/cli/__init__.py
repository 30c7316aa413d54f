"""The command line: parsing and printing only. Heavy libraries are imported inside the commands.

Here belongs what a person types and sees. What a command sets going does not; nothing outside of
this package imports it.
"""

from __future__ import annotations

import typer

from aviary.cli.failing import Group


def build_app() -> typer.Typer:
    """Assemble all commands."""
    from aviary.cli import (  # noqa: PLC0415 - no import side effects
        audit,
        builds,
        catalogs,
        completion,
        deploy,
        dora,
        envoys,
        judge,
        local,
        moving,
        notices,
        pools,
        processes,
        releases,
        report,
        routers,
        tokens,
        watching,
    )

    app = typer.Typer(
        cls=Group,
        name="aviary",
        help="Canary releases that span several dependent services.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(catalogs.about)
    catalogs.register(app)
    moving.register(app)
    releases.register(app)
    deploy.register(app)
    report.register(app)
    processes.register(app)
    watching.register(app)
    builds.register(app)
    judge.register(app)
    audit.register(app)
    dora.register(app)
    local.register(app)
    notices.register(app)
    pools.register(app)
    routers.register(app)
    tokens.register(app)
    envoys.register(app)
    completion.register(app)
    return app
