"""Tables of plans and releases for people, and the same as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from aviary.cli.border import new_console, plain, show
from aviary.cli.ways import may
from aviary.releases.data import status_as_data as status_as_data  # noqa: PLC0414 - public here
from schemas.base import format_duration
from schemas.catalog_check import listed, many
from schemas.hooks import HookMoment
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.release import (
    CanaryStatus,
    Cause,
    ReleasePlan,
    ReleaseStatus,
    ServicePlan,
    ServiceStatus,
    Tuning,
)
from schemas.stages import BakeStage, HookStage, ShiftStage
from schemas.strategy import FullStep, Strategy
from schemas.versions import short
from schemas.waits import asking

if TYPE_CHECKING:
    from aviary.releases.remote import Found
    from schemas.timeline import Timeline

STYLES: Final = {phase.value: phase.about.style for phase in (*CanaryPhase, *ReleasePhase)}
"""How the names of phases are written; a release's and a canary's of one name are alike."""


_SILENT: Final = "not known: no worker has answered"
_NAMED: Final = 4
"""Services named in one row of a list."""
READABLE: Final = 100
"""Columns of a timeline outside of a terminal, where nobody says how wide it is."""


def print_timeline(timeline: Timeline, *, no_color: bool = False) -> None:
    """Print the timeline of a release, as wide as the terminal."""
    from aviary.cli.explain import Explanation  # noqa: PLC0415 - it needs the judge's words

    console = new_console(no_color=no_color)
    width = console.width if console.is_terminal else READABLE
    show(*Explanation(width).lines(timeline), no_color=no_color)


def print_plan(plan: ReleasePlan) -> None:
    """Print a plan: one row a service, in the order in which they may go."""
    soak = f", soak {format_duration(plan.soak)}" if plan.soak else ""
    size = f"{many(len(plan.services), 'service')}, {many(len(plan.stages), 'stage')}"
    title = f"release {plan.release}: {size}{soak}"
    table = _table("stage", "service", "version", "after", "strategy", "steps")
    for number, stage in enumerate(plan.stages, start=1):
        for name in stage:
            service = plan.services[name]
            steps = steps_of(service.strategy)
            after = ", ".join(service.depends_on)
            row = (str(number), name, short(service.version), after, service.strategy_name, steps)
            _row(table, *row)
    by_time = [
        name for name, one in plan.services.items() if one.strategy.bakes and not one.metrics
    ]
    judged = f"Judged by time alone (metrics: []): {listed(by_time)}." if by_time else ""
    first = (
        f"A service that has had no route for {format_duration(Tuning().absent_for)} gets all "
        "requests at once, when an instance is healthy."
    )
    groups = [f"In step, as they need each other: {listed(group)}." for group in plan.groups]
    needs = [line for one in plan.services.values() for line in needs_of(one)]
    audiences = [line for one in plan.services.values() for line in audiences_of(one)]
    tests = [line for one in plan.services.values() for line in ab_of(one)]
    told = (*groups, *tests, *audiences, *lane_of(plan), *needs, judged, first)
    notes = [plain(note, "dim") for note in told if note]
    show(plain(title, "bold"), table, *notes)


def audiences_of(service: ServicePlan) -> Iterator[str]:
    """Whom each step adds, and how it is judged where it can't be compared: a sentence each."""
    for stage in service.stages:
        if isinstance(stage, ShiftStage) and stage.adds:
            judged = f"; judged by limits only: {stage.unlike}" if stage.unlike else ""
            yield f"{service.service}, step {(stage.step or 0) + 1}: {stage.adds}{judged}."


def ab_of(service: ServicePlan) -> Iterator[str]:
    """What an A/B test compares, how long, and who decides: a sentence, or none."""
    ab = service.strategy.ab
    if ab is not None:
        whom = service.strategy.audience or "the users"
        least = f", {format_duration(ab.at_least)} at least" if ab.at_least else ""
        yield (
            f"A/B test of {service.service} by {ab.metric}: half of {whom} get "
            f"{short(service.version)} for {format_duration(ab.lasts)}, or until a difference is "
            f"shown{least}; then a person picks the winner."
        )


def lane_of(plan: ReleasePlan) -> Iterator[str]:
    """Which services are part of the release's lane, and what carries it: a sentence, or none."""
    carried = {name: one.lane for name, one in plan.services.items() if one.lane is not None}
    for spec in dict.fromkeys(carried.values()):
        yield (
            f"Lane: requests that have met a canary carry {spec.text}, and meet those of "
            f"{listed([name for name, one in carried.items() if one == spec])}."
        )


def needs_of(service: ServicePlan) -> Iterator[str]:
    """What a version needs, and who is asked for it when: a sentence each."""
    asked = [(one.hook.name, one.moment) for one in service.stages if isinstance(one, HookStage)]
    asked += [
        (hook.name, HookMoment.DURING_BAKE)
        for one in service.stages
        if isinstance(one, BakeStage)
        for hook in one.hooks
    ]
    for need, bounds in service.needs.items():
        moments = ", ".join(dict.fromkeys(one.value for name, one in asked if name == need))
        yield (
            f"{service.service} {short(service.version)} needs {need} {bounds}; hook {need} says "
            f"({moments}) what there is, and whether the version before works with it."
        )


