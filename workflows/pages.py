"""The pages that the Temporal UI shows of a release and of its canaries, in Markdown. Pure.

Each answers the same four questions in the same order: what happens, why, what comes next, and what
a person may do. The UI carries a page in an address, so it stays below 4 kB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from types import MappingProxyType

from schemas.base import format_duration
from schemas.catalog_check import many
from schemas.ids import SIGNAL_APPROVE, SIGNAL_KEEP, SIGNAL_SKIP
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
from schemas.versions import short
from schemas.waits import pauses
from workflows import describe
from workflows.describe import GOING_BACK, NO_WAY_BACK, phase
from workflows.markdown import WIDTH as _WIDTH
from workflows.markdown import canary_link as _canary_link
from workflows.markdown import cell as _cell
from workflows.markdown import release_link as _release_link
from workflows.markdown import row as _row
from workflows.release_queue import ReleaseQueue

_ROWS = (20, 12, 8, 4, 2, 1)
"""Services shown, as many as there is room for."""
_MOST_BYTES = 4096
_LINE_ROWS = 20
_PLANNED_ROWS = 30
_NAMED = 4
_HOW = "More Actions → Send an Update, top right; input may be left out"
SAID = 3
"""Of what people said, the last so many are shown."""
_STOP = "`rollback` stops it: the whole release goes back, in reverse order"
_ENDS = {
    SIGNAL_APPROVE: "`approve` lets it begin, whatever fires",
    SIGNAL_SKIP: "`skip` does so as well",
    SIGNAL_KEEP: "`keep` (on a release with its `service`) gives the new version all requests",
}

_STILL_BACK = "An alert or the verdict FAIL takes it back."
_FORWARD = {
    CanaryPhase.PREFLIGHT,
    CanaryPhase.SHIFTING,
    CanaryPhase.BAKING,
    CanaryPhase.GATED,
    CanaryPhase.PAUSED,
    CanaryPhase.HOLDING,
}
"""Phases that a pause has a say in."""
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


def canary(start: CanaryInput, report: CanaryReport, parent: str = "") -> str:
    """The page of a canary.

    Args:
        start: what it was started with.
        report: where it is.
        parent: run id of its release, for a link that leads to the release's page.
    """
    plan = start.plan
    where = phase(report.phase, report.step, report.steps)
    weight = "" if report.phase.closed else f" at {report.weight:g} %"
    named = _cell(f"{plan.service} {plan.version}")
    lines = [f"### {named} {_is(report.phase)} {where}{weight}"]
    beside = f"Beside stable {_cell(report.stable or '(being read)')}"
    environment = _cell(start.environment)
    lines.append(f"{beside}, in {_release_link(start.release, parent)} ({environment}).")
    if pauses(report) and report.phase is not CanaryPhase.PAUSED:
        lines.append("**Paused:** it goes no further than this weight.")
    if report.waits_for:
        lines.append(f"**Waits for** {_cell(report.waits_for, _WIDTH * 3)}.")
    if report.cause is not None:
        verb = "Went" if report.phase.closed else "Goes"
        lines.append(f"**{verb} back because** {_because(report.cause)}")
    if report.verdict is not None:
        sentence = _cell(report.verdict.sentence, _WIDTH * 3)
        lines.append(f"**Last verdict:** {report.verdict.kind}: {sentence}")
    following = _after(start, report)
    if following:
        lines.append(f"> **Next:** {following}")
    return "\n\n".join(
        [*lines, *_canary_words(report), _as_of(report.at, closed=report.phase.closed)]
    )


def _is(where: CanaryPhase) -> str:
    """The verb before a phase's word, which `holding` and `rolled back` have of their own."""
    return "was" if where is CanaryPhase.ROLLED_BACK else "is"


def _after(start: CanaryInput, report: CanaryReport) -> str:
    """What comes when nothing goes wrong, or when the way back is done."""
    if report.paused and report.phase in _FORWARD:
        first = "the bake ends; then " if report.phase is CanaryPhase.BAKING else ""
        return f"{first}nothing until `resume`. {_STILL_BACK}"
    match report.phase:
        case CanaryPhase.PREFLIGHT | CanaryPhase.SHIFTING | CanaryPhase.BAKING:
            text = f"{_next_step(start, report)} {_STILL_BACK}"
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
            text = f"{_cell(report.stable or 'stable')} gets all requests; tried until it is so."
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


