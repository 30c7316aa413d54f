"""The line of releases before their services: pure, so that every order of events can be tested.

A release has all of its services or none, so no release waits while it has something: there is no
cycle of waiting, whatever the order in which releases name their services. The first of the line
never waits for anybody who waits, and a release passes those ahead of it only where it shares no
service with them, so nobody is passed for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from schemas.admission import AdmissionState, Answer, Answered, Ask, Busy, Entry

REMEMBERED = 200
"""Ended runs that are remembered, so that a late word of theirs is not taken for a new one."""
_NAMED = 3
"""Most releases that a text spells out."""


class Line:
    """Who has services, and who waits for them."""

    def __init__(self, state: AdmissionState | None = None) -> None:
        state = state or AdmissionState()
        self.holding = {entry.release: entry for entry in state.holding}
        self.waiting = {entry.release: entry for entry in state.waiting}
        self._told = dict(state.told)
        self._left = dict.fromkeys(state.left)

    # --- what releases say ---

    def take(self, ask: Ask) -> bool:
        """A release asks, or says what it has; False for one that has left already.

        Asking again is the same as asking once, but is answered again.
        """
        entry = ask.entry
        if entry.run in self._left:
            return False
        release = entry.release
        known = self.waiting.get(release)
        if ask.holding or release in self.holding:
            self.waiting.pop(release, None)
            self.holding[release] = entry
        elif known is None or known.run != entry.run:
            self.waiting[release] = entry
        self._told.pop(release, None)
        return True

    def leave(self, release: str, run: str) -> None:
        """A run of a release has ended."""
        self._left[run] = None
        while len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]
        if release in self and self._entry(release).run == run:
            self.drop([release])

    def drop(self, releases: Iterable[str]) -> None:
        """Releases that are gone without a word."""
        for release in releases:
            self.holding.pop(release, None)
            self.waiting.pop(release, None)
            self._told.pop(release, None)

    def untold(self, release: str) -> None:
        """What it was told last did not arrive: it is told again when anything changes."""
        self._told.pop(release, None)

    def __contains__(self, release: str) -> bool:
        """Whether it has services, or waits for them."""
        return release in self.holding or release in self.waiting

    def _entry(self, release: str) -> Entry:
        return self.holding.get(release) or self.waiting[release]

    # --- what follows ---

    def settle(self, now: datetime) -> dict[str, Answer]:
        """Decide, and return what is new for each release; decides nothing more when repeated."""
        answers = {release: _answer(Answered.ADMITTED, now) for release in self.holding}
        answers |= self._double_claims(now)
        answers |= self._replaced(now)
        answers |= self._admit(now)
        return self._new(answers)

    def in_order(self) -> list[Entry]:
        """Those who wait, first to last."""
        return sorted(self.waiting.values(), key=lambda one: (one.place, one.since, one.release))

    def dump(self, rest: AdmissionState) -> AdmissionState:
        """All of it, for a next run; what is not the line's own is taken from `rest`."""
        return rest.model_copy(
            update={
                "holding": tuple(self.holding.values()),
                "waiting": tuple(self.waiting.values()),
                "told": dict(self._told),
                "left": tuple(self._left),
            }
        )

    def _new(self, answers: Mapping[str, Answer]) -> dict[str, Answer]:
        new = {}
        for release, answer in answers.items():
            told = f"{answer.answered}: {answer.text}"
            if self._told.get(release) != told:
                new[release] = answer
            if release in self:
                self._told[release] = told
            else:
                self._told.pop(release, None)
        return new

    def _double_claims(self, now: datetime) -> dict[str, Answer]:
        """Two have one service only if the admission lost its memory: the later one goes back."""
        answers = {}
        kept: list[Entry] = []
        for entry in sorted(self.holding.values(), key=_age):
            first = next((other for other in kept if other.clashes(entry)), None)
            if first is None:
                kept.append(entry)
            else:
                answers[entry.release] = _busy(entry, {_shared(entry, first): first}, self, now)
        return answers

    def _replaced(self, now: datetime) -> dict[str, Answer]:
        """Take out of the line whom a newer one replaces, by the newer one's policy."""
        answers = {}
        kept: list[Entry] = []
        for entry in sorted(self.waiting.values(), key=_age, reverse=True):
            newer = next((one for one in kept if _replaces(one, entry)), None)
            if newer is None:
                kept.append(entry)
                continue
            del self.waiting[entry.release]
            answers[entry.release] = _superseded(newer, now)
            if set(newer.services) == set(entry.services):
                at = kept.index(newer)
                place = min(newer.place, entry.place)
                kept[at] = newer.model_copy(update={"place": place})
                self.waiting[newer.release] = kept[at]
        return answers

    def _admit(self, now: datetime) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        taken = {service: one for one in self.holding.values() for service in one.services}
        for entry in self.in_order():
            ahead = {service: taken[service] for service in entry.services if service in taken}
            if not ahead:
                self.holding[entry.release] = self.waiting.pop(entry.release)
                answers[entry.release] = _answer(Answered.ADMITTED, now)
            elif entry.policy.busy is Busy.REJECT:
                del self.waiting[entry.release]
                answers[entry.release] = _busy(entry, ahead, self, now)
                continue
            else:
                answers[entry.release] = self._queued(entry, ahead, now)
                answers |= self._ordered_back(entry, ahead, now)
            taken = dict.fromkeys(entry.services, entry) | taken
        return answers

    def _queued(self, entry: Entry, ahead: Mapping[str, Entry], now: datetime) -> Answer:
        return Answer(
            answered=Answered.QUEUED,
            text=_waits_for(ahead, self.holding),
            service=next(iter(ahead)),
            place=entry.place,
            at=now,
        )

    def _ordered_back(
        self, entry: Entry, ahead: Mapping[str, Entry], now: datetime
    ) -> dict[str, Answer]:
        """The older ones that have services which a superseding release wants."""
        if entry.policy.busy is not Busy.SUPERSEDE:
            return {}
        return {
            other.release: _superseded(entry, now)
            for other in ahead.values()
            if other.release in self.holding and _age(other) < _age(entry)
        }


