"""The queue of releases before their services: pure, so that every order of events can be tested.

A release has all of its services or none, so no release waits while it has something: there is no
cycle of waiting, whatever the order in which releases name their services. The first of the queue
never waits for anybody who waits, and a release passes those ahead of it only where it shares no
service with them, so nobody is passed for ever.

Only what one word changes is decided anew: a line of thousands is as quick as an empty one.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from schemas.admission import AdmissionState, Answer, Answered, Ask, Busy, Entry
from workflows.entry_queues import EntryQueue, EntryQueues, Place, place_of

REMEMBERED = 200
"""Ended runs that are remembered, so that a late word of theirs is not taken for a new one."""
NEAR = 8
"""So many of those who wait for one service are told who has it, or goes first. Those behind them
are told whom they follow, which is the same however the others come on."""
_TOLD_OF = 20
"""Most releases that an answer names to one that waits for them."""
_NAMED = 3
"""Most releases and services that a text spells out."""


class ReleaseQueue:
    """Who has services, and who waits for them."""

    def __init__(self, state: AdmissionState | None = None) -> None:
        state = state or AdmissionState()
        self.holding: dict[str, Entry] = {}
        self.waiting: dict[str, Entry] = {}
        self._order = EntryQueue()
        self._queues: EntryQueues[str] = EntryQueues()
        self._superseding: EntryQueues[str] = EntryQueues()
        self._same: EntryQueues[frozenset[str]] = EntryQueues()
        self._coalescing: EntryQueues[frozenset[str]] = EntryQueues()
        self._has: dict[str, dict[str, None]] = {}
        self._doubtful: set[str] = set()
        self._fresh: set[str] = set()
        self._dirty: set[str] = set()
        self._told = dict(state.told)
        self._left = dict.fromkeys(state.left)
        for entry in state.holding:
            self._hold(entry)
        for entry in state.waiting:
            self._enqueue(entry)

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
            self._forget(release)
            self._hold(entry)
        elif known is None or known.run != entry.run:
            self._forget(release)
            self._enqueue(entry)
        self.untold(release)
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
            self._forget(release)
            self._told.pop(release, None)

    def untold(self, release: str) -> None:
        """What it was told last did not arrive: it is told again."""
        self._told.pop(release, None)
        self._dirty.add(release)

    def __contains__(self, release: str) -> bool:
        """Whether it has services, or waits for them."""
        return release in self.holding or release in self.waiting

    def _entry(self, release: str) -> Entry:
        return self.holding.get(release) or self.waiting[release]

    # --- the books ---

    def _hold(self, entry: Entry) -> None:
        self.holding[entry.release] = entry
        self._dirty.add(entry.release)
        for service in entry.services:
            having = self._has.setdefault(service, {})
            having[entry.release] = None
            if len(having) > 1:
                self._doubtful.add(service)
            self._stir(service)

    def _enqueue(self, entry: Entry) -> None:
        self.waiting[entry.release] = entry
        self._order.add(entry)
        self._dirty.add(entry.release)
        self._fresh.add(entry.release)
        services = frozenset(entry.services)
        self._same.add(services, entry)
        if entry.policy.coalesce:
            self._coalescing.add(services, entry)
        for service in entry.services:
            at = self._queues.add(service, entry)
            if entry.policy.busy is Busy.SUPERSEDE:
                self._superseding.add(service, entry)
            self._stir(service, at)

    def _forget(self, release: str) -> None:
        entry = self.holding.pop(release, None)
        if entry is not None:
            for service in entry.services:
                having = self._has[service]
                having.pop(release, None)
                self._dirty.update(having)
                if not having:
                    del self._has[service]
                self._stir(service)
        entry = self.waiting.pop(release, None)
        if entry is not None:
            self._dequeue(entry)

    def _dequeue(self, entry: Entry) -> None:
        self._order.remove(entry)
        self._fresh.discard(entry.release)
        services = frozenset(entry.services)
        self._same.remove(services, entry)
        if entry.policy.coalesce:
            self._coalescing.remove(services, entry)
        for service in entry.services:
            self._stir(service, self._queues.remove(service, entry))
            if entry.policy.busy is Busy.SUPERSEDE:
                self._superseding.remove(service, entry)
                self._dirty.update(self._has.get(service, ()))

    def _stir(self, service: str, at: int = 0) -> None:
        """Something has changed at this place of a service's queue: look at whom it concerns."""
        queue = self._queues[service]
        self._dirty.update(queue.slice(0, NEAR + 1))
        self._dirty.update(queue.slice(at, at + 2))

    # --- what follows ---

    def settle(self, now: datetime) -> dict[str, Answer]:
        """Decide, and return what is new for each release; decides nothing more when repeated."""
        answers = self._replaced(now)
        answers |= self._admit(now)
        answers |= self._holders(now)
        return self._new(answers)

    def in_order(self) -> list[Entry]:
        """Those who wait, first to last."""
        return [self.waiting[release] for release in self._order]

    def first(self, most: int) -> list[Entry]:
        """The first of them."""
        return [self.waiting[release] for release in self._order.slice(0, most)]

    def awaited(self) -> list[str]:
        """The releases that have something which another one waits for, in a fixed order."""
        found = (release for service in self._queues for release in self._has.get(service, ()))
        return sorted(set(found))

    def dump(self, rest: AdmissionState) -> AdmissionState:
        """All of it, for a next run; what is not the queue's own is taken from `rest`."""
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
            told = _digest(answer)
            if self._told.get(release) != told:
                new[release] = answer
            if release in self:
                self._told[release] = told
            else:
                self._told.pop(release, None)
        return new

    def _replaced(self, now: datetime) -> dict[str, Answer]:
        """Take out of the queue whom a newer one replaces, by the newer one's policy."""
        answers = {}
        fresh = [self.waiting[release] for release in self._fresh]
        self._fresh.clear()
        for entry in sorted(fresh, key=_age, reverse=True):
            if entry.release not in self.waiting:
                continue
            rivals = sorted(self._rivals(entry), key=_age, reverse=True)
            newer = next((one for one in rivals if _replaces(one, entry)), None)
            if newer is not None:
                answers[entry.release] = self._replace(newer, entry, now)
                continue
            for older in rivals:
                if _replaces(entry, older):
                    answers[older.release] = self._replace(entry, older, now)
        self._fresh.clear()  # a place that was handed on makes nobody newer
        return answers

    def _rivals(self, entry: Entry) -> list[Entry]:
        """Those who wait, share a service, and may replace this one or be replaced by it."""
        services = frozenset(entry.services)
        found = set(self._same[services] if entry.policy.coalesce else self._coalescing[services])
        supersedes = entry.policy.busy is Busy.SUPERSEDE
        for service in entry.services:
            found.update(self._queues[service] if supersedes else self._superseding[service])
        found.discard(entry.release)
        return [self.waiting[release] for release in found]

    def _replace(self, newer: Entry, older: Entry, now: datetime) -> Answer:
        self._forget(older.release)
        current = self.waiting[newer.release]
        if set(newer.services) == set(older.services) and older.place < current.place:
            self._forget(newer.release)
            self._enqueue(current.model_copy(update={"place": older.place}))
        return _superseded(newer, now)

    def _admit(self, now: datetime) -> dict[str, Answer]:
        """Look at those that something has changed for, first to last."""
        answers: dict[str, Answer] = {}
        heap: list[Place] = []
        seen: set[Place] = set()
        while True:
            for release in self._dirty & self.waiting.keys():
                self._dirty.discard(release)
                place = place_of(self.waiting[release])
                if place not in seen:
                    seen.add(place)
                    heapq.heappush(heap, place)
            if not heap:
                return answers
            place = heapq.heappop(heap)
            seen.discard(place)
            entry = self.waiting.get(place[2])
            if entry is not None and place_of(entry) == place:
                answers[entry.release] = self._decide(entry, now)

    def _decide(self, entry: Entry, now: datetime) -> Answer:
        ahead = self._ahead(entry)
        if not ahead:
            self._forget(entry.release)
            self._hold(entry)
            return _answer(Answered.ADMITTED, now)
        if entry.policy.busy is Busy.REJECT:
            self._forget(entry.release)
            busy = _busy(entry, ahead, self, now)
            return busy.model_copy(update={"holders": self._owners(entry)})
        if entry.policy.busy is Busy.SUPERSEDE:
            self._dirty.update(one.release for one in ahead.values() if one.release in self.holding)
        return Answer(
            answered=Answered.QUEUED,
            text=_waits_for(ahead, self.holding),
            service=next(iter(ahead)),
            place=entry.place,
            holders=self._owners(entry),
            at=now,
        )

    def _owners(self, entry: Entry) -> tuple[str, ...]:
        """Those that have what it wants, each once."""
        have = (self._oldest(service).release for service in entry.services if service in self._has)
        return tuple(dict.fromkeys(have))[:_TOLD_OF]

    def _ahead(self, entry: Entry) -> dict[str, Entry]:
        """Who is before it, for each of its services that somebody has or wants first."""
        ahead: dict[str, Entry] = {}
        for service in entry.services:
            queue = self._queues[service]
            at = queue.index(entry)
            if at > NEAR:
                ahead[service] = self.waiting[queue.at(at - 1)]
            elif service in self._has:
                ahead[service] = self._oldest(service)
            elif at > 0:
                ahead[service] = self.waiting[queue.at(0)]
        return ahead

    def _oldest(self, service: str) -> Entry:
        return min((self.holding[release] for release in self._has[service]), key=_age)

    def _holders(self, now: datetime) -> dict[str, Answer]:
        """What has changed for those who have services."""
        busy = self._double_claims(now)
        answers = {}
        for release in sorted((self._dirty | busy.keys()) & self.holding.keys()):
            entry = self.holding[release]
            newer = self._newer(entry)
            if release in busy:
                answers[release] = busy[release]
            elif newer is not None:
                answers[release] = _superseded(newer, now)
            else:
                answers[release] = _answer(Answered.ADMITTED, now)
        self._dirty.clear()
        return answers

    def _newer(self, entry: Entry) -> Entry | None:
        """The last of those who wait for a service of it and supersede it."""
        found = {one for service in entry.services for one in self._superseding[service]}
        newer = [self.waiting[one] for one in found if _age(entry) < _age(self.waiting[one])]
        return max(newer, key=place_of, default=None)

    def _double_claims(self, now: datetime) -> dict[str, Answer]:
        """Two have one service only if the admission lost its memory: the later one goes back."""
        self._doubtful = {one for one in self._doubtful if len(self._has.get(one, ())) > 1}
        claims = {release for service in self._doubtful for release in self._has[service]}
        answers = {}
        kept: list[Entry] = []
        for entry in sorted((self.holding[release] for release in claims), key=_age):
            first = next((other for other in kept if other.clashes(entry)), None)
            if first is None:
                kept.append(entry)
            else:
                answers[entry.release] = _busy(entry, {_shared(entry, first): first}, self, now)
        return answers


def _digest(answer: Answer) -> str:
    """Tells what was said, in few bytes: the queue carries it for each release."""
    said = hashlib.sha256(answer.text.encode()).hexdigest()[:12] if answer.text else ""
    return f"{answer.answered}{said}"


def _age(entry: Entry) -> tuple[datetime, str]:
    return entry.since, entry.release


def _replaces(newer: Entry, older: Entry) -> bool:
    if _age(newer) < _age(older):
        return False
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


def _busy(entry: Entry, ahead: Mapping[str, Entry], queue: ReleaseQueue, now: datetime) -> Answer:
    service = next(one for one in entry.services if one in ahead)
    other = ahead[service].release
    text = (
        f"{service} is busy: release {other} {'has' if other in queue.holding else 'waits for'} it"
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
        parts.append(f"release {release} to {does[0]} (it {does[1]} {_some(services, ', ')})")
    return _some(parts, "; ")


def _some(parts: Sequence[str], between: str) -> str:
    more = [f"{len(parts) - _NAMED} more"] if len(parts) > _NAMED else []
    return between.join([*parts[:_NAMED], *more])
