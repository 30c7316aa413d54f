"""What a release or a service waits for that a person can end, and the command that does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from schemas.ids import SIGNAL_RESUME, SIGNAL_ROLLBACK
from schemas.phases import CanaryPhase, ReleasePhase

_WITH_SERVICE: Final = " --service "


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
    made_for = one.phase.about.ends_by
    if made_for and one.phase.about.asks:
        found.append(made_for)
    if pauses(one):
        found.append(SIGNAL_RESUME)
    elif made_for:  # while it pauses, the end of a bake ends no wait
        found.append(made_for)
    return tuple(dict.fromkeys(found))


def made_for(phases: Iterable[CanaryPhase]) -> dict[str, str]:
    """The commands that are made for ending these phases, and what each does.

    First those that are asked for. `resume` is none of them: whatever was told to pause ends by it.
    """
    here = {one.about.ends_by: one.about for one in phases}
    first = sorted(here.values(), key=lambda about: (not about.asks, about.ends_by))
    words = {about.ends_by: about.ends_how for about in first}
    return {word: how for word, how in words.items() if word not in {"", SIGNAL_RESUME}}


def pauses(one: Waiting) -> bool:
    """Whether it goes no further until resumed; a bake that runs goes on to its end."""
    held = one.paused and one.phase.forward
    return held or one.phase is CanaryPhase.PAUSED


def asks_people(one: Waiting) -> bool:
    """Whether it goes on only when a person has done something."""
    return one.phase.about.asks or pauses(one) or bool(one.ends_by)


def asking(services: Iterable[Waiting]) -> str:
    """What those services wait for that ask a person, in words; empty when none does."""
    told = [f"{one.service} waits for {_awaited(one)}" for one in services if asks_people(one)]
    return "; ".join(told)


def _awaited(one: Waiting) -> str:
    return one.waits_for or ("resume" if one.phase is CanaryPhase.PAUSED else "a person")


def command(word: str, release: str, service: str | None = None) -> str:
    """The command line that says a word."""
    return f"aviary release {word} {release}" + (f"{_WITH_SERVICE}{service}" if service else "")


def commands(words: Sequence[str], release: str, service: str | None = None) -> str:
    """The command lines that end a wait; empty without any."""
    return " or ".join(command(word, release, service) for word in words)


def way_out(phase: ReleasePhase, release: str) -> str:
    """How a release that waits for its turn is taken out of the queue."""
    return command(SIGNAL_ROLLBACK, release) if phase is ReleasePhase.QUEUED else ""
