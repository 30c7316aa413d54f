"""What a release or a service waits for that a person can end, and the command that does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from schemas.ids import SIGNAL_APPROVE, SIGNAL_RESUME, SIGNAL_ROLLBACK, SIGNAL_SKIP
from schemas.phases import CanaryPhase, ReleasePhase

_WITH_SERVICE: Final = " --service "
_OF_PEOPLE: Final = {CanaryPhase.GATED, CanaryPhase.PAUSED, CanaryPhase.STUCK}
_BEYOND_PAUSES: Final = {
    CanaryPhase.ROLLING_BACK,
    CanaryPhase.STUCK,
    CanaryPhase.VERIFYING,
    CanaryPhase.FINALIZING,
}
"""What a pause from before has no say in."""


class Waiting(Protocol):
    """A service, as its release or its canary tells of it."""

    @property
    def service(self) -> str:
        """Its name."""
        ...

    @property
    def phase(self) -> CanaryPhase:
        """Where it is."""
        ...

    @property
    def waits_for(self) -> str:
        """In words."""
        ...

    @property
    def paused(self) -> bool:
        """Whether it goes no further until resumed."""
        ...

    @property
    def ends_by(self) -> tuple[str, ...]:
        """Commands that end this wait, beside those of its phase."""
        ...


def ends(one: Waiting) -> tuple[str, ...]:
    """The commands that end what a service waits for, the one that is meant for it first."""
    found = [*one.ends_by]
    if one.phase is CanaryPhase.GATED:
        found.append(SIGNAL_APPROVE)
    if pauses(one):
        found.append(SIGNAL_RESUME)
    elif one.phase is CanaryPhase.BAKING:  # while it pauses, the end of a bake ends no wait
        found.append(SIGNAL_SKIP)
    return tuple(dict.fromkeys(found))


def pauses(one: Waiting) -> bool:
    """Whether it goes no further until resumed; a bake that runs goes on to its end."""
    held = one.paused and not one.phase.closed and one.phase not in _BEYOND_PAUSES
    return held or one.phase is CanaryPhase.PAUSED


def asks_people(one: Waiting) -> bool:
    """Whether it goes on only when a person has done something."""
    return one.phase in _OF_PEOPLE or pauses(one) or bool(one.ends_by)


def asking(services: Iterable[Waiting]) -> str:
    """What those services wait for that ask a person, in words; empty when none does."""
    told = [f"{one.service} waits for {_awaited(one)}" for one in services if asks_people(one)]
    return "; ".join(told)


def _awaited(one: Waiting) -> str:
    return one.waits_for or {CanaryPhase.PAUSED: "resume"}.get(one.phase, "a person")


def command(word: str, release: str, service: str | None = None) -> str:
    """The command line that says a word."""
    return f"aviary release {word} {release}" + (f"{_WITH_SERVICE}{service}" if service else "")


def commands(words: Sequence[str], release: str, service: str | None = None) -> str:
    """The command lines that end a wait; empty without any."""
    return " or ".join(command(word, release, service) for word in words)


def way_out(phase: ReleasePhase, release: str) -> str:
    """How a release that waits for its turn is taken out of the queue."""
    return command(SIGNAL_ROLLBACK, release) if phase is ReleasePhase.QUEUED else ""
