"""How often one caller may ask."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_KNOWN_MOST: Final = 10_000
"""Callers that are remembered; one that is forgotten begins anew."""


class Rates:
    """A bucket of requests for each caller, which fills at a steady rate.

    Args:
        per_s: requests a second, over time.
        burst: requests at once after a rest, at least 1.
        clock: seconds, never going back.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = max(burst, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, name: str) -> int:
        """Take one request of this caller: 0, or the whole seconds after which it may ask again."""
        now = self._clock()
        left, at = self._buckets.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_s)
        allowed = left >= 1.0
        self._buckets[name] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > _KNOWN_MOST:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1.0 - left) / self._per_s))
