"""Those who wait, in order: queues that find a place, and give it up, in no time. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from datetime import datetime
from typing import Generic, TypeVar

from schemas.admission import Entry

_K = TypeVar("_K")
Place = tuple[datetime, datetime, str]


def place_of(entry: Entry) -> Place:
    """What entries are sorted by: their place, then since when they wait, then their name."""
    return entry.place, entry.since, entry.release


class EntryQueue:
    """Those who wait, in order: all of them, or those for one service."""

    def __init__(self) -> None:
        self._places: list[Place] = []

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return (release for _, _, release in self._places)

    def add(self, entry: Entry) -> int:
        """Put in an entry; returns at which index it is."""
        insort(self._places, place_of(entry))
        return self.index(entry)

    def remove(self, entry: Entry) -> int:
        """Take out an entry that is there; returns at which index it was."""
        at = self.index(entry)
        del self._places[at]
        return at

    def index(self, entry: Entry) -> int:
        """Where an entry is, or would be: how many are before it."""
        return bisect_left(self._places, place_of(entry))

    def at(self, index: int) -> str:
        """The release at an index. Raises `IndexError` beyond the end."""
        return self._places[index][2]

    def slice(self, start: int, end: int) -> list[str]:
        """The releases from `start` up to, not including, `end`; fewer where there are no more."""
        return [release for _, _, release in self._places[start:end]]


class EntryQueues(Generic[_K]):
    """Queues by what those in them have in common; an empty one is not kept."""

    def __init__(self) -> None:
        self._queues: dict[_K, EntryQueue] = {}

    def __iter__(self) -> Iterator[_K]:
        return iter(self._queues)

    def __getitem__(self, key: _K) -> EntryQueue:
        return self._queues.get(key) or EntryQueue()

    def add(self, key: _K, entry: Entry) -> int:
        """Put an entry into a key's queue; returns at which index it is."""
        return self._queues.setdefault(key, EntryQueue()).add(entry)

    def remove(self, key: _K, entry: Entry) -> int:
        """Take an entry out of a key's queue, where it is; returns at which index it was."""
        queue = self._queues[key]
        at = queue.remove(entry)
        if not queue:
            del self._queues[key]
        return at
