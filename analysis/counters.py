"""Counting right: increments of raw counters between two readings, per instance.

`increase()` and `rate()` extrapolate and are fractional, so raw counters are differenced here:

- a counter that fell was reset: its new value is the increment;
- a series that was not there before counts from 0 if its instance was (an error series is born with
  the first error), or if its instance started since; else its first value only starts the count;
- a series that is gone adds nothing, and goes on from its last value if it comes back;
- an absent series beside live ones of its instance is 0: `analysis.shown` says when that is so.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Self

from analysis.duplicates import Moved, replica_of
from schemas.reading import Series

_INSTANCE_LABELS = ("namespace", "job", "pod", "instance")
_FORGET_AFTER = 40
"""Readings without a series after which it is forgotten."""
_MOST_MISSING: Final = 2000
"""Series that are gone and yet remembered."""
_NAME: Final = 8
"""Characters of an instance's name at the beginning of the name of each of its series."""

Increments = dict[str, dict[str, float]]
"""Part name -> instance -> increment."""

Parts = Mapping[str, Sequence[Series]]
"""The raw series of each part."""


class _Memory(NamedTuple):
    value: float
    missed: int


def instance_of(labels: Mapping[str, str], replica_labels: Sequence[str] = ()) -> str:
    """What tells one instance (pod) from another: its scrape labels; empty where there are none."""
    names = (name for name in _INSTANCE_LABELS if name not in replica_labels)
    return "/".join(labels[name] for name in names if name in labels)


def _key(text: str) -> str:
    """A short stable name: many label sets must fit into one heartbeat."""
    return base64.b64encode(hashlib.blake2b(text.encode(), digest_size=6).digest()).decode()


