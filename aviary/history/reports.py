"""What a canary's reports tell: its phases, and where its own history is gone, the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from aviary.history.decided import recorded_text
from aviary.history.said import KINDS
from schemas.base import format_duration
from schemas.decisions import DecisionRecord, Heard
from schemas.event_kinds import MomentKind
from schemas.release import CanaryPhase, CanaryReport, ServicePlan
from schemas.timeline import Moment
from schemas.verdict import Reason

_HEARD = {Heard.ALERT: MomentKind.ALERT, Heard.FOREIGN_CHANGE: MomentKind.CHANGED}


def moments_told(
    plan: ServicePlan, reports: Sequence[CanaryReport], *, alone: bool
) -> Iterator[Moment]:
    """The moments of one service's reports.

    Args:
        plan: of the service.
        reports: in order.
        alone: the canary's own history is gone, so that weights and verdicts come from here, too.
    """
    before: CanaryReport | None = None
    for report in reports:
        if alone and (before is None or _share(before) != _share(report)):
            yield from _weighed(plan, before, report)
        verdict = report.verdict
        if verdict is not None and (before is None or before.verdict != verdict):
            # The verdict of a bake without metrics is no activity's result: only reports have it.
            told = alone or verdict.reason is Reason.TIME_ELAPSED
            yield from [_moment(plan, MomentKind.JUDGED, report, verdict.sentence)] if told else []
        kind = report.phase.about.moment
        if kind is not None and (before is None or _sign(plan, before) != _sign(plan, report)):
            yield _moment(plan, kind, report, _entered(plan, report))
        before = report


def decisions_told(plan: ServicePlan, records: Iterable[DecisionRecord]) -> Iterator[Moment]:
    """The moments of what a canary recorded, whose own history is gone.

    Args:
        plan: of the service.
        records: what reports and outcomes carried of it.
    """
    for one in records:
        kind = _HEARD.get(one.heard) or KINDS.get(one.name if one.heard is Heard.COMMAND else "")
        if kind is not None:
            about = "" if one.heard is Heard.ALERT else f"{plan.service}: "
            text = about + recorded_text(one)
            yield Moment(
                at=one.at, kind=kind, service=plan.service, text=text, by=one.by, did=one.did
            )


def _sign(plan: ServicePlan, report: CanaryReport) -> tuple[object, ...]:
    """What makes a report another moment than the one before: where it is, or what is said of it.

    What it waits for may change without a word of it, as where attempts fail that are moments of
    their own.
    """
    return report.phase, report.step, _entered(plan, report)


def _share(report: CanaryReport) -> tuple[float, str, bool]:
    """How much it has, of whom, and whether as the stable version."""
    return report.weight, report.whom, report.phase is CanaryPhase.FINALIZED


def _weighed(
    plan: ServicePlan, before: CanaryReport | None, report: CanaryReport
) -> Iterator[Moment]:
    if report.phase is CanaryPhase.FINALIZED:
        text = f"{plan.service} {plan.version} is the stable version now"
        moment = _moment(plan, MomentKind.SHIFTED, report, text)
        yield moment.model_copy(update={"weight": 100.0, "step": None})
    elif report.weight > 0 and report.stable != plan.version:
        whom = report.whom or "the requests"
        text = f"{plan.service} {plan.version} gets {report.weight:g} % of {whom}"
        moment = _moment(plan, MomentKind.SHIFTED, report, text)
        yield moment.model_copy(update={"whom": report.whom})
    elif before is not None and report.phase.back:
        text = f"{plan.service} {report.stable or 'stable'} has all requests again"
        yield _moment(plan, MomentKind.RESTORED, report, text)


def _entered(plan: ServicePlan, report: CanaryReport) -> str:
    return report.phase.about.entered.format(
        service=plan.service,
        version=plan.version,
        stable=report.stable or "stable",
        weight=report.weight,
        bake=_bake(plan, report),
        waits_for=report.waits_for,
    )


def _bake(plan: ServicePlan, report: CanaryReport) -> str:
    """How long, and which step; a ramp has neither."""
    steps = plan.strategy.full_steps
    if plan.strategy.ramp is not None or report.step is None or report.step >= len(steps):
        return ""
    bake = steps[report.step].bake
    shortest, longest = format_duration(bake.min), format_duration(bake.max)
    length = longest if shortest == longest else f"{shortest} to {longest}"
    return f" for {length} (step {report.step + 1} of {len(steps)})"


def _moment(plan: ServicePlan, kind: MomentKind, report: CanaryReport, text: str) -> Moment:
    weighs = kind in {MomentKind.SHIFTED, MomentKind.RESTORED, MomentKind.BAKING}
    return Moment(
        at=report.at,
        kind=kind,
        service=plan.service,
        text=text,
        weight=report.weight if weighs else None,
        step=report.step,
        verdict=report.verdict if kind is MomentKind.JUDGED else None,
        cause=report.cause if kind is MomentKind.ROLLING_BACK else None,
    )
