"""The pages that the Temporal UI shows of a release and of its canaries, in Markdown. Pure.

Each answers the same four questions in the same order: what happens, why, what comes next, and what
a person may do. The UI carries a page in an address, so it stays below 4 kB.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.base import format_duration
from schemas.release import (
    CanaryInput,
    CanaryPhase,
    CanaryReport,
    Cause,
    ReleasePhase,
    ReleasePlan,
    ReleaseStatus,
    ServiceStatus,
)
from workflows.describe import GOING_BACK, NO_WAY_BACK, phase
from workflows.queueing import Line

_ROWS = 12
_LINE_ROWS = 20
_NAMED = 4
_WIDTH = 110
_HOW = "Update in the menu at the top right"
_SAID = 3

_URGENT = (
    CanaryPhase.STUCK,
    CanaryPhase.ROLLING_BACK,
    CanaryPhase.VERIFYING,
    CanaryPhase.GATED,
    CanaryPhase.PAUSED,
    CanaryPhase.SHIFTING,
    CanaryPhase.BAKING,
    CanaryPhase.PREFLIGHT,
    CanaryPhase.FINALIZING,
)
"""Phases that are shown first where not all services have room."""


def canary(start: CanaryInput, report: CanaryReport) -> str:
    """The page of a canary."""
    plan = start.plan
    where = phase(report.phase, report.step, report.steps)
    lines = [
        f"## {plan.service} {plan.version} is {where} at {report.weight:g} %",
    ]
    beside = f"Beside stable {report.stable or '(being read)'}"
    lines.append(f"{beside}, in {_release_link(start.release)} ({start.environment}).")
    if report.paused and report.phase is not CanaryPhase.PAUSED:
        lines.append("**Paused:** it goes no further than this weight.")
    if report.waits_for:
        lines.append(f"**Waits for** {report.waits_for}.")
    if report.cause is not None:
        verb = "Went" if report.phase.closed else "Goes"
        lines.append(f"**{verb} back because** {_because(report.cause)}")
    if report.verdict is not None:
        lines.append(f"**Last verdict:** {report.verdict.kind}: {report.verdict.sentence}")
    following = _after(start, report)
    if following:
        lines.append(f"**Next:** {following}")
    return "\n\n".join([*lines, _canary_words(report)])


def _after(start: CanaryInput, report: CanaryReport) -> str:
    """What comes when nothing goes wrong, or when the way back is done."""
    match report.phase:
        case CanaryPhase.PREFLIGHT | CanaryPhase.SHIFTING | CanaryPhase.BAKING:
            text = f"{_next_step(start, report)} An alert or the verdict FAIL takes it back."
        case CanaryPhase.GATED | CanaryPhase.PAUSED:
            text = f"once a person says so, {_next_step(start, report)}"
        case CanaryPhase.HOLDING:
            text = (
                "once all services of the release hold, this version becomes stable; "
                "an alert or the verdict FAIL takes the release back."
            )
        case CanaryPhase.FINALIZING:
            text = "this version becomes stable."
        case CanaryPhase.ROLLING_BACK | CanaryPhase.STUCK:
            text = f"{report.stable or 'stable'} gets all requests; tried until it is so."
        case CanaryPhase.VERIFYING:
            text = "it is rolled back when no request starts on it any more."
        case _:
            text = ""
    return text


def _next_step(start: CanaryInput, report: CanaryReport) -> str:
    steps = start.plan.strategy.full_steps
    if start.plan.strategy.ramp is not None and report.phase is not CanaryPhase.GATED:
        return "the weight grows as far as the budget of failures allows."
    at = -1 if report.step is None else report.step
    if report.phase is CanaryPhase.BAKING and at >= 0 and steps[at].gate is not None:
        return "a gate: a person's approval."
    if at + 1 < len(steps):
        return f"{steps[at + 1].weight:g} % of the requests (step {at + 2} of {len(steps)})."
    return "it holds until all services of the release do."


def _canary_words(report: CanaryReport) -> str:
    if report.phase in NO_WAY_BACK:
        return "**You may:** nothing is left to decide. To go back, release the version before."
    if report.phase in GOING_BACK:
        done = report.phase is CanaryPhase.ROLLED_BACK
        more = "To try again, send another release id." if done else "Nothing stops the way back."
        return f"**You may:** nothing is left to decide. {more}"
    words = [
        "`rollback` stops it: the whole release goes back",
        "`resume` goes on" if report.paused else "`pause` keeps the weight",
    ]
    if report.phase is CanaryPhase.BAKING:
        words.append("`skip` ends the bake")
    if report.phase is CanaryPhase.GATED:
        words.insert(0, "`approve` opens the gate")
    return _may(words)


def release(status: ReleaseStatus, plan: ReleasePlan, said: Sequence[str] = ()) -> str:
    """The page of a release.

    Args:
        status: where it is.
        plan: what it does.
        said: what people said to it, oldest first.
    """
    lines = [f"## Release {status.release} {_headline(status)}"]
    if status.waits_for:
        lines.append(f"**Waits for** {status.waits_for}.")
    if status.cause is not None:
        verb = "Went" if status.phase.closed else "Goes"
        lines.append(f"**{verb} back because** {_because(status.cause)}")
    lines.append(_table(status.services))
    following = _then(status, plan)
    if following:
        lines.append(f"**Next:** {following}")
    if said:
        lines.append("**Said:** " + "; ".join(said[-_SAID:]))
    return "\n\n".join([*lines, _release_words(status)])


def _headline(status: ReleaseStatus) -> str:
    services = status.services
    count = len(services)
    holding = sum(one.phase is CanaryPhase.HOLDING for one in services)
    stuck = [one.service for one in services if one.phase is CanaryPhase.STUCK]
    match status.phase:
        case ReleasePhase.QUEUED:
            text = "is queued: nothing has begun"
        case ReleasePhase.RUNNING:
            text = f"is running: {holding} of {count} {_plural(count)} hold"
        case ReleasePhase.SOAKING:
            text = f"is soaking: all {count} {_plural(count)} hold together"
        case ReleasePhase.FINALIZING:
            text = "is finalizing: its versions become stable"
        case ReleasePhase.ROLLING_BACK:
            text = "is rolling back"
        case ReleasePhase.FINALIZED:
            text = f"is finalized: {count} {_plural(count)} released"
        case ReleasePhase.ROLLED_BACK:
            text = "was rolled back: every service is on its stable version"
    if stuck:
        text += f"; STUCK: {', '.join(stuck)}"
    return text + (" (paused)" if status.paused and not status.phase.closed else "")


def _then(status: ReleaseStatus, plan: ReleasePlan) -> str:
    """What comes when nothing goes wrong, or when the way back is done."""
    soak = f"a soak of {format_duration(plan.soak)}, then " if plan.soak else ""
    match status.phase:
        case ReleasePhase.QUEUED:
            first = ", ".join(plan.stages[0][:_SAID])
            return f"its turn; then {first} begin{'s' if len(plan.stages[0]) == 1 else ''}."
        case ReleasePhase.RUNNING:
            waiting = [one for one in status.services if one.phase is CanaryPhase.WAITING]
            if waiting:
                return f"{waiting[0].service}, which waits for {waiting[0].waits_for}."
            return f"when all hold, {soak}all become stable."
        case ReleasePhase.SOAKING:
            return "all become stable; until then an alert or the verdict FAIL takes all back."
        case ReleasePhase.ROLLING_BACK:
            return "stable gets all requests back, dependents first; tried until it is so."
        case _:
            return ""


def _release_words(status: ReleaseStatus) -> str:
    if status.phase is ReleasePhase.ROLLING_BACK:
        return "**You may:** `rollback` with a `service` takes that one back now, out of order."
    if status.phase is ReleasePhase.ROLLED_BACK:
        return "**You may:** nothing is left to decide. To try again, send another release id."
    if not status.phase.forward:
        return "**You may:** nothing is left to decide. To go back, release the versions before."
    phases = {one.phase for one in status.services}
    words = ["`rollback` stops it: all services go back"]
    words.append("`resume` goes on" if status.paused else "`pause` starts nothing more")
    if CanaryPhase.BAKING in phases:
        words.append("`skip` ends the bakes that run")
    if CanaryPhase.GATED in phases:
        words.insert(0, "`approve` opens the gate")
    return _may(words)


def admission(line: Line) -> str:
    """The page of the admission, in Markdown."""
    rows = [("has", entry) for entry in line.holding.values()]
    rows += [("waits for", entry) for entry in line.in_order()]
    shown = [
        f"| {_release_link(entry.release)} | {does} | {_short(entry.services)} |"
        for does, entry in rows[:_LINE_ROWS]
    ]
    more = [f"| and {len(rows) - _LINE_ROWS} more | | |"] if len(rows) > _LINE_ROWS else []
    counts = f"**{len(line.holding)} releases have services, {len(line.waiting)} wait.**"
    return "\n".join([counts, "", "| release | | services |", "|---|---|---|", *shown, *more])


def _short(services: Sequence[str]) -> str:
    more = len(services) - _NAMED
    return ", ".join(services[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _may(words: Sequence[str]) -> str:
    return (
        f"**You may** ({_HOW}; input may be left out): {'; '.join(words)}. "
        "Cancel means rollback as well; Terminate does not clean up at once."
    )


def _because(cause: Cause) -> str:
    """The sentence, who said it, and where it began."""
    where = f" (began at {cause.service}, {cause.at:%H:%M:%S} UTC)" if cause.service else ""
    return f"{_cell(cause.text, _WIDTH * 3)}{where}"


def _table(services: Sequence[ServiceStatus]) -> str:
    shown = _most_urgent(services)
    rows = ["| service | version | state | weight | why |", "|---|---|---|---|---|"]
    for one in shown:
        waits_for = f"waits for {one.waits_for}" if one.waits_for else ""
        why = one.cause.text if one.cause else waits_for
        if not why and one.verdict is not None:
            why = one.verdict.sentence
        began = not (one.phase is CanaryPhase.WAITING or one.phase is CanaryPhase.SKIPPED)
        rows.append(
            f"| {_canary_link(one.service) if began else one.service} "
            f"| {one.stable + ' → ' if one.stable else ''}{one.version} "
            f"| {phase(one.phase, one.step, one.steps)} | {one.weight:g} % | {_cell(why)} |"
        )
    left = len(services) - len(shown)
    if left:
        rows.append(f"| and {left} more | | | | |")
    return "\n".join(rows)


def _most_urgent(services: Sequence[ServiceStatus]) -> list[ServiceStatus]:
    """As many as there is room for, in dependency order; first those where something happens."""
    if len(services) <= _ROWS:
        return list(services)
    first = sorted(services, key=lambda one: one.phase not in _URGENT)[:_ROWS]
    kept = {one.service for one in first}
    return [one for one in services if one.service in kept]


def _cell(text: str, width: int = _WIDTH) -> str:
    text = " ".join(text.split()).replace("|", "/")
    return text if len(text) <= width else text[: width - 1] + "…"


def _plural(count: int) -> str:
    return "service" if count == 1 else "services"


def _canary_link(service: str) -> str:
    return f"[{service}](/namespaces/{{namespace}}/workflows/canary%2F{service})"


def _release_link(release_id: str) -> str:
    return f"[release {release_id}](/namespaces/{{namespace}}/workflows/release%2F{release_id})"
