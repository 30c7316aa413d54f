"""What was done lately: bounded, and so only ever a saving, never what correctness rests on."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

REMEMBERED: Final = 20_000
"""Entries of one memory; a forgotten one costs a signal or an event that changes nothing."""


class RecentlySeen:
    """A set that forgets what was not met for longest.

    A dict does it in a few lines; cachetools' LRUCache would not take `in` for a use.
    """

    def __init__(self, most: int = REMEMBERED) -> None:
        """Hold at most so many entries."""
        self._most = most
        self._entries: dict[Hashable, None] = {}

    def __contains__(self, entry: Hashable) -> bool:
        """Whether it is remembered; one that is asked for stays for longer."""
        if entry not in self._entries:
            return False
        self.add(entry)
        return True

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._entries)

    def add(self, entry: Hashable) -> None:
        """Remember; forget the oldest where there are too many."""
        self._entries.pop(entry, None)
        self._entries[entry] = None
        while len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]
