"""An A/B test: which of two versions has more of what a metric counts, looked at at any time.

Two e-processes run side by side, each as the judge has for one question: that the canary's share of
what is counted is above its share of the requests, and that stable's is. Their mean is an e-process
against "there is no difference", so the chance that it ever reaches 1/alpha without one is at most
alpha, both directions together, whatever the looks and stops (Ville's inequality).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from analysis.evalues import Tally
from analysis.evidence import Plan, SequentialTest
from schemas.judging import JudgeSpec

_NOTHING: Final = Tally(0.0, 0.0, 0.0, 0.0)


class AbTest:
    """Two versions on equal audiences, by one counter among the requests of each.

    Args:
        spec: how the service is judged: its alpha, margin and looks count here, too.
        margin: times the other's rate that is no difference yet; 1 is none.
    """

    def __init__(self, spec: JudgeSpec, margin: float = 1.0) -> None:
        plan = Plan(
            bets=True,
            margin=margin,
            delta=0.0,
            cluster=1,
            looks=spec.looks,
            beta=spec.beta,
            bound_cluster=1,
            tolerance=None,
            adaptive=True,
        )
        self.threshold = 1.0 / spec.alpha
        self._more, self._fewer = SequentialTest(plan), SequentialTest(plan)
        self._last = _NOTHING
        self._ahead: bool | None = None
        self._at: float | None = None

    @property
    def odds(self) -> float:
        """Against "there is no difference"; 1 is no evidence."""
        return (self._more.e_value + self._fewer.e_value) / 2

    @property
    def more(self) -> bool | None:
        """Whether the canary has more; None: that was not shown. It stays as it was shown first."""
        return self._ahead

    @property
    def at(self) -> float | None:
        """When it was shown, in seconds; None: it was not."""
        return self._at

    def take(self, seen: Tally, at: float) -> None:
        """Take what was counted so far; what is no more than before says nothing new.

        Args:
            seen: of both versions since the beginning: what the metric counts, and the requests.
            at: the time, in seconds.
        """
        grown = Tally(*(now - before for now, before in zip(seen, self._last, strict=True)))
        if min(grown) < 0 or not (grown.n_c or grown.n_b):
            return
        self._last = seen
        self._more.count([(grown,)], at, at)
        self._fewer.count([(Tally(grown.bad_b, grown.n_b, grown.bad_c, grown.n_c),)], at, at)
        if self._ahead is None and self.odds >= self.threshold:
            self._ahead, self._at = self._more.e_value > self._fewer.e_value, at

    def dump(self) -> dict[str, Any]:
        """The state as plain data, for JSON."""
        return {
            "more": self._more.dump(),
            "fewer": self._fewer.dump(),
            "last": list(self._last),
            "shown": [self._ahead, self._at],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a dumped state."""
        self._more.restore(state["more"])
        self._fewer.restore(state["fewer"])
        self._last = Tally(*state["last"])
        self._ahead, self._at = state["shown"]
