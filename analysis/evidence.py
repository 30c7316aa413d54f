"""The evidence of one metric: an e-process and a bound for each of its streams (edges).

An average of e-processes is one under any dependence, so the edges of a histogram are averaged, and
so are the metrics of a canary. For going on, every edge must be within the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from analysis.bound import ExcessBound
from analysis.evalues import RATIOS, STAKES, StartMixture, Tally, lr_factors, share_factors
from analysis.rounds import Rounds
from analysis.stakes import AdaptiveBets


class Plan(NamedTuple):
    """What one metric is tested for; all of it fixed before the first look."""

    bets: bool
    """Share-betting, else likelihood ratio."""
    margin: float
    """Relative margin; 0 tests against the limit `delta` alone."""
    delta: float
    cluster: int
    looks: int
    beta: float
    bound_cluster: int
    tolerance: float | None
    """None: there is no bound (gauges)."""
    relative: float = 0.0
    """Share of stable's own rate that is tolerated, where that is more (histograms)."""
    swapped: bool = False
    """Lower is bad, of a gauge: the arms change places."""
    adaptive: bool = False
    """Share-betting with stakes that follow from earlier intervals."""
    burst: float | None = None
    """Share-betting in rounds: seconds for which one version's errors may go on by chance. None:
    no longer than an interval, and each is a bet."""


class Stream:
    """One stream of tallies of a metric."""

    __slots__ = ("_agreed", "_plan", "bad_b", "bad_c", "bound", "mixture", "n_b", "n_c", "rounds")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.mixture: StartMixture | AdaptiveBets = (
            AdaptiveBets(plan.looks)
            if plan.adaptive
            else StartMixture(len(STAKES if plan.bets else RATIOS), plan.looks)
        )
        self.bound = ExcessBound(plan.beta, plan.bound_cluster, against_stable=plan.margin > 0)
        self.bad_c = self.n_c = self.bad_b = self.n_b = 0.0
        self.rounds = None if plan.burst is None else Rounds(plan.burst)
        self._agreed: float | None = None

    @property
    def sure(self) -> float:
        """The e-value that may be stopped at: while a round goes on, as if it were lost.

        What is known of a round before it ends would be chosen by: a canary would be failed by what
        one stream has, while another is about to lose.
        """
        if self.rounds is None or self.rounds.closed:
            return self.mixture.value
        if isinstance(self.mixture, AdaptiveBets):
            return self.mixture.least
        return self.mixture.after([1.0 - stake for stake in STAKES])

    def count(self, groups: Sequence[Tally], start: float, end: float) -> None:
        """Count one interval; times in seconds."""
        plan = self._plan
        whole = groups[0] if len(groups) == 1 else _pool(groups)
        if self.rounds is not None:
            self._bet_in_rounds(self.rounds, whole, start, end)
        elif isinstance(self.mixture, AdaptiveBets):
            self._bet_adaptively(self.mixture, groups)
        elif plan.bets:
            flipped = [_swap(tally) for tally in groups] if plan.swapped else groups
            self.mixture.update(self._bet(flipped))
        else:
            self.mixture.update(lr_factors(whole, plan.margin, plan.delta, plan.cluster))
        if plan.tolerance is not None:
            self.bound.add(whole)
        self.bad_c += whole.bad_c
        self.n_c += whole.n_c
        self.bad_b += whole.bad_b
        self.n_b += whole.n_b

    @property
    def tolerance(self) -> float:
        """The bound at which this stream is good enough."""
        stable = self.bad_b / self.n_b if self.n_b > 0 else 0.0
        return max(self._plan.tolerance or 0.0, self._plan.relative * stable)

    def _bet(self, groups: Sequence[Tally]) -> list[float]:
        margin = self._margin()
        return [1.0] * len(STAKES) if margin is None else share_factors(groups, margin)

    def _bet_adaptively(self, bets: AdaptiveBets, groups: Sequence[Tally]) -> None:
        margin = self._margin()
        if margin is None:
            bets.skip()
        else:
            bets.update(groups, margin)

    def _bet_in_rounds(self, rounds: Rounds, whole: Tally, start: float, end: float) -> None:
        if self._agreed is None:
            self._agreed = self._margin()
        if self._agreed is None:
            return
        bet = rounds.take(whole, self._agreed, start, end)
        if bet is None:
            return
        if isinstance(self.mixture, AdaptiveBets):
            self.mixture.bet([bet.odds], bet.whole, self._agreed)
            suspicious = self.mixture.suspicious
        else:
            self.mixture.update([1.0 + stake * (bet.odds - 1.0) for stake in STAKES])
            suspicious = bet.odds > 1.0
        rounds.expect(end, suspicious=suspicious)
        self._agreed = None  # until the next reading: of what is known by now

    def _margin(self) -> float | None:
        """Times stable's rate that is still good; None: not known before stable was seen."""
        margin, delta = self._plan.margin, self._plan.delta
        if delta <= 0:
            return margin
        if self.n_b <= 0:
            return None
        seen = self.bad_b + 0.5
        low = max(seen - math.sqrt(seen), 0.25) / self.n_b
        return margin + delta / low

    def dump(self) -> list[Any]:
        """The state as plain data."""
        totals = [self.bad_c, self.n_c, self.bad_b, self.n_b]
        kept = [totals, self.mixture.dump(), self.bound.dump()]
        return kept if self.rounds is None else [*kept, self.rounds.dump(), self._agreed]

    def restore(self, state: Sequence[Any]) -> None:
        """Take up a dumped state."""
        plan = self._plan
        (self.bad_c, self.n_c, self.bad_b, self.n_b), mixture, bound, *rounds = state
        if plan.burst is not None and rounds:
            self.rounds, self._agreed = Rounds.load(rounds[0], plan.burst), rounds[1]
        kind = AdaptiveBets if plan.adaptive else StartMixture
        self.mixture = kind.load(mixture, plan.looks)
        self.bound = ExcessBound.load(
            bound, plan.beta, plan.bound_cluster, against_stable=plan.margin > 0
        )


