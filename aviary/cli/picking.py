"""`aviary release pick`: which version of an A/B test all users get."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from aviary.cli.border import print_json, say
from aviary.cli.failing import CommandError, ExitCode
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
from schemas.catalog_check import listed
from schemas.ids import SIGNAL_APPROVE, SIGNAL_ROLLBACK

if TYPE_CHECKING:
    from aviary.releases.remote import Releases
    from schemas.release import CanaryStatus


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
    from schemas.release import Command  # noqa: PLC0415 - keeps --help fast

    async def run(releases: Releases) -> tuple[str, str]:
        status = await releases.status(release)
        found, word = picked(await releases.canaries(status), release, version, service)
        why = f"picked {version}" + (f": {reason}" if reason else "")
        # Of the loser the whole release goes back: it is one set of versions.
        of = found if word == SIGNAL_APPROVE else None
        # As the release names it, which holds it against its own.
        command = Command(by=by or login(), reason=why).model_copy(update={"service": of})
        return found, await releases.command(word, release, command, timedelta(seconds=timeout))

    found, answer = with_releases(temporal_settings(address, namespace), run)
    if output is Format.JSON:
        data = {"release": release, "service": found, "picked": version, "answer": answer}
        print_json(data)
    else:
        say(f"release {release}: {answer}")


def picked(
    canaries: dict[str, CanaryStatus], release: str, version: str, service: str | None
) -> tuple[str, str]:
    """The service whose test is decided, and the word that decides it.

    Args:
        canaries: of the release, those that answer.
        release: its id.
        version: the winner.
        service: whose test; None: there is one.

    Raises:
        CommandError: no test waits, several do, or the version is none of the two.
    """
    asking = {name: one.picks for name, one in canaries.items() if one.picks}
    if service is not None:
        asking = {name: picks for name, picks in asking.items() if name == service}
    if not asking:
        of = f" of {service}" if service else ""
        text = f"release {release}: no A/B test{of} has ended and waits for its winner"
        raise CommandError(ExitCode.FAILURE, text)
    if len(asking) > 1:
        text = f"--service: expected one of {listed(asking)}, each a decision of its own"
        raise CommandError(ExitCode.BAD_INPUT, text)
    ((name, (old, *_, new)),) = asking.items()
    if version not in {old, new}:
        text = f"VERSION: got {version}, expected one of {old} (old) and {new} (new)"
        raise CommandError(ExitCode.BAD_INPUT, text)
    return name, SIGNAL_APPROVE if version == new else SIGNAL_ROLLBACK
