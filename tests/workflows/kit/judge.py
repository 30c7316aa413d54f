"""A judge that says what a test wants."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from activities.judge import JUDGE, JudgeRequest, JudgeResult
from activities.ramp import BEGIN_RAMP, BeginRamp, RampState
from activities.report_delivery import ReportSender
from schemas.ids import STOPPED_SHORT
from schemas.lane_counts import LaneCounts
from schemas.verdict import Reason, Verdict, VerdictKind

FOREIGN = "somebody else changed its route"


class ScriptedJudge:
    """Says what the test wants; PASS where it says nothing."""

    def __init__(self, client: Client) -> None:
        self._send_report = ReportSender(client)
        self.says: dict[tuple[str, float], VerdictKind] = {}
        self.blocked: set[tuple[str, float]] = set()
        self.failing: set[str] = set()
        self.over_limit: set[str] = set()
        """Services that cross a limit, which is a verdict without a comparison."""
        self.foreign: set[tuple[str, float]] = set()
        """Where it finds that somebody else has changed the route."""
        self.trouble = ""
        """Why it can't judge, after it has seen something."""
        self.series: dict[str, Any] | None = None
        """What it counted in each bake."""
        self.lanes: dict[tuple[str, float], LaneCounts] = {}
        """What came with the lane, by service and weight."""
        self.requests: list[JudgeRequest] = []
        self.ramp_weights: list[float] = []

    @activity.defn(name=BEGIN_RAMP)
    async def begin_ramp(self, request: BeginRamp) -> RampState:
        return self._ramp(
            RampState(
                spec=request.ramp, spent={}, counts={}, counted_at=datetime.now(UTC), weight=0
            )
        )

    def _ramp(self, state: RampState) -> RampState:
        """The weights that the test wrote down, then everything."""
        if not self.ramp_weights:
            return state.model_copy(update={"full": True})
        weight = self.ramp_weights.pop(0)
        return state.model_copy(update={"weight": weight, "sentence": f"next {weight:g} %"})

    @activity.defn(name=JUDGE)
    async def judge(self, request: JudgeRequest) -> JudgeResult:
        self.requests.append(request)
        place = (request.service, request.weight)
        async with self._send_report(request.report):
            if self.trouble:
                raise ApplicationError(self.trouble, {"seen": "something"}, type=STOPPED_SHORT)
            return await self._judge(request, place)

    async def _judge(self, request: JudgeRequest, place: tuple[str, float]) -> JudgeResult:
        try:
            while request.service not in self.failing | self.over_limit and (
                request.bake is None or place in self.blocked
            ):
                activity.heartbeat()
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            if activity.is_worker_shutdown():
                raise
            return self._result(request, VerdictKind.INCONCLUSIVE, final=False)
        if request.service in self.failing:
            return self._result(request, VerdictKind.FAIL)
        if request.service in self.over_limit:
            result = self._result(request, VerdictKind.FAIL)
            over = result.verdict.model_copy(update={"reason": Reason.OVER_LIMIT})
            return result.model_copy(update={"verdict": over})
        if place in self.foreign and not request.overruled:
            result = self._result(request, VerdictKind.INCONCLUSIVE)
            found = {"reason": Reason.FOREIGN_CHANGE, "sentence": FOREIGN}
            return result.model_copy(update={"verdict": result.verdict.model_copy(update=found)})
        return self._result(request, self.says.get(place, VerdictKind.PASS))

    def _result(
        self, request: JudgeRequest, kind: VerdictKind, *, final: bool = True
    ) -> JudgeResult:
        reasons = {
            VerdictKind.PASS: Reason.GOOD_ENOUGH,
            VerdictKind.FAIL: Reason.WORSE_THAN_STABLE,
            VerdictKind.INCONCLUSIVE: Reason.NO_DATA,
        }
        verdict = Verdict(
            kind=kind,
            reason=reasons[kind],
            sentence=f"{request.service} at {request.weight:g} %: {kind}",
            at=datetime.now(UTC),
            final=final,
        )
        steps = (request.evidence or {}).get("steps", 0)
        ramp = self._ramp(request.ramp) if request.ramp else None
        return JudgeResult(
            verdict=verdict,
            evidence={"steps": steps + 1},
            ramp=ramp,
            evidence_series=self.series,
            lane=self.lanes.get((request.service, request.weight)),
        )
