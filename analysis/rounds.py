"""Bets on what one version may fail by chance for longer than a reading takes.

A router is read several times a second. Errors of one version that go on for a second, as of an
instance that pauses, are then several readings, and a bet on each would count one chance as often.
So bets come in rounds. What follows a bet is left out for as long as a burst may last: whatever was
in the bet, or began meanwhile, is over by then or began afterwards. From there on bad requests are
collected, and the round is over with the reading in which they are enough, which is at once in a
clear fault. How many are enough follows from earlier rounds, and whether they are there from how
many of both versions together are bad: neither tells on which version they fell. docs/judging.md
has the proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

from analysis.evalues import Tally, canary_share

CALM: Final = 4.0
"""Bursts that a round may last while all is well: with fewer, more is left out between rounds."""
_SLACK: Final = 0.002
"""Seconds by which times may be rounded."""
_NOTHING: Final = Tally(0.0, 0.0, 0.0, 0.0)


class Bet(NamedTuple):
    """One round that is over."""

    odds: float
    """The canary's share of its bad requests over its share of the requests."""
    whole: Tally
    """All since the round before, with what was left out: to learn from, not to bet on."""


class Rounds:
    """When the readings of one stream are bet on.

    Args:
        burst: seconds for which the errors of one version may go on by chance; 0: no longer than a
            reading, and each reading with bad requests is a round.
    """

    __slots__ = (
        "_bad",
        "_began",
        "_burst",
        "_enough",
        "_ready",
        "_seen",
        "_weighed",
        "_whole",
        "closed",
    )

    def __init__(self, burst: float) -> None:
        self._burst = burst
        self._began: float | None = None
        self._ready = -math.inf
        self._enough = 1.0
        self._seen = 0.0
        self._bad = self._weighed = 0.0
        self._whole = _NOTHING
        self.closed = True
        """Whether the last reading ended a round: only then nothing is known of the next one."""

    def take(self, tally: Tally, margin: float, start: float, end: float) -> Bet | None:
        """Take one reading; the round that it ends, or None.

        Args:
            tally: bad and all requests of both arms.
            margin: times stable's rate that is still good, as it was when the last round ended.
            start: when it begins, in seconds.
            end: its end.
        """
        self.closed = self._burst == 0  # each reading is a round of its own, if any is bad
        self._began = start if self._began is None else self._began
        self._whole = Tally(*(a + b for a, b in zip(self._whole, tally, strict=True)))
        bad, share = tally.bad_c + tally.bad_b, canary_share(tally, margin)
        self._seen += bad
        if start < self._ready - _SLACK or bad <= 0 or share <= 0:
            return None
        self._bad += bad
        self._weighed += tally.bad_c / share
        if self._bad < self._enough:
            return None
        bet = Bet(self._weighed / self._bad, self._whole)
        self._bad = self._weighed = 0.0
        self._whole, self._ready, self.closed = _NOTHING, end + self._burst, True
        return bet

    def expect(self, now: float, *, suspicious: bool) -> None:
        """Say how many bad requests the next round needs: at once, when a round has ended.

        Args:
            now: the end of the last reading, in seconds.
            suspicious: whether the canary may be worse by now, so that one is enough.
        """
        lasted = now - (now if self._began is None else self._began)
        usual = self._seen / lasted if lasted > 0 else 0.0
        calm = math.floor(CALM * self._burst * usual)
        self._enough = 1.0 if suspicious else max(float(calm), 1.0)

    def dump(self) -> list[Any]:
        """The state as plain data."""
        ready = None if math.isinf(self._ready) else self._ready
        counts = [self._enough, self._seen, self._bad, self._weighed]
        return [self._began, ready, *counts, list(self._whole), self.closed]

    @classmethod
    def load(cls, state: Sequence[Any], burst: float) -> Self:
        """Take up a dumped state."""
        rounds = cls(burst)
        rounds._began, ready, *counts, whole, rounds.closed = state
        rounds._ready = -math.inf if ready is None else ready
        rounds._enough, rounds._seen, rounds._bad, rounds._weighed = counts
        rounds._whole = Tally(*whole)
        return rounds
