"""What people said to a workflow, from its history. Pure.

A command that a validator refused leaves no trace in a history, by design: the person saw the
reason at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aviary.history.decided import RecordedDecisions, consequence
from aviary.history.events import Event, first
from schemas.base import Model
from schemas.decisions import Did
from schemas.event_kinds import MomentKind
from schemas.release import Command
from schemas.timeline import Moment
from workflows import describe
from workflows.commands import CommandKind

KINDS: Final[Mapping[str, MomentKind]] = {
    CommandKind.PAUSE: MomentKind.PAUSED,
    CommandKind.RESUME: MomentKind.RESUMED,
    CommandKind.APPROVE: MomentKind.APPROVED,
    CommandKind.SKIP: MomentKind.SKIPPED_BAKE,
    CommandKind.ROLLBACK: MomentKind.TOLD_BACK,
    CommandKind.KEEP: MomentKind.KEPT,
}


class _Said(Model):
    kind: str
    value: Any
    identity: str
    signalled: bool


def external(event: Event) -> bool:
    """Whether another workflow sent this signal: a release that hands on what it was told."""
    return bool(event.of.external_workflow_execution.workflow_id)


def command_of(event: Event, service: str | None, decided: RecordedDecisions) -> Iterator[Moment]:
    """The command that a signal or an accepted update is; nothing for other signals and updates.

    Args:
        event: WORKFLOW_EXECUTION_SIGNALED or WORKFLOW_EXECUTION_UPDATE_ACCEPTED.
        service: whose canary heard it; None: the release, which may be told of one service.
        decided: what it recorded.
    """
    said = _said(event)
    if said.kind not in KINDS:
        return
    kind = CommandKind(said.kind)
    command = Command.of(said.value)
    # Who says nothing of himself is known by his client: the UI's name is the person's.
    by = command.by or said.identity
    about = service or command.service
    text = describe.command(kind, command.model_copy(update={"by": by}))
    if about is not None:
        text = f"{about}: {text}"
    record = decided.of_command(kind, command.by, event)
    if record is not None:
        ignored = record.did is Did.RECORDED
        text += f"; ignored: {record.text}" if ignored else consequence(record.did)
    elif said.signalled:
        text += " (a signal: obeyed only if it made sense then)"
    yield Moment(
        at=event.at,
        kind=KINDS[kind],
        service=about,
        text=text,
        by=by,
        reason=command.reason,
        did=record.did if record is not None else None,
    )


def _said(event: Event) -> _Said:
    if event.kind == "WORKFLOW_EXECUTION_SIGNALED":
        value = first(event.of.input)
        return _Said(
            kind=event.of.signal_name, value=value, identity=event.of.identity, signalled=True
        )
    request = event.of.accepted_request
    return _Said(
        kind=request.input.name,
        value=first(request.input.args),
        identity=request.meta.identity,
        signalled=False,
    )
