"""`aviary release answer`: the answer of a hook, given by a person or a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
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
    checked,
)
from aviary.cli.reaching import (
    RunningArgument,
    login,
    service_name,
    temporal_settings,
    with_releases,
)

if TYPE_CHECKING:
    from aviary.hook_answers import Given
    from aviary.releases.remote import Releases
    from schemas.hooks import AskedHook
    from schemas.release import CanaryStatus

Asked = tuple[str, "AskedHook"]
"""A service, and one call of a hook of its canary."""


class Answer(StrEnum):
    """What may be answered."""

    YES = "yes"
    NO = "no"


def _call_id(value: str | None) -> str | None:
    from schemas.hooks import CallId  # noqa: PLC0415 - keeps --help fast

    return checked("--call", value, CallId)


def answer(  # noqa: PLR0913 - one parameter an option
    *,
    release: RunningArgument,
    verdict: Annotated[Answer, typer.Argument(help="What the hook answers.")],
    service: Annotated[
        str | None,
        typer.Option("--service", "-s", help="Whose canary waits.", callback=service_name),
    ] = None,
    hook: Annotated[str | None, typer.Option(help="Which hook is waited for.")] = None,
    call: Annotated[
        str | None,
        typer.Option(help="Which of its calls, by the id of its event.", callback=_call_id),
    ] = None,
    by: ByOption = None,
    reason: ReasonOption = "",
    timeout: PatienceOption = 10.0,
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Answer a hook that is waited for; with --call the same answer again does nothing more."""
    from schemas.hooks import LateAnswer  # noqa: PLC0415 - keeps --help fast

    async def run(releases: Releases) -> tuple[Asked, Given]:
        status = await releases.status(release)
        found = chosen(await releases.canaries(status), release, service, hook, call)
        late = LateAnswer(id=found[1].id, verdict=verdict.value, reason=reason, by=by or login())
        patience = timedelta(seconds=timeout)
        return found, await releases.answer(found[0], late, patience)

    (named, asked), given = with_releases(temporal_settings(address, namespace), run)
    if not given.heard:
        raise CommandError(ExitCode.FAILURE, f"release {release}: {named}: refused: {given.text}")
    if output is Format.JSON:
        taken = given.untaken is None
        known = {"release": release, "service": named, "hook": asked.hook, "call": asked.id}
        print_json({**known, "taken": taken, "answer": given.text})
    else:
        say(f"release {release}: {named}: hook {asked.hook}: {given.text}")


def chosen(
    canaries: Mapping[str, CanaryStatus],
    release: str,
    service: str | None,
    hook: str | None,
    call: str | None,
) -> Asked:
    """The one call that is meant.

    Args:
        canaries: of the release, by service.
        release: its id.
        service: whose canary; None: of any.
        hook: by name; None: any.
        call: by its id; None: one that is waited for.

    Raises:
        CommandError: there is none (1), or more than one (2).
    """
    known = [
        (name, one)
        for name, status in canaries.items()
        if service in {None, name}
        for one in status.hooks
        if hook in {None, one.hook} and call in {None, one.id}
    ]
    found = known if call is not None else [each for each in known if each[1].waits]
    if len(found) == 1:
        return found[0]
    if found:
        several = "; ".join(_shown(found))
        text = f"release {release}: expected --service, --hook or --call: {several}"
        raise CommandError(ExitCode.BAD_INPUT, text)
    last = f"; the last one: {_shown(known[-1:])[0]}" if known else ""
    text = f"release {release}: no such hook is waited for{last}"
    raise CommandError(ExitCode.FAILURE, text)


def _shown(found: Sequence[Asked]) -> list[str]:
    return [_one(service, asked) for service, asked in found]


def _one(service: str, asked: AskedHook) -> str:
    step = f" {asked.step}" if asked.step is not None else ""
    text = f"--service {service} --hook {asked.hook} --call {asked.id} ({asked.moment}{step}"
    if asked.answer is not None:
        text += f", has answered: {asked.answer.said}"
    elif asked.over:
        text += f", {asked.over}"
    return f"{text})"
