"""The pauses between attempts, for whatever waits until something is there again.

No library: tenacity's loops would be as long as ours, which end by an event, begin anew after a
success, or log what they wait for; only this rule is the same for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

FIRST_S: Final = 0.1
CAP_S: Final = 2.0


def doubling(first_s: float = FIRST_S, cap_s: float = CAP_S) -> Iterator[float]:
    """Seconds to wait after each failure in a row, without end.

    Args:
        first_s: after the first, more than 0.
        cap_s: the longest, at least `first_s`.
    """
    pause = first_s
    while True:
        yield pause
        pause = min(pause * 2, cap_s)
