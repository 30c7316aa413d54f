"""What a release itself has heard and decided; what its canaries decide is in their own records."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.decisions import OUTCOME_MOST, DecisionRecord, Did, Heard, heard_as
    from schemas.release import Cause, CauseKind, Command
    from workflows.commands import CommandKind

_OBEYED = {
    CommandKind.PAUSE: Did.PAUSED,
    CommandKind.RESUME: Did.RESUMED,
    CommandKind.APPROVE: Did.APPROVED,
    CommandKind.SKIP: Did.SKIPPED,
    CommandKind.ROLLBACK: Did.BACK,
    CommandKind.KEEP: Did.KEPT,
}


class ReleaseDecisions:
    """The record of one release: commands, and why it went back. The oldest are dropped first."""

    def __init__(self, tell: Callable[[DecisionRecord], None]) -> None:
        """Keep the records, and tell of each."""
        self._records: deque[DecisionRecord] = deque(maxlen=OUTCOME_MOST)
        self._tell = tell
        self._number = 0

    @property
    def records(self) -> tuple[DecisionRecord, ...]:
        """The newest decisions, oldest first."""
        return tuple(self._records)

    def obeyed(self, kind: CommandKind, command: Command, answer: str) -> None:
        """A command was carried out.

        Args:
            kind: of the command.
            command: who said it, and why.
            answer: what the person was told.
        """
        self._note(Heard.COMMAND, _OBEYED[kind], answer, name=kind, by=command.by)

    def ignored(self, kind: CommandKind, command: Command, why: str) -> None:
        """A command came as a signal, and made no sense then."""
        self._note(Heard.COMMAND, Did.RECORDED, why, name=kind, by=command.by)

    def went_back(self, cause: Cause) -> None:
        """The release goes back, for this; a command has a record of its own."""
        if cause.kind is not CauseKind.COMMAND:
            self._note(heard_as(cause.kind), Did.BACK, cause.text, by=cause.by)

    def _note(self, heard: Heard, did: Did, text: str, **more: str) -> None:
        record = DecisionRecord(
            number=self._number, at=workflow.now(), heard=heard, did=did, text=text, **more
        )
        self._number += 1
        self._records.append(record)
        self._tell(record)
