"""`aviary release explain`: a release's timeline in words, evidence beside verdicts. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from rich.text import Text

from analysis.explain import length, percent, plain
from aviary.cli.bars import folded
from schemas.base import format_duration
from schemas.catalog_check import listed
from schemas.event_kinds import MomentKind
from schemas.live import Live
from schemas.outside import one_line
from schemas.timeline import Moment, ServiceTimeline, Timeline
from schemas.verdict import MetricEvidence, RouterEvidence, VerdictKind

_TIME = 10
_WHO = 20
"""Widest column of service names."""
_MOST = 8
"""Lines of one text: a history may hold a stack trace."""
_STYLES = {
    MomentKind.ROLLBACK: "bold red",
    MomentKind.ROLLED_BACK: "red",
    MomentKind.STUCK: "bold red",
    MomentKind.LOST: "red",
    MomentKind.FAILED: "red",
    MomentKind.TERMINATED: "red",
    MomentKind.CANCELLED: "red",
    MomentKind.TOLD_BACK: "yellow",
    MomentKind.ALERT: "yellow",
    MomentKind.GATED: "yellow",
    MomentKind.PAUSED: "yellow",
    MomentKind.QUEUED: "yellow",
    MomentKind.APPROVED: "yellow",
    MomentKind.FINALIZED: "green",
    MomentKind.HOLDING: "green",
}


_RUNS = {MomentKind.ALERT, MomentKind.FAILED, MomentKind.PREFLIGHT, MomentKind.QUEUED}
"""What may come again and again and says the same each time."""


@dataclass(frozen=True)
class Again:
    """How often a moment came again, and when last."""

    count: int
    last: datetime


def folded_moments(moments: Iterable[Moment]) -> list[tuple[Moment, Again | None]]:
    """The moments in order; one that came again with nothing but such between is told once."""
    found: list[tuple[Moment, Again | None]] = []
    since: dict[Hashable, int] = {}
    for one in moments:
        if one.kind not in _RUNS:
            since.clear()
            found.append((one, None))
            continue
        key = (one.kind, one.service, one.text, one.did)
        if key in since:
            first, again = found[since[key]]
            count = again.count if again is not None else 0
            found[since[key]] = (first, Again(count + 1, one.at))
        else:
            since[key] = len(found)
            found.append((one, None))
    return found


class Explanation:
    """Writes a timeline in lines of at most `width`.

    Args:
        width: columns, at least 40.
        zone: of the times; None is local.
    """

    def __init__(self, width: int, zone: tzinfo | None = None) -> None:
        self._width = max(width, 40)
        self._zone = zone

    def lines(self, timeline: Timeline) -> list[Text]:
        """The whole timeline."""
        who = [len(one.service) for one in timeline.moments if one.service]
        column = min(max([len("release"), *who]), _WHO)
        found = [*self._head(timeline), Text()]
        day = ""
        for moment, again in folded_moments(timeline.moments):
            at = moment.at.astimezone(self._zone)
            if f"{at:%Y-%m-%d}" != day:
                day = f"{at:%Y-%m-%d}"
                found.append(Text(f"{day} ({at:%Z})", style="dim"))
            found += self._moment(at, moment, column, timeline)
            if again is not None:
                until = again.last.astimezone(self._zone)
                text = f"the same {again.count} times more, until {until:%Y-%m-%d %H:%M:%S}"
                found.append(Text(" " * (_TIME + column + 4) + text, style="dim"))
        return [*found, *self._now(timeline), *self._unseen(timeline)]

    def _plain(self, text: str, style: str = "", indent: int = 0) -> Iterator[Text]:
        for line in folded(text, self._width - indent, _MOST):
            yield Text(" " * indent + line, style=style)

    def _head(self, timeline: Timeline) -> Iterator[Text]:
        yield from self._plain(_outcome(timeline), "bold")
        for service in timeline.services.values():
            yield from self._plain(_service(service), indent=2)
        facts = [f"environment {timeline.plan.environment}"]
        facts += [f"{key}={value}" for key, value in timeline.plan.labels.items()]
        facts += [f"asked for by {timeline.plan.source}"] if timeline.plan.source else []
        yield from self._plain("; ".join(facts), "dim", indent=2)

    def _moment(
        self, at: datetime, moment: Moment, column: int, timeline: Timeline
    ) -> Iterator[Text]:
        who = one_line(moment.service or "release")
        shown = who if len(who) <= column else who[: column - 1] + "…"
        style = _style(moment)
        for index, line in enumerate(folded(_sentence(moment), self._room(column), _MOST)):
            head = f"{at:%H:%M:%S}  {shown:<{column}}  " if index == 0 else ""
            yield Text.assemble((f"{head:<{_TIME + column + 2}}", "dim"), (line, style))
        for fact in _facts(moment, timeline):
            for line in folded(fact, self._room(column) - 2, _MOST):
                yield Text(" " * (_TIME + column + 4) + line, style="dim")

    def _room(self, column: int) -> int:
        return self._width - _TIME - column - 2

    def _now(self, timeline: Timeline) -> Iterator[Text]:
        """What a release that goes on does at the moment."""
        if timeline.execution != "running":
            return
        yield Text()
        yield from self._plain("And now:", "bold")
        for name, service in timeline.services.items():
            live = service.judgings[-1].live if service.judgings else None
            where = f"{name} is {service.phase.words} at {service.weight:g} %"
            yield from self._plain(where + (f"; {_live(live)}" if live else ""), indent=2)

    def _unseen(self, timeline: Timeline) -> Iterator[Text]:
        yield Text()
        notes = [*timeline.unseen, "commands that were refused, which leave no trace in a history"]
        yield from self._plain("Not seen here:", "dim")
        for note in notes:
            yield from self._plain(f"- {note}", "dim", indent=2)


def _outcome(timeline: Timeline) -> str:
    verb = "was" if timeline.phase.closed else "is"
    text = f"{verb} {timeline.phase.words}"
    if not timeline.phase.closed and timeline.execution != "running":
        text = f"was {timeline.execution} while it was {timeline.phase.words}"
    if timeline.finished_at is not None:
        text += f" after {_span(timeline.finished_at - timeline.started_at)}"
    why = f": {timeline.cause.text}" if timeline.cause else ""
    return f"Release {timeline.release} {text}{why}"


def _service(service: ServiceTimeline) -> str:
    plan = service.plan
    text = f"{plan.service} {plan.version}"
    text += f", before {service.stable}" if service.stable else ""
    text += f", after {', '.join(plan.depends_on)}" if plan.depends_on else ""
    others = [one for one in plan.group if one != plan.service]
    text += f", in step with {listed(others)}" if others else ""
    return f"{text}: {service.phase.words}"


def _sentence(moment: Moment) -> str:
    """The text of a moment; the column beside it names the service already."""
    text = moment.text
    if moment.verdict is not None:
        return f"{moment.verdict.kind}: {text}"
    name = moment.service
    return text.removeprefix(f"{name}: ").removeprefix(f"{name} ") if name else text


def _style(moment: Moment) -> str:
    if moment.verdict is not None:
        styles = {VerdictKind.PASS: "green", VerdictKind.FAIL: "bold red"}
        return styles.get(moment.verdict.kind, "yellow")
    return _STYLES.get(moment.kind, "")


def _kinds(timeline: Timeline, moment: Moment) -> dict[str, str]:
    """Of the metrics of the moment's service: what their numbers count."""
    service = timeline.services.get(moment.service or "")
    return {metric.name: metric.kind for metric in service.plan.metrics} if service else {}