def print_routers(routers: Sequence[Mapping[str, Any]]) -> None:
    """Print what kinds of routers can do: one row a kind."""
    table = _table("kind", "smallest weight", "users stay by", "asked for by", "counted by")
    broken = []
    for one in routers:
        if "broken" in one:
            broken.append(plain(f"{one['kind']}: can't be used: {one['broken']}", "red"))
            continue
        can = one["capabilities"]
        by = (", ".join(can[name]) or "-" for name in ("sticky", "forced"))
        _row(table, one["kind"], f"{can['smallest']:g} %", *by, can["counts"])
    show(table, *broken)


def steps_of(strategy: Strategy) -> str:
    """How a canary gets to all requests: `5% 1m → 100%`, or a ramp and what bounds it."""
    if strategy.ramp is None:
        return " → ".join(_step(step) for step in strategy.full_steps)
    ramp = strategy.ramp
    return (
        f"ramp to {ramp.cap:g}%, {ramp.budget:g} extra failures at most, "
        f"{format_duration(ramp.hold_after)} at most → 100%"
    )


def _step(step: FullStep) -> str:
    shortest, longest = format_duration(step.bake.min), format_duration(step.bake.max)
    bake = "" if not step.bake.max else f" {shortest}"
    bake += "" if shortest == longest else f" to {longest}"
    return f"{step.text.replace(' %', '%')}{bake}{' gate' if step.gate else ''}"


def print_found(found: list[Found], *, no_color: bool = False) -> None:
    """Print a list of releases."""
    if not found:
        show("no releases")
        return
    table = _table("release", "state", "started", "services", "why")
    for one in found:
        status = one.status
        versions = {s.service: s.version for s in status.services} if status else one.planned
        names = _some(versions)
        state = status.phase.value if status else one.execution
        why = _listed_why(status) if status else (_SILENT if one.running else "")
        started = one.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        _row(table, one.release, _state(state), started, names, why)
    show(table, no_color=no_color)


def _listed_why(status: ReleaseStatus) -> str:
    """Why it goes back, or what it waits for."""
    if status.cause is not None or status.phase.closed:
        return _why(status.cause)
    paused = "paused" if status.paused else ""
    waits = f"waits for {status.waits_for}" if status.waits_for else ""
    return "; ".join(filter(None, (paused, waits, asking(status.services))))


def _some(versions: Mapping[str, str]) -> str:
    """Services and versions, the first where there are many: a release may have hundreds."""
    most = len(versions) if len(versions) <= _NAMED + 1 else _NAMED
    names = [f"{name}={version}" for name, version in versions.items()][:most]
    left = len(versions) - most
    return " ".join([*names, f"and {left} more"] if left else names)


def found_as_data(found: Found) -> dict[str, Any]:
    """One release of a list as plain data."""
    status = found.status
    return {
        "release": found.release,
        "state": status.phase.value if status else found.execution,
        "started_at": found.started_at.isoformat(),
        "finished_at": _iso(status.finished_at) if status else None,
        "services": {s.service: s.version for s in status.services}
        if status
        else dict(found.planned),
        "waits_for": _listed_why(status) if status and not status.phase.closed else "",
        "answers": status is not None,
        "cause": status.cause.model_dump(mode="json") if status and status.cause else None,
        "labels": status.labels if status else {},
    }


def _iso(moment: Any) -> str | None:
    return moment.isoformat() if moment is not None else None


def print_status(
    status: ReleaseStatus, canaries: Mapping[str, CanaryStatus], *, no_color: bool = False
) -> None:
    """Print where a release is."""
    lines = map(plain, may(status, canaries))
    show(status_view(status, canaries), *lines, no_color=no_color)


def status_view(status: ReleaseStatus, canaries: Mapping[str, CanaryStatus]) -> Table:
    """A release as a table: a headline, then one row a service, dependencies first."""
    view = Table.grid(padding=(0, 0))
    view.add_row(plain(headline(status), "bold"))
    table = _table("service", "version", "state", "weight", "step", "waits for, verdict, why")
    for service in status.services:
        canary = canaries.get(service.service)
        at = canary or service
        step = f"{at.step + 1}/{at.steps}" if at.step is not None else ""
        row = (
            service.service,
            short(service.version),
            _state(at.phase.value),
            at.gets.replace(" %", "%"),
            step,
        )
        _row(table, *row, told(service, canary))
    view.add_row(table)
    return view


def headline(status: ReleaseStatus) -> str:
    """One line: which release, where it is, why."""
    paused = ", paused" if status.paused and not status.phase.closed else ""
    why = f": {_why(status.cause)}" if status.cause else ""
    if not why and status.waits_for:
        why = f": waits for {status.waits_for}"
    return f"release {status.release} is {status.phase.value}{paused}{why}"


def told(service: ServiceStatus, canary: CanaryStatus | None) -> str:
    """What there is to say of a service: what it waits for, its last verdict, why it goes back."""
    source = canary or service
    parts = []
    if source.cause is not None:
        parts.append(_why(source.cause))
    if source.waits_for and not source.phase.closed:
        parts.append(f"waits for {source.waits_for}")
    if source.verdict is not None:
        parts.append(source.verdict.sentence)
    if service.lane is not None:
        parts.append(service.lane.text)
    if service.watched_until is not None:
        parts.append(f"watched until {service.watched_until:%Y-%m-%d %H:%M} UTC")
    return "; ".join(dict.fromkeys(parts))


def _why(cause: Cause | None) -> str:
    if cause is None:
        return ""
    return (
        f"{cause.text} (by {cause.by})" if cause.by and cause.by not in cause.text else cause.text
    )


def _state(word: str) -> Text:
    return plain(word, STYLES.get(word, ""))


def _row(table: Table, *cells: str | Text) -> None:
    table.add_row(*map(plain, cells))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