class ArmCounters:
    """The last raw values of one metric of one arm.

    Args:
        last: by series.
        instances: readings that each instance has missed.
        replica_labels: what tells copies of a series apart.
    """

    __slots__ = ("_instances", "_last", "_replica_labels")

    def __init__(
        self,
        last: Mapping[str, _Memory] | None = None,
        instances: Mapping[str, int] | None = None,
        replica_labels: Sequence[str] = (),
    ) -> None:
        self._last = dict(last or {})
        self._instances = dict(instances or {})
        self._replica_labels = tuple(replica_labels)

    def __len__(self) -> int:
        """How many series are remembered."""
        return len(self._last)

    def fold(self, parts: Parts) -> tuple[dict[str, Sequence[Series]], bool]:
        """Of each instance the series of one replica: of the one that was counted, if it is there.

        Returns:
            The parts, and whether another replica had to step in: its counters are not quite those
            of the one before, so nothing may be counted across that.
        """
        if not self._replica_labels:
            return dict(parts), False
        known: dict[str, dict[tuple[str, ...], list[int]]] = {}
        for part, series in parts.items():
            for one in series:
                replica = replica_of(one.labels, self._replica_labels)
                tally = known.setdefault(self._of(one), {}).setdefault(replica, [0, 0])
                before = self._last.get(self._series_key(part, one))
                tally[0] += before is not None and before.missed == 0
                tally[1] += 1
        chosen = {
            instance: min(replicas, key=partial(_order, replicas))
            for instance, replicas in known.items()
        }
        switched = any(
            known[instance][replica][0] == 0 and self._instances.get(_key(instance)) == 0
            for instance, replica in chosen.items()
        )
        folded: dict[str, Sequence[Series]] = {
            part: [
                one
                for one in series
                if replica_of(one.labels, self._replica_labels) == chosen[self._of(one)]
            ]
            for part, series in parts.items()
        }
        return folded, switched

    def vanished(self, parts: Parts) -> int:
        """Series that were there in the last reading and are not, of instances that went on.

        An instance that restarted has none of its old series: its total fell, or is new.
        """
        went_on: dict[str, bool] = {}
        keys: set[str] = set()
        for part, series in parts.items():
            for one in series:
                key = self._series_key(part, one)
                keys.add(key)
                before = self._last.get(key)
                if part == "total" and before is not None:
                    name = key[:_NAME]
                    went_on[name] = went_on.get(name, True) and one.value >= before.value
        return sum(
            went_on.get(key[:_NAME], False) and memory.missed == 0 and key not in keys
            for key, memory in self._last.items()
        )

    def moved(self, parts: Parts, since: float) -> list[Moved]:
        """What each series has grown by since the last reading."""
        return [
            Moved(part, one, self._step(self._series_key(part, one), self._of(one), one, since, 0))
            for part, series in parts.items()
            for one in series
        ]

    def advance(
        self,
        parts: Mapping[str, Iterable[Series]],
        since: float | None,
        *,
        warmup: float = 0.0,
    ) -> tuple[Increments, Self]:
        """Increments since the last reading, and the counters as they are after this one.

        Nothing changes here: the caller keeps the new counters only when both arms are complete.

        Args:
            parts: the raw series of each part.
            since: time of the last reading, in seconds; None if there was none.
            warmup: seconds after an instance's start in which its counts are left out.
        """
        increments: Increments = {part: {} for part in parts}
        last: dict[str, _Memory] = {}
        instances: dict[str, int] = {}
        for part, series in parts.items():
            sums = increments[part]
            for one in series:
                if not math.isfinite(one.value):
                    continue
                instance, key = self._of(one), self._series_key(part, one)
                step = self._step(key, instance, one, since, warmup)
                sums[instance] = sums.get(instance, 0.0) + step
                last[key] = _Memory(one.value, 0)
                instances[_key(instance)] = 0
        after = type(self)(
            self._missing(last) | last, self._absent(instances), self._replica_labels
        )
        return increments, after

    def _of(self, one: Series) -> str:
        return instance_of(one.labels, self._replica_labels)

    def _series_key(self, part: str, one: Series) -> str:
        """The instance's name, and one of its own."""
        labels = one.labels
        text = part + "\x00" + "\x00".join(f"{k}\x01{labels[k]}" for k in sorted(labels))
        return _key(self._of(one)) + _key(text)

    def _step(
        self, key: str, instance: str, one: Series, since: float | None, warmup: float
    ) -> float:
        started = one.started_at.timestamp() if one.started_at is not None else None
        if since is None or (started is not None and warmup > 0 and since < started + warmup):
            return 0.0
        born = started is not None and started >= since
        before = self._last.get(key)
        if before is not None and not born:
            return one.value - before.value if one.value >= before.value else one.value
        return one.value if born or self._instances.get(_key(instance)) == 0 else 0.0

    def _missing(self, present: Mapping[str, _Memory]) -> dict[str, _Memory]:
        missing = [
            (memory.missed + 1, key, memory.value)
            for key, memory in self._last.items()
            if key not in present and memory.missed < _FORGET_AFTER
        ]
        missing.sort()
        return {key: _Memory(value, missed) for missed, key, value in missing[:_MOST_MISSING]}

    def _absent(self, present: Mapping[str, int]) -> dict[str, int]:
        absent = {
            key: missed + 1
            for key, missed in self._instances.items()
            if key not in present and missed < _FORGET_AFTER
        }
        return {**absent, **present}

    def dump(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "series": {
                key: [_plain(memory.value), memory.missed]
                if memory.missed
                else _plain(memory.value)
                for key, memory in self._last.items()
            },
            "instances": self._instances,
        }

    @classmethod
    def load(cls, state: Mapping[str, Any], replica_labels: Sequence[str] = ()) -> Self:
        """Take up a dumped state."""
        last = {}
        for key, entry in state["series"].items():
            value, missed = entry if isinstance(entry, Sequence) else (entry, 0)
            last[key] = _Memory(float(value), int(missed))
        return cls(last, state["instances"], replica_labels)


def _order(
    replicas: Mapping[tuple[str, ...], Sequence[int]], one: tuple[str, ...]
) -> tuple[int, int, tuple[str, ...]]:
    """Before the others: whoever is remembered best, has most series, has the smallest name."""
    known, there = replicas[one]
    return -known, -there, one


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() else value
