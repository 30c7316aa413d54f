"""The judge of an A/B test: when it ends, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from analysis.ab import AbTest
from analysis.evalues import Tally
from analysis.explain import percent, plain
from analysis.judge import Judge
from analysis.tracks import Track
from schemas.base import format_duration
from schemas.judging import Direction
from schemas.verdict import Reason, Verdict, VerdictKind

KEPT: Final = "ab"
"""Its part of a judge's evidence."""


class AbJudge(Judge):
    """A judge that compares by one metric, and by all others fails the new version as ever."""

    def compare(
        self, metric: str, versions: tuple[str, str], state: Mapping[str, Any] | None
    ) -> None:
        """Begin to compare, or go on.

        Args:
            metric: the declared one, which is of kind ratio and takes nothing back.
            versions: stable and the new one.
            state: the evidence of an earlier attempt, if any.
        """
        self._metric = self.tracks[metric].metric
        self._stable, self._canary = versions
        margin = self._spec.margin if self._metric.margin is None else self._metric.margin
        self._test = AbTest(self._spec, margin)
        if state and KEPT in state:
            self._test.restore(state[KEPT])

    def dump(self) -> dict[str, Any]:
        """The state, with that of the test."""
        return {**super().dump(), KEPT: self._test.dump()}

    def _instead(
        self, verdict: Verdict, elapsed: timedelta, least: timedelta, most: timedelta, /
    ) -> Verdict:
        """The word of the test, unless another metric has failed the new version."""
        seen = self._seen()
        self._test.take(seen, verdict.at.timestamp())
        if verdict.kind is VerdictKind.FAIL:
            return verdict
        final = elapsed >= most or (self._test.more is not None and elapsed >= least)
        kind, reason = self._compared(seen) if final else _GOES_ON
        sentence = self._says(reason, seen, most)
        told = {"kind": kind, "reason": reason, "final": final, "sentence": sentence}
        return verdict.model_copy(update=told)

    @property
    def _better(self) -> bool | None:
        """Whether the new version is better; None: no difference was shown."""
        more = self._test.more
        return None if more is None else more is (self._metric.direction is _MORE_IS_GOOD)

    def _seen(self) -> Tally:
        """What the metric counts of both, as its counter has it."""
        track = self.tracks[self._metric.name]
        seen = track.test.totals() if isinstance(track, Track) else _NOTHING
        if self._metric.direction is not _MORE_IS_GOOD:
            return seen
        # The judge counts what is missing: a version is bad that has less.
        return seen._replace(bad_c=seen.n_c - seen.bad_c, bad_b=seen.n_b - seen.bad_b)

    def _compared(self, seen: Tally) -> tuple[VerdictKind, Reason]:
        if self._better is None:
            nothing = not (seen.n_c and seen.n_b)
            return VerdictKind.INCONCLUSIVE, Reason.NO_DATA if nothing else Reason.NO_DIFFERENCE
        if self._better:
            return VerdictKind.PASS, Reason.BETTER
        return VerdictKind.INCONCLUSIVE, Reason.WORSE

    def _says(self, reason: Reason, seen: Tally, lasts: timedelta) -> str:
        name = self._metric.name
        rates = (
            f"{name} {_rate(seen.bad_c, seen.n_c)} on {self._canary} and "
            f"{_rate(seen.bad_b, seen.n_b)} on {self._stable}"
        )
        odds = f"odds {plain(self._test.odds)} of {plain(self._test.threshold)}"
        return {
            Reason.BETTER: f"{self._canary} is better than {self._stable}: {rates} ({odds})",
            Reason.WORSE: f"{self._canary} is worse than {self._stable}: {rates} ({odds})",
            Reason.NO_DIFFERENCE: (
                f"no difference shown in {format_duration(lasts)}: {rates} ({odds})"
            ),
            Reason.NO_DATA: f"nothing to compare: {rates}",
        }.get(reason, f"comparing {self._canary} with {self._stable}: {rates} ({odds})")


_MORE_IS_GOOD: Final = Direction.LOWER_IS_BAD
_NOTHING: Final = Tally(0.0, 0.0, 0.0, 0.0)
_GOES_ON: Final = (VerdictKind.INCONCLUSIVE, Reason.COLLECTING)


def _rate(part: float, total: float) -> str:
    return f"{percent(part / total)} of {total:,.0f}" if total else "of no request"