def _facts(moment: Moment, timeline: Timeline) -> Iterator[str]:
    """The evidence of a moment, and its cause where that is not the release's, told already."""
    kinds = _kinds(timeline, moment)
    told = moment.text if timeline.cause is None else f"{moment.text} {timeline.cause.text}"
    for metric in moment.verdict.metrics if moment.verdict else ():
        yield _evidence(metric, kinds.get(metric.name, "ratio"))
    if moment.alert is not None:
        labels = ", ".join(f"{key}={value}" for key, value in sorted(moment.alert.labels.items()))
        yield f"since {moment.alert.starts_at:%Y-%m-%d %H:%M:%S} UTC; {labels}"
        summary = moment.alert.annotations.get("summary") or moment.alert.annotations.get(
            "description"
        )
        if summary:
            yield summary
    if moment.by and moment.by not in moment.text:
        yield f"by {moment.by}"
    if moment.cause is not None and moment.cause.text not in told:
        yield f"because {moment.cause.text}"


def _evidence(metric: MetricEvidence, kind: str) -> str:
    """`errors: 5.1 % against 0.3 % on stable (1,020 and 20,100 requests); odds …; bound …`."""
    name = metric.name if metric.edge is None else f"{metric.name} over {length(metric.edge)}"
    if metric.note and not metric.canary.total:
        return f"{name}: {metric.note}"
    if kind == "threshold":
        return f"{name}: {plain(metric.canary.rate)} at worst, in {metric.intervals} readings"
    shown = plain if kind == "gauge" else percent
    text = f"{name}: {shown(metric.canary.rate)}"
    counts = f"{metric.canary.total:,.0f}"
    if metric.stable.total > 0:
        text += f" against {shown(metric.stable.rate)} on stable"
        counts += f" and {metric.stable.total:,.0f}"
    text += f" ({counts} requests)" if kind != "gauge" else ""
    text += f"; odds {plain(metric.e_value)} of {plain(metric.threshold)}"
    if metric.upper_bound is not None:
        text += f"; at most {percent(max(metric.upper_bound, 0.0))} extra"
        text += f", {percent(metric.tolerance)} will do" if metric.tolerance is not None else ""
    if metric.router is not None and metric.router.canary.total > 0:
        text += f"; the router itself counted {_counted(metric.router)}"
    text += f"; {metric.note}" if metric.note else ""
    return text + (" (not acted upon)" if metric.dry_run else "")


def _counted(router: RouterEvidence) -> str:
    """`5.2 % against 0.3 % (1,100 and 21,000 requests in 40 readings)`."""
    canary, stable = router.canary, router.stable
    rates = percent(canary.rate)
    counts = f"{canary.total:,.0f}"
    if stable.total > 0:
        rates += f" against {percent(stable.rate)}"
        counts += f" and {stable.total:,.0f}"
    return f"{rates} ({counts} requests in {router.intervals:,} readings)"


def _live(live: Live) -> str:
    text = f"{100 * live.to_fail:.0f} % of the way to FAIL"
    if live.to_go_on is not None and live.bake_max is not None:
        text += f", {100 * live.to_go_on:.0f} % of the way on"
    return f"{text}: {live.sentence}"


def _span(time: timedelta) -> str:
    return format_duration(timedelta(seconds=round(time.total_seconds())))
