"""The pages that the Temporal UI shows of a release and of its canaries, in Markdown. Pure.

Each answers the same four questions in the same order: what happens, why, what comes next, and what
a person may do. The UI carries a page in an address, so it stays below 4 kB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from types import MappingProxyType

from schemas.base import format_duration
from schemas.catalog_check import many
from schemas.ids import SIGNAL_APPROVE, SIGNAL_KEEP, SIGNAL_SKIP
from schemas.lane import LaneSpec
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
from schemas.waits import made_for, pauses
from workflows import describe
from workflows.describe import phase
from workflows.markdown import WIDTH as _WIDTH
from workflows.markdown import cell as _cell
from workflows.markdown import release_link as _release_link
from workflows.markdown import row as _row
from workflows.release_queue import ReleaseQueue
from workflows.services_table import services_table

_ROWS = (20, 12, 8, 4, 2, 1)
"""Services shown, as many as there is room for."""
_MOST_BYTES = 4096
_LINE_ROWS = 20
_PLANNED_ROWS = 30
_NAMED = 4
_HOW = "More Actions → Send an Update, top right; input may be left out"
SAID = 3
"""Of what people said, the last so many are shown."""
_NOTHING_LEFT = "**Nothing is left to decide.**"
_STOP = "`rollback` stops it: the whole release goes back, in reverse order"
_ENDS = {
    SIGNAL_APPROVE: "`approve` lets it begin, whatever fires",
    SIGNAL_SKIP: "`skip` does so as well",
    SIGNAL_KEEP: "`keep` (on a release with its `service`) gives the new version all requests",
}

_STILL_BACK = "An alert or the verdict FAIL takes it back."


def canary(start: CanaryInput, report: CanaryReport, parent: str = "") -> str:
    """The page of a canary.

    Args:
        start: what it was started with.
        report: where it is.
        parent: run id of its release, for a link that leads to the release's page.
    """
    plan = start.plan
    where = phase(report.phase, report.step, report.steps)
    weight = "" if report.phase.closed else f" at {_cell(report.gets)}"
    named = _cell(f"{plan.service} {plan.version}")
    lines = [f"### {named} {report.phase.about.verb} {where}{weight}"]
    beside = f"Beside stable {_cell(report.stable or '(being read)')}"
    environment = _cell(start.environment)
    lines.append(f"{beside}, in {_release_link(start.release, parent)} ({environment}).")
    if pauses(report) and report.phase is not CanaryPhase.PAUSED:
        lines.append("**Paused:** it goes no further than this weight.")
    if report.waits_for:
        lines.append(f"**Waits for** {_cell(report.waits_for, _WIDTH * 3)}.")
    if report.picks:
        picked = (
            f"`{'approve' if one == plan.version else 'rollback'}` is {_cell(one)}"
            for one in reversed(report.picks)
        )
        lines.append(f"**Pick the winner:** {', '.join(picked)}.")
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


def _after(start: CanaryInput, report: CanaryReport) -> str:
    """What comes when nothing goes wrong, or when the way back is done."""
    if report.paused and report.phase.forward:
        first = "the bake ends; then " if report.phase is CanaryPhase.BAKING else ""
        return f"{first}nothing until `resume`. {_STILL_BACK}"
    return report.phase.about.following.format(
        service=_cell(report.service),
        version=_cell(start.plan.version),
        stable=_cell(report.stable or "stable"),
        step=_next_step(start, report),
    )


def _next_step(start: CanaryInput, report: CanaryReport) -> str:
    steps = start.plan.strategy.full_steps
    if start.plan.strategy.ramp is not None and report.phase is not CanaryPhase.GATED:
        return "the weight grows as far as the budget of failures allows."
    at = -1 if report.step is None else report.step
    if report.phase is CanaryPhase.BAKING and at >= 0 and steps[at].gate is not None:
        return "a gate: a person's approval."
    if at + 1 < len(steps):
        following = steps[at + 1]
        of_all = following.share and not following.audience
        share = _cell(following.text) + (" of the requests" if of_all else "")
        return f"{share} (step {at + 2} of {len(steps)})."
    return "it holds until all services of the release do."


def _canary_words(report: CanaryReport) -> list[str]:
    about = report.phase.about
    if about.afterwards:
        return [f"{_NOTHING_LEFT} {about.afterwards}"]
    if report.phase.too_late and report.ends_by:
        return [f"**You may** ({_HOW}): {'; '.join(_ending(report.ends_by))}."]
    if report.phase.too_late:
        return [f"{_NOTHING_LEFT} It is seen through whatever is pressed."]
    words = [_STOP, "`resume` goes on" if report.paused else "`pause` keeps the weight"]
    made = [f"`{word}` {how}" for word, how in made_for([report.phase]).items()]
    return _may([*_ending(report.ends_by), *made, *words])


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
        page = _release_page(status, plan, services_table(status.services, runs, rows), at, said)
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
    lines += _lane(status.services)
    if said:
        lines.append("**Said:** " + "; ".join(_cell(text) for text in said[-SAID:]))
    return "\n\n".join([*lines, *_release_words(status), _as_of(at, closed=status.phase.closed)])


def _lane(services: Sequence[ServiceStatus]) -> list[str]:
    """What is known of the release's lane: of few services, those first that requests left."""
    seen = [(one.service, one.lane) for one in services if one.lane is not None]
    seen.sort(key=lambda one: (-one[1].crossed_most, -one[1].lost))
    said = "; ".join(f"{_cell(name)}: {_cell(one.text, _WIDTH * 3)}" for name, one in seen[:SAID])
    left = f"; {len(seen) - SAID} more services" if len(seen) > SAID else ""
    return [f"**Lane:** {said}{left}."] if seen else []


