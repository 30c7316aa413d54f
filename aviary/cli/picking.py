"""`aviary release pick`: which version of an A/B test all users get."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from aviary.cli.border import print_json, say
from aviary.cli.options import (
    AddressOption,
    ByOption,
    Format,
    FormatOption,
    NamespaceOption,
    PatienceOption,
    ReasonOption,
)
from aviary.cli.reaching import (
    RunningArgument,
    login,
    service_name,
    temporal_settings,
    with_releases,
)

if TYPE_CHECKING:
    from aviary.releases.remote import Releases


def pick(  # noqa: PLR0913 - one parameter an option
    *,
    release: RunningArgument,
    version: Annotated[str, typer.Argument(help="The winner: the new version, or the old one.")],
    service: Annotated[
        str | None,
        typer.Option("--service", "-s", help="Whose A/B test.", callback=service_name),
    ] = None,
    by: ByOption = None,
    reason: ReasonOption = "",
    timeout: PatienceOption = 10.0,
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Pick the winner of an A/B test that has ended: all users get it, the loser is taken back."""
    from aviary.releases.picking import picked, words_of  # noqa: PLC0415 - keeps --help fast

    async def run(releases: Releases) -> tuple[str, str]:
        status = await releases.status(release)
        found, word = picked(await releases.canaries(status), release, version, service)
        command = words_of(version, found, word, by or login(), reason)
        return found, await releases.command(word, release, command, timedelta(seconds=timeout))

    found, answer = with_releases(temporal_settings(address, namespace), run)
    if output is Format.JSON:
        data = {"release": release, "service": found, "picked": version, "answer": answer}
        print_json(data)
    else:
        say(f"release {release}: {answer}")
