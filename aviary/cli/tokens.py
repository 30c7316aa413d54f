"""`aviary token new`: a token for whoever calls the webhook, and its line for the file."""

from __future__ import annotations

from typing import Annotated

import typer

from aviary.cli.border import echo, print_json, say
from aviary.cli.failing import CommandError, ExitCode, Group
from aviary.cli.options import Format, FormatOption


def register(app: typer.Typer) -> None:
    """Add `aviary token` to the command line."""
    token = typer.Typer(
        cls=Group, no_args_is_help=True, help="Tokens of those who call the webhook."
    )
    token.callback()(about)
    token.command()(new)
    app.add_typer(token, name="token")


def about() -> None:
    """Tokens of those who call the webhook."""


def new(
    *,
    name: Annotated[str, typer.Argument(help="Whose it is, such as shop-ci.", metavar="NAME")],
    role: Annotated[
        list[str],
        typer.Option(
            "--role", help="deploy, read, approve, rollback or alerts; repeat it for several."
        ),
    ],
    service: Annotated[
        list[str] | None,
        typer.Option("--service", "-s", help="Only for these, such as shop-*; repeat it."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="From when on it counts no more, such as 2027-06-30.")
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Make a token, and the line of AVIARY_CALLERS_FILE that lets it in. Needs no server."""
    import json  # noqa: PLC0415 - keeps --help fast

    from aviary.api.callers_file import CallersError, checked, digest_of, new_token  # noqa: PLC0415

    token = new_token()
    given = {"sha256": digest_of(token), "roles": role, "services": service, "expires": expires}
    entry = {field: value for field, value in given.items() if value}
    try:
        checked({"tokens": {name: entry}})
    except CallersError as error:
        raise CommandError(ExitCode.BAD_INPUT, str(error), lines=True) from None
    if output is Format.JSON:
        print_json({"name": name, "token": token, "entry": entry})
        return
    say(f"token, shown this once: {token}")
    say("under `tokens:` of AVIARY_CALLERS_FILE:")
    echo(f"  {name}: {json.dumps(entry)}")
