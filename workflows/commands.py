"""The six commands of a person, each as an update (with an answer) and as a plain signal.

The update is for people: a wrong one is refused at once, with a reason, and leaves no trace in the
history. The signal of the same name needs no worker to be taken, and no input at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from schemas.ids import (
        REFUSED,
        SIGNAL_APPROVE,
        SIGNAL_KEEP,
        SIGNAL_PAUSE,
        SIGNAL_RESUME,
        SIGNAL_ROLLBACK,
        SIGNAL_SKIP,
    )
    from schemas.release import Command


class CommandKind(StrEnum):
    """What a person may say."""

    PAUSE = SIGNAL_PAUSE
    RESUME = SIGNAL_RESUME
    APPROVE = SIGNAL_APPROVE
    SKIP = SIGNAL_SKIP
    ROLLBACK = SIGNAL_ROLLBACK
    KEEP = SIGNAL_KEEP


_INPUT = 'Input may be left out, or JSON: {"by": "ann", "reason": "why"}'
_PAUSE = f"Go no further: hold the weight, and judge on. {_INPUT}"
_RESUME = f"Go on after a pause. {_INPUT}"
_APPROVE = f"Open the gate that waits. {_INPUT}"
_SKIP = f"End the bake that runs, and go on. {_INPUT}"
_ROLLBACK = f"Take the whole release back. {_INPUT}"
_KEEP = (
    "Instead of a rollback to a version without a healthy instance: the new version gets all "
    f"requests and becomes stable. {_INPUT}"
)


@runtime_checkable
class MayGoBack(Protocol):
    """A workflow that may go back: what traces and metrics ask of it."""

    @property
    def goes_back(self) -> bool:
        """Whether there is a reason to go back."""

    @property
    def goes_back_for_alert(self) -> bool:
        """Whether that reason is an alert."""


class Commands(ABC):
    """Handlers of the six commands; the workflow says what it refuses and what it does."""

    @property
    @abstractmethod
    def goes_back(self) -> bool:
        """Whether there is a reason to go back."""

    @property
    @abstractmethod
    def goes_back_for_alert(self) -> bool:
        """Whether that reason is an alert."""

    @abstractmethod
    def _refusal(self, kind: CommandKind, command: Command) -> str | None:
        """Why the command makes no sense now, for a person; None when it does."""

    @abstractmethod
    def _obey(self, kind: CommandKind, command: Command) -> str:
        """Record the command; returns the answer for a person."""

    def _ignored(self, kind: CommandKind, command: Command, why: str) -> None:  # noqa: B027 - may
        """Record a signal that makes no sense now; whoever keeps no record needs nothing here."""

    @workflow.signal(name=SIGNAL_PAUSE, description=_PAUSE)
    def pause_signal(self, value: Any = None) -> None:
        """Pause."""
        self._signalled(CommandKind.PAUSE, value)

    @workflow.signal(name=SIGNAL_RESUME, description=_RESUME)
    def resume_signal(self, value: Any = None) -> None:
        """Resume."""
        self._signalled(CommandKind.RESUME, value)

    @workflow.signal(name=SIGNAL_APPROVE, description=_APPROVE)
    def approve_signal(self, value: Any = None) -> None:
        """Approve."""
        self._signalled(CommandKind.APPROVE, value)

    @workflow.signal(name=SIGNAL_SKIP, description=_SKIP)
    def skip_signal(self, value: Any = None) -> None:
        """Skip."""
        self._signalled(CommandKind.SKIP, value)

    @workflow.signal(name=SIGNAL_ROLLBACK, description=_ROLLBACK)
    def rollback_signal(self, value: Any = None) -> None:
        """Roll back."""
        self._signalled(CommandKind.ROLLBACK, value)

    @workflow.signal(name=SIGNAL_KEEP, description=_KEEP)
    def keep_signal(self, value: Any = None) -> None:
        """Keep."""
        self._signalled(CommandKind.KEEP, value)

    @workflow.update(name=SIGNAL_PAUSE, description=_PAUSE)
    async def pause(self, value: Any = None) -> str:
        """Pause; answers what happens."""
        return self._obey(CommandKind.PAUSE, Command.of(value))

    @pause.validator
    def _check_pause(self, value: Any = None) -> None:
        self._check(CommandKind.PAUSE, value)

    @workflow.update(name=SIGNAL_RESUME, description=_RESUME)
    async def resume(self, value: Any = None) -> str:
        """Resume; answers what happens."""
        return self._obey(CommandKind.RESUME, Command.of(value))

    @resume.validator
    def _check_resume(self, value: Any = None) -> None:
        self._check(CommandKind.RESUME, value)

    @workflow.update(name=SIGNAL_APPROVE, description=_APPROVE)
    async def approve(self, value: Any = None) -> str:
        """Approve; answers what happens."""
        return self._obey(CommandKind.APPROVE, Command.of(value))

    @approve.validator
    def _check_approve(self, value: Any = None) -> None:
        self._check(CommandKind.APPROVE, value)

    @workflow.update(name=SIGNAL_SKIP, description=_SKIP)
    async def skip(self, value: Any = None) -> str:
        """Skip; answers what happens."""
        return self._obey(CommandKind.SKIP, Command.of(value))

    @skip.validator
    def _check_skip(self, value: Any = None) -> None:
        self._check(CommandKind.SKIP, value)

    @workflow.update(name=SIGNAL_ROLLBACK, description=_ROLLBACK)
    async def rollback(self, value: Any = None) -> str:
        """Roll back; answers what happens."""
        return self._obey(CommandKind.ROLLBACK, Command.of(value))

    @rollback.validator
    def _check_rollback(self, value: Any = None) -> None:
        self._check(CommandKind.ROLLBACK, value)

    @workflow.update(name=SIGNAL_KEEP, description=_KEEP)
    async def keep(self, value: Any = None) -> str:
        """Keep; answers what happens."""
        return self._obey(CommandKind.KEEP, Command.of(value))

    @keep.validator
    def _check_keep(self, value: Any = None) -> None:
        self._check(CommandKind.KEEP, value)

    def _check(self, kind: CommandKind, value: Any) -> None:
        refusal = self._refusal(kind, Command.of(value))
        if refusal is not None:
            raise ApplicationError(refusal, type=REFUSED)

    def _signalled(self, kind: CommandKind, value: Any) -> None:
        command = Command.of(value)
        refusal = self._refusal(kind, command)
        if refusal is not None:
            workflow.logger.warning(
                "command ignored", extra={"command": kind, "by": command.by, "why": refusal}
            )
            self._ignored(kind, command, refusal)
            return
        self._obey(kind, command)
