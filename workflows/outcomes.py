"""How what a canary does may end: handed back by each stage, and by each of its waits."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.release import Cause


@dataclass(frozen=True)
class Done:
    """It is done."""


@dataclass(frozen=True)
class Again:
    """A part of it is done: ask what is next, which may be the rest of it."""


class Stopped:
    """It came to no good end; every wait that stops hands one of these back."""


@dataclass(frozen=True)
class Failed(Stopped):
    """There is a cause to go back."""

    cause: Cause
    error: str = ""
    """The type of the failure, where a call failed for good."""


@dataclass(frozen=True)
class Interrupted(Stopped):
    """Something else is to be done."""


@dataclass(frozen=True)
class TooLong(Stopped):
    """The history is too long to go on in this run."""


Outcome = Done | Again | Stopped

DONE, AGAIN, INTERRUPTED, TOO_LONG = Done(), Again(), Interrupted(), TooLong()