def _age(entry: Entry) -> tuple[datetime, str]:
    return entry.since, entry.release


def _replaces(newer: Entry, older: Entry) -> bool:
    if newer.policy.busy is Busy.SUPERSEDE and newer.clashes(older):
        return True
    return newer.policy.coalesce and set(newer.services) == set(older.services)


def _shared(entry: Entry, other: Entry) -> str:
    return next(service for service in entry.services if service in other.services)


def _answer(answered: Answered, now: datetime) -> Answer:
    return Answer(answered=answered, at=now)


def _superseded(newer: Entry, now: datetime) -> Answer:
    text = f"release {newer.release} takes its place"
    return Answer(answered=Answered.SUPERSEDED, text=text, at=now)


def _busy(entry: Entry, ahead: Mapping[str, Entry], line: Line, now: datetime) -> Answer:
    service = next(one for one in entry.services if one in ahead)
    other = ahead[service].release
    text = (
        f"{service} is busy: release {other} {'has' if other in line.holding else 'waits for'} it"
    )
    return Answer(answered=Answered.BUSY, text=text, service=service, at=now)


def _waits_for(ahead: Mapping[str, Entry], holding: Mapping[str, Entry]) -> str:
    """`release shop-41 to end (it has ledger); release shop-42 to go first (it wants cart)`."""
    shared: dict[str, list[str]] = {}
    for service, other in ahead.items():
        shared.setdefault(other.release, []).append(service)
    parts = []
    for release, services in shared.items():
        does = ("end", "has") if release in holding else ("go first", "wants")
        parts.append(f"release {release} to {does[0]} (it {does[1]} {', '.join(services)})")
    more = [f"{len(parts) - _NAMED} more"] if len(parts) > _NAMED else []
    return "; ".join(parts[:_NAMED] + more)