class SequentialTest:
    """All streams of one metric, judged by e-process and bound."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.streams: list[Stream] = []

    @property
    def e_value(self) -> float:
        """Odds against the canary being good, from this metric alone."""
        if not self.streams:
            return 1.0
        return math.fsum(stream.mixture.value for stream in self.streams) / len(self.streams)

    @property
    def sure(self) -> float:
        """The same, as far as a canary may be failed by it now (see `Stream.sure`)."""
        if not self.streams:
            return 1.0
        return math.fsum(stream.sure for stream in self.streams) / len(self.streams)

    @property
    def tolerance(self) -> float | None:
        """The bound at which the metric is good enough; None: it has no bound."""
        if self._plan.tolerance is None or not self.streams:
            return self._plan.tolerance
        return self.streams[self._deciding()].tolerance

    @property
    def broken(self) -> bool:
        """Whether a fixed limit was broken; never, here."""
        return False

    def count(self, streams: Sequence[Sequence[Tally]], start: float, end: float) -> None:
        """Count one interval."""
        if not self.streams:
            self.streams = [Stream(self._plan) for _ in streams]
        for stream, groups in zip(self.streams, streams, strict=True):
            stream.count(groups, start, end)

    def within(self, exposure: float = 1.0) -> bool | None:
        """Whether every stream's bound is within the tolerance; None: there is no bound."""
        if self._plan.tolerance is None:
            return None
        return bool(self.streams) and all(
            stream.bound.within(min(stream.tolerance / exposure, 1.0)) for stream in self.streams
        )

    def upper(self) -> float | None:
        """The bound of the stream that is furthest from its tolerance."""
        if self._plan.tolerance is None:
            return None
        return self.streams[self._deciding()].bound.upper() if self.streams else 1.0

    def _deciding(self) -> int:
        if len(self.streams) == 1:
            return 0
        ratios = [stream.bound.upper() / stream.tolerance for stream in self.streams]
        return ratios.index(max(ratios))

    def telling(self) -> int:
        """Index of the stream that says most."""
        odds = [stream.mixture.value for stream in self.streams]
        return odds.index(max(odds)) if odds else 0

    def seen(self) -> list[Tally]:
        """What each stream has seen."""
        return [Tally(one.bad_c, one.n_c, one.bad_b, one.n_b) for one in self.streams]

    def totals(self) -> Tally:
        """What the telling stream has seen."""
        if not self.streams:
            return Tally(0.0, 0.0, 0.0, 0.0)
        stream = self.streams[self.telling()]
        return Tally(stream.bad_c, stream.n_c, stream.bad_b, stream.n_b)

    def telling_intervals(self) -> int | None:
        """Intervals with bad requests in the telling stream; None: not counted by this method."""
        mixture = self.streams[self.telling()].mixture if self.streams else None
        return mixture.told if isinstance(mixture, AdaptiveBets) else None

    def dump(self) -> Any:
        """The state as plain data."""
        return [stream.dump() for stream in self.streams]

    def restore(self, state: Any) -> None:
        """Take up a dumped state."""
        self.streams = [Stream(self._plan) for _ in state]
        for stream, part in zip(self.streams, state, strict=True):
            stream.restore(part)


def _pool(groups: Sequence[Tally]) -> Tally:
    return Tally(*(math.fsum(column) for column in zip(*groups, strict=True)))


def _swap(tally: Tally) -> Tally:
    return Tally(tally.bad_b, tally.n_b, tally.bad_c, tally.n_c)


def merge_state(state: Mapping[str, Any], name: str) -> Any:
    """The part of a dumped state that has this name.

    Raises:
        ValueError: there is none; the state is of another canary or other settings.
    """
    if name not in state:
        raise ValueError(f"judge state: nothing kept for {name}, expected the same metrics")
    return state[name]