def _headline(status: ReleaseStatus) -> str:
    services = status.services
    count = len(services)
    holding = sum(one.phase is CanaryPhase.HOLDING for one in services)
    stuck = [one.service for one in services if one.phase is CanaryPhase.STUCK]
    text = status.phase.about.headline.format(
        holding=holding, services=many(count, "service"), but=_but(services)
    )
    gated = [one for one in services if one.phase is CanaryPhase.GATED]
    if gated and status.phase is ReleasePhase.RUNNING:
        where = phase(gated[0].phase, gated[0].step, gated[0].steps)
        named, gets = _cell(gated[0].service), _cell(gated[0].gets)
        text = f"waits for a person: {named} is {where} at {gets}"
    if stuck:
        text += f"; STUCK: {_cell(', '.join(stuck))}"
    return text + (" (paused)" if status.paused and not status.phase.closed else "")


def _but(services: Sequence[ServiceStatus]) -> str:
    """What of a release that went back did not."""
    stays = [one.service for one in services if one.phase is CanaryPhase.FINALIZED]
    if stays:
        return f", but for what stays on its new version: {_short(stays)}"
    return ": every service is on its stable version"


def _then(status: ReleaseStatus, plan: ReleasePlan) -> str:
    """What comes when nothing goes wrong, or when the way back is done."""
    soak = f"a soak of {format_duration(plan.soak)}, then " if plan.soak else ""
    if _paused(status) and status.phase.forward:
        turn = "its turn; then " if status.phase is ReleasePhase.QUEUED else ""
        return f"{turn}nothing until `resume`. An alert or the verdict FAIL takes all back."
    first = plan.stages[0]
    begin = f"{_cell(', '.join(first[:SAID]))} begin{'s' if len(first) == 1 else ''}"
    return status.phase.about.following.format(first=begin, running=_then_running(status, soak))


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
    if status.phase.about.afterwards:
        return [f"{_NOTHING_LEFT} {status.phase.about.afterwards}", *_watched(status)]
    paused = _paused(status)
    words = [_STOP]
    if not status.paused:
        words.append("`pause` starts nothing more")
    if paused:
        words.append("`resume` goes on")
    made = [
        f"`{word}` {how}" for word, how in made_for(one.phase for one in status.services).items()
    ]
    return _may([*ends_by, *made, *words])


def _watched(status: ReleaseStatus) -> list[str]:
    """How long alerts are heard after the end, and where that goes on."""
    until = [one.watched_until for one in status.services if one.watched_until is not None]
    if not until:
        return []
    at = f"{max(until):%d %B %H:%M} UTC"
    return [f"**Watched until {at}:** an alert takes it back (workflows `watch/<service>`)."]


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
    if planned.group:
        needs += f"{_in_step(planned.group)} "
    return (
        f"In {_release_link(plan.release, run)}. {needs}"
        f"Strategy {name}: {describe.steps(planned.strategy)}.{_in_lane(planned.lane)}"
    )


def _in_lane(lane: LaneSpec | None) -> str:
    if lane is None:
        return ""
    said = _cell(lane.text)
    return f" What meets it carries the release's lane ({said}), and what carries it meets it."


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
    groups = [f"\n{_in_step(group)}" for group in plan.groups[:_NAMED]]
    if len(plan.groups) > _NAMED:
        groups.append(f"\nSo do {many(len(plan.groups) - _NAMED, 'more group')}.")
    origin = ["", f"Asked for by {_cell(plan.source, _WIDTH * 3)}."] if plan.source else []
    return "\n".join([*table, *groups, *origin])


def _in_step(group: Sequence[str]) -> str:
    return f"{_short(group)} need each other, and move in step."


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