def _canary_words(report: CanaryReport) -> list[str]:
    if report.phase is CanaryPhase.FINALIZED:
        return ["**Nothing is left to decide.** To go back, release the version before."]
    if report.phase is CanaryPhase.ROLLED_BACK:
        return ["**Nothing is left to decide.** To try again, send another release id."]
    if report.phase in NO_WAY_BACK | GOING_BACK and report.ends_by:
        return [f"**You may** ({_HOW}): {'; '.join(_ending(report.ends_by))}."]
    if report.phase in NO_WAY_BACK | GOING_BACK:
        return ["**Nothing is left to decide.** It is seen through whatever is pressed."]
    words = [_STOP, "`resume` goes on" if report.paused else "`pause` keeps the weight"]
    if report.phase is CanaryPhase.BAKING:
        words.append("`skip` ends the bake")
    if report.phase is CanaryPhase.GATED:
        words.insert(0, "`approve` opens the gate")
    return _may([*_ending(report.ends_by), *words])


def _ending(ends_by: Sequence[str]) -> list[str]:
    """The commands that end a wait, first of all."""
    return [_ENDS[word] for word in ends_by if word in _ENDS]


def release(
    status: ReleaseStatus,
    plan: ReleasePlan,
    *,
    at: datetime,
    said: Sequence[str] = (),
    runs: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The page of a release.

    Args:
        status: where it is.
        plan: what it does.
        at: now.
        said: what people said to it, oldest first.
        runs: run ids of its canaries by service, for links that lead to their pages.
    """
    for rows in _ROWS:
        page = _release_page(status, plan, _table(status.services, runs, rows), at, said)
        if len(page.encode()) < _MOST_BYTES:
            break
    return page


def _release_page(
    status: ReleaseStatus, plan: ReleasePlan, table: str, at: datetime, said: Sequence[str]
) -> str:
    lines = [f"### Release {_cell(status.release)} {_headline(status)}"]
    if status.waits_for:
        lines.append(f"**Waits for** {_cell(status.waits_for, _WIDTH * 3)}.")
    if status.cause is not None:
        verb = "Went" if status.phase.closed else "Goes"
        lines.append(f"**{verb} back because** {_because(status.cause)}")
    following = _then(status, plan)
    if following:
        lines.append(f"> **Next:** {following}")
    lines.append(table)
    if said:
        lines.append("**Said:** " + "; ".join(_cell(text) for text in said[-SAID:]))
    return "\n\n".join([*lines, *_release_words(status), _as_of(at, closed=status.phase.closed)])


def _headline(status: ReleaseStatus) -> str:
    services = status.services
    count = len(services)
    holding = sum(one.phase is CanaryPhase.HOLDING for one in services)
    stuck = [one.service for one in services if one.phase is CanaryPhase.STUCK]
    match status.phase:
        case ReleasePhase.QUEUED:
            text = "is queued: nothing has begun"
        case ReleasePhase.RUNNING:
            text = f"is running: {holding} of {many(count, 'service')} hold"
        case ReleasePhase.SOAKING:
            text = f"is soaking: all {many(count, 'service')} hold together"
        case ReleasePhase.FINALIZING:
            text = "is finalizing: its versions become stable"
        case ReleasePhase.ROLLING_BACK:
            text = "is rolling back"
        case ReleasePhase.FINALIZED:
            text = f"is finalized: {many(count, 'service')} released"
        case ReleasePhase.ROLLED_BACK:
            text = _went_back(services)
    gated = [one for one in services if one.phase is CanaryPhase.GATED]
    if gated and status.phase is ReleasePhase.RUNNING:
        where = phase(gated[0].phase, gated[0].step, gated[0].steps)
        text = f"waits for a person: {_cell(gated[0].service)} is {where} at {gated[0].weight:g} %"
    if stuck:
        text += f"; STUCK: {_cell(', '.join(stuck))}"
    return text + (" (paused)" if status.paused and not status.phase.closed else "")


def _went_back(services: Sequence[ServiceStatus]) -> str:
    stays = [one.service for one in services if one.phase is CanaryPhase.FINALIZED]
    if stays:
        return f"was rolled back, but for what stays on its new version: {_short(stays)}"
    return "was rolled back: every service is on its stable version"


def _then(status: ReleaseStatus, plan: ReleasePlan) -> str:
    """What comes when nothing goes wrong, or when the way back is done."""
    soak = f"a soak of {format_duration(plan.soak)}, then " if plan.soak else ""
    if _paused(status) and status.phase.forward:
        turn = "its turn; then " if status.phase is ReleasePhase.QUEUED else ""
        return f"{turn}nothing until `resume`. An alert or the verdict FAIL takes all back."
    match status.phase:
        case ReleasePhase.QUEUED:
            first = _cell(", ".join(plan.stages[0][:SAID]))
            return f"its turn; then {first} begin{'s' if len(plan.stages[0]) == 1 else ''}."
        case ReleasePhase.RUNNING:
            return _then_running(status, soak)
        case ReleasePhase.SOAKING:
            return "all become stable; until then an alert or the verdict FAIL takes all back."
        case ReleasePhase.ROLLING_BACK:
            return "stable gets all requests back, dependents first; tried until it is so."
        case _:
            return ""


def _paused(status: ReleaseStatus) -> bool:
    """Whether it goes no further: told so itself, or one of its canaries."""
    return status.paused or any(pauses(one) for one in status.services)


def _then_running(status: ReleaseStatus, soak: str) -> str:
    first = {one.phase: one for one in reversed(status.services)}
    gated, waiting = first.get(CanaryPhase.GATED), first.get(CanaryPhase.WAITING)
    if gated is not None:
        return f"{_cell(gated.service)} goes on after {_cell(gated.waits_for)}."
    if waiting is not None:
        return f"{_cell(waiting.service)}, which waits for {_cell(waiting.waits_for)}."
    return f"when all hold, {soak}all become stable."


def _release_words(status: ReleaseStatus) -> list[str]:
    ends_by = _ending(tuple({word: None for one in status.services for word in one.ends_by}))
    if status.phase is ReleasePhase.ROLLING_BACK:
        keep = [f"**You may** ({_HOW}): {'; '.join(ends_by)}."] if ends_by else []
        return [
            *keep,
            "**Now:** `rollback` with a `service` takes that one back at once, out of order.",
        ]
    if status.phase is ReleasePhase.ROLLED_BACK:
        return ["**Nothing is left to decide.** To try again, send another release id."]
    if not status.phase.forward:
        return ["**Nothing is left to decide.** To go back, release the versions before."]
    phases = {one.phase for one in status.services}
    paused = _paused(status)
    words = [_STOP]
    if not status.paused:
        words.append("`pause` starts nothing more")
    if paused:
        words.append("`resume` goes on")
    if CanaryPhase.BAKING in phases:
        words.append("`skip` ends the bakes that run")
    if CanaryPhase.GATED in phases:
        words.insert(0, "`approve` opens the gate")
    return _may([*ends_by, *words])


def canary_details(plan: ReleasePlan, service: str, run: str) -> str:
    """What a canary is, fixed when it starts.

    Args:
        plan: of the release.
        service: whose canary it is.
        run: of the release's workflow.
    """
    planned = plan.services[service]
    needs = f"Waits for {_short(planned.depends_on)}. " if planned.depends_on else ""
    name = _cell(planned.strategy_name)
    return (
        f"In {_release_link(plan.release, run)}. {needs}"
        f"Strategy {name}: {describe.steps(planned.strategy)}."
    )


def release_details(plan: ReleasePlan) -> str:
    """What a release is, fixed when it starts; cut where it would be too long."""
    rows = [
        _row(
            str(number),
            _cell(f"{service} {short(plan.services[service].version)}"),
            describe.steps(plan.services[service].strategy),
        )
        for number, stage in enumerate(plan.stages, start=1)
        for service in stage
    ]
    left = len(rows) - _PLANNED_ROWS
    more = [_row("", f"and {left} more", "")] if left > 0 else []
    table = [_row("stage", "service", "steps"), "|:---|:---|:---|", *rows[:_PLANNED_ROWS], *more]
    origin = ["", f"Asked for by {_cell(plan.source, _WIDTH * 3)}."] if plan.source else []
    return "\n".join([*table, *origin])


def admission(line: ReleaseQueue) -> str:
    """The page of the admission, in Markdown."""
    rows = [("has", entry) for entry in islice(line.holding.values(), _LINE_ROWS)]
    rows += [("waits for", entry) for entry in line.first(_LINE_ROWS)]
    shown = [
        _row(_release_link(entry.release, entry.run), does, _short(entry.services))
        for does, entry in rows[:_LINE_ROWS]
    ]
    left = len(line.holding) + len(line.waiting) - len(shown)
    more = [_row(f"and {left} more", "", "")] if left else []
    counts = f"**{len(line.holding)} releases have services, {len(line.waiting)} wait.**"
    return "\n".join(
        [counts, "", _row("release", "", "services"), "|:---|:---|:---|", *shown, *more]
    )


def _short(services: Sequence[str]) -> str:
    more = len(services) - _NAMED
    return _cell(", ".join(services[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def _may(words: Sequence[str]) -> list[str]:
    more = "Request Cancellation means `rollback` as well; Terminate cleans up later, by others."
    return [f"**You may** ({_HOW}): {'; '.join(words)}.", more]


def _as_of(at: datetime, *, closed: bool) -> str:
    text = f"State of {at:%H:%M:%S} UTC"
    if not closed:
        text += (
            "; press R for a newer one. Where the top of the page says Terminated, this was the "
            "state then: its traffic is taken back without it"
        )
    return f"*{text}.*"


def _because(cause: Cause) -> str:
    """The sentence, and where it began."""
    where = f" (began at {_cell(cause.service)}, {cause.at:%H:%M:%S} UTC)" if cause.service else ""
    return f"{_cell(cause.text, _WIDTH * 3)}{where}"


def _table(services: Sequence[ServiceStatus], runs: Mapping[str, str], rows_at_most: int) -> str:
    shown = _most_urgent(services, rows_at_most)
    rows = [_row("service", "state", "why"), "|:---|:---|:---|"]
    for one in shown:
        waits_for = f"waits for {one.waits_for}" if one.waits_for else ""
        stuck = one.phase is CanaryPhase.STUCK
        why = one.cause.text if one.cause and not stuck else waits_for
        if not why and one.verdict is not None:
            why = one.verdict.sentence
        run = runs.get(one.service)
        name = _canary_link(one.service, run) if run else _cell(one.service)
        versions = f"{short(one.stable)} → " if one.stable else ""
        versions += short(one.version)
        width = _WIDTH * 2 if stuck else _WIDTH
        rows.append(_row(f"{name} {_cell(versions)}", _state(one), _cell(why, width)))
    left = len(services) - len(shown)
    if left:
        kept = {one.service for one in shown}
        counts = Counter(phase(one.phase, None, 0) for one in services if one.service not in kept)
        others = ", ".join(f"{count} {where}" for where, count in counts.items())
        rows.append(_row(f"and {left} more", others, ""))
    return "\n".join(rows)


def _state(one: ServiceStatus) -> str:
    if one.phase is CanaryPhase.SKIPPED:
        return "never started"
    where = phase(one.phase, one.step, one.steps)
    return where if one.phase is CanaryPhase.WAITING else f"{where}, {one.weight:g} %"


def _most_urgent(services: Sequence[ServiceStatus], count: int) -> list[ServiceStatus]:
    """As many as there is room for, in dependency order; first those where something happens."""
    if len(services) <= count:
        return list(services)
    first = sorted(services, key=lambda one: one.phase not in _URGENT)[:count]
    kept = {one.service for one in first}
    return [one for one in services if one.service in kept]
