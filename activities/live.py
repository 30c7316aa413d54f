"""What a bake has seen so far, for people: beside the evidence in the judge's heartbeat.

Heartbeats are in no history, and are read without a worker: `aviary release watch` shows them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

from temporalio import activity

from activities.observe import SampleRatioChecks
from analysis.boundaries import MOST_ODDS, LiveEvidence, overall
from analysis.judge import Judge
from schemas.lane_counts import LaneCounts
from schemas.live import Live
from schemas.strategy import Bake
from schemas.verdict import Verdict

ShowLive = Callable[[str], AbstractContextManager[Callable[[Live], None]]]
"""Given a service, shows what its judge sees for as long as it judges, and nothing after."""


def show_nobody(service: str) -> AbstractContextManager[Callable[[Live], None]]:  # noqa: ARG001 - nobody's
    """Nobody is shown anything."""
    return nullcontext(lambda _: None)


class Heartbeat:
    """The heartbeat of one judging: evidence that another attempt resumes from, and a live view.

    Args:
        judge: whose evidence it is.
        shown: told of the live view as it changes.
    """

    def __init__(self, judge: Judge, shown: Callable[[Live], None]) -> None:
        self._judge = judge
        self._shown = shown
        self._live_evidence = LiveEvidence(
            {name: one.metric.kind for name, one in judge.tracks.items()}
        )
        self._live: Live | None = None
        self.lane: LaneCounts | None = None
        """What came with the lane, so far as this attempt has counted."""

    def update(
        self,
        verdict: Verdict,
        sample_ratio: SampleRatioChecks,
        *,
        weight: float,
        started_at: datetime,
        bake: Bake | None,
    ) -> None:
        """Take what the last reading amounts to."""
        metrics = self._live_evidence.metrics(verdict)
        near, onward = overall(self._judge, verdict, metrics)
        canary, total = sample_ratio.seen
        self.lane = sample_ratio.lane(weight)
        self._live = Live(
            at=verdict.at,
            kind=verdict.kind,
            sentence=verdict.sentence,
            weight=weight,
            started_at=started_at,
            bake_min=bake.min.total_seconds() if bake else None,
            bake_max=bake.max.total_seconds() if bake else None,
            share=canary / total if total > 0 else None,
            requests=total,
            e_value=min(self._judge.e_value, MOST_ODDS),
            threshold=self._judge.threshold,
            to_fail=near,
            to_go_on=onward,
            metrics=metrics,
            lane=self.lane,
        )
        self._shown(self._live)

    def send(self, evidence: dict[str, Any]) -> None:
        """Send both; before the first reading only the evidence."""
        activity.heartbeat(*([evidence] if self._live is None else [evidence, self._live]))
