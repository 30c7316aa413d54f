"""Counting right: increments of raw counters between two readings, per instance.

`increase()` and `rate()` extrapolate and are fractional, so raw counters are differenced here:

- a counter that fell was reset: its new value is the increment;
- a series that was not there before counts from 0 if its instance was (an error series is born with
  the first error), or if its instance started since; else its first value only starts the count;
- a series that is gone adds nothing, and goes on from its last value if it comes back;
- an absent series beside live ones of its instance is 0.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from schemas.reading import Series

_INSTANCE_LABELS = ("namespace", "job", "pod", "instance")
_FORGET_AFTER = 40
"""Readings without a series after which it is forgotten."""

Increments = dict[str, dict[str, float]]
"""Part name -> instance -> increment."""


class _Memory(NamedTuple):
    value: float
    missed: int


def instance_of(labels: Mapping[str, str]) -> str:
    """What tells one instance (pod) from another: its scrape labels; empty where there are none."""
    return "/".join(labels[name] for name in _INSTANCE_LABELS if name in labels)


def _key(text: str) -> str:
    """A short stable name: many label sets must fit into one heartbeat."""
    return base64.b64encode(hashlib.blake2b(text.encode(), digest_size=6).digest()).decode()


def _series_key(part: str, labels: Mapping[str, str]) -> str:
    return _key(part + "\x00" + "\x00".join(f"{k}\x01{labels[k]}" for k in sorted(labels)))


class ArmCounters:
    """The last raw values of one metric of one arm."""

    __slots__ = ("_instances", "_last")

    def __init__(
        self,
        last: Mapping[str, _Memory] | None = None,
        instances: Mapping[str, int] | None = None,
    ) -> None:
        self._last = dict(last or {})
        self._instances = dict(instances or {})

    def __len__(self) -> int:
        """How many series are remembered."""
        return len(self._last)

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
                instance, key = instance_of(one.labels), _series_key(part, one.labels)
                step = self._step(key, instance, one, since, warmup)
                sums[instance] = sums.get(instance, 0.0) + step
                last[key] = _Memory(one.value, 0)
                instances[_key(instance)] = 0
        return increments, type(self)(self._missing(last) | last, self._absent(instances))

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
        return {
            key: _Memory(memory.value, memory.missed + 1)
            for key, memory in self._last.items()
            if key not in present and memory.missed < _FORGET_AFTER
        }

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
    def load(cls, state: Mapping[str, Any]) -> Self:
        """Take up a dumped state."""
        last = {}
        for key, entry in state["series"].items():
            value, missed = entry if isinstance(entry, Sequence) else (entry, 0)
            last[key] = _Memory(float(value), int(missed))
        return cls(last, state["instances"])


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() else value
