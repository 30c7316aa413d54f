"""What the charts show, and more, as tables of text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.explain import length, percent, plain
from aviary.history.decided import NOT_RECORDED, words
from aviary.report.html import Child, Markup, table, tag
from aviary.report.weights import share_at
from aviary.report.words import (
    after,
    badge,
    clock,
    cut,
    lasted,
    moment_badge,
    said,
    stamp,
    unfolding,
    verdict_badge,
)
from schemas.catalog_check import listed
from schemas.event_kinds import MomentKind
from schemas.judging import GaugeMetric, MetricSpec, ThresholdMetric
from schemas.lane_counts import LaneCounts, seen_of
from schemas.release import Cause, CauseKind
from schemas.timeline import Judging, Moment, ServiceTimeline, Timeline
from schemas.verdict import Counts, MetricEvidence, Verdict

_MOST_JUDGINGS = 40


def services_table(timeline: Timeline) -> Markup:
    """One line for each service: what became of it, and the judge's last word."""
    rows = []
    for name, service in timeline.services.items():
        alerts = sum(one.kind is MomentKind.ALERT for one in timeline.of(name))
        rows.append(
            [
                [tag("a", name, href=f"#service-{name}"), _in_step(name, service.plan.group)],
                f"{service.stable or '?'} → {service.plan.version}",
                badge(service.phase),
                share_at(timeline.of(name), service.weight),
                alerts or "none",
                _last_word(timeline, service),
            ]
        )
    heads = ["Service", "Versions", "Outcome", "Weight", "Alerts", "Last verdict"]
    return table("Services, dependencies first; weight is what the canary has now", heads, rows)


def lane_table(timeline: Timeline) -> Markup | None:
    """What came with the release's lane at each of its services; None where nobody counted it."""
    counts = {
        name: [one for judging in service.judgings if (one := _lane_of(judging)) is not None]
        for name, service in timeline.services.items()
    }
    rows = [
        [
            tag("a", name, href=f"#service-{name}"),
            f"{one.came:,}",
            f"{one.given:,}",
            f"about {one.lost:,} from {listed(one.of)}" if one.lost else "none seen",
            one.crossed or "none seen",
        ]
        for name, one in seen_of(counts, timeline.plan.in_front).items()
    ]
    if not rows:
        return None
    heads = ["Service", "Came with it", "Were given it", "Had lost it", "Crossed to stable"]
    caption = "Requests and the lane of this release, while canaries were judged; what was lost "
    caption += "and what crossed is worked out from how many calls a request in front causes"
    return table(caption, heads, rows)


def _lane_of(judging: Judging) -> LaneCounts | None:
    return judging.lane or (judging.live.lane if judging.live is not None else None)


def _in_step(name: str, group: Sequence[str]) -> Child:
    others = [one for one in group if one != name]
    return tag("div", f"in step with {listed(others)}", class_="why") if others else None


def _last_word(timeline: Timeline, service: ServiceTimeline) -> Child:
    found = [one for one in timeline.of(service.plan.service) if one.kind is MomentKind.JUDGED]
    if not found:
        return "none"
    return [verdict_badge(found[-1].verdict), tag("div", cut(found[-1].text), class_="why")]


def judgings_table(timeline: Timeline, service: ServiceTimeline) -> Markup | None:
    """What the judge saw and said, bake by bake: the chart in words."""
    shown = service.judgings[-_MOST_JUDGINGS:]
    if not shown:
        return None
    left = len(service.judgings) - len(shown)
    caption = f"Judging of {service.plan.service}, all evidence since its first request"
    caption += f"; the first {left} are left out here" if left else ""
    heads = ["Began", "Weight", "Lasted", "Verdict", "Evidence"]
    specs = {metric.name: metric for metric in service.plan.metrics}
    return table(caption, heads, [_judging(timeline, service, one, specs) for one in shown])


def _judging(
    timeline: Timeline, service: ServiceTimeline, judging: Judging, specs: dict[str, MetricSpec]
) -> list[Child]:
    seconds = ((judging.ended_at or judging.began_at) - judging.began_at).total_seconds()
    kind = "bake" if judging.bake_max is not None else "watch"
    verdict = judging.verdict
    sentence = verdict.sentence if verdict is not None else _wordless(judging, service)
    return [
        [
            clock(judging.began_at),
            tag("div", after(judging.began_at, timeline.started_at), class_="why"),
        ],
        share_at(timeline.of(judging.service), judging.weight, judging.began_at),
        f"{kind}, {lasted(seconds)}" if judging.ended_at else f"{kind}, it goes on",
        _word(judging),
        [cut(sentence), evidence(verdict, specs) if verdict else None],
    ]


def _word(judging: Judging) -> Markup:
    verdict = judging.verdict
    told = (
        judging.stopped and judging.ended_at is not None if verdict is None else not verdict.final
    )
    return tag("span", "told to stop", class_="badge none") if told else verdict_badge(verdict)


def _wordless(judging: Judging, service: ServiceTimeline) -> str:
    """What is known of a judging without a verdict."""
    if judging.live is not None:
        return judging.live.sentence
    if not judging.stopped:
        return "ended without a word"
    return "stopped, since the service went back" if service.phase.goes_back else "stopped"


def evidence(verdict: Verdict, specs: dict[str, MetricSpec]) -> list[Markup]:
    """A verdict's numbers, a line for each metric."""
    return [tag("div", _numbers(one, specs.get(one.name)), class_="why") for one in verdict.metrics]


def _numbers(one: MetricEvidence, spec: MetricSpec | None) -> str:
    dry = " (dry run)" if one.dry_run else ""
    if isinstance(spec, ThresholdMetric):
        return f"{one.name}{dry}: {plain(one.canary.rate)}, the limit is {plain(spec.limit)}"
    edge = f" slower than {length(one.edge)}" if one.edge is not None else ""
    gauge = isinstance(spec, GaugeMetric)
    arms = f"canary {_rate(one.canary, gauge=gauge)}, stable {_rate(one.stable, gauge=gauge)}"
    text = f"{one.name}{dry}{edge}: {arms}"
    if one.e_value != 1.0:
        text += f"; odds {one.e_value:,.4g} of {one.threshold:,.4g}"
    if one.upper_bound is not None and one.tolerance is not None:
        text += f"; at most {percent(max(one.upper_bound, 0.0))} extra"
        text += f", {percent(one.tolerance)} is accepted"
    return f"{text}; {one.note}" if one.note else text


def _rate(counts: Counts, *, gauge: bool) -> str:
    if gauge:
        return plain(counts.rate)
    return f"{percent(counts.rate)} of {counts.total:,.0f}"


def timeline_table(timeline: Timeline) -> Markup:
    """Everything that happened, in order."""
    rows = [
        [
            clock(one.at),
            tag("span", after(one.at, timeline.started_at), class_="tight"),
            one.service or "release",
            moment_badge(one.kind, one.verdict),
            [unfolding(one.text), _who(one), _why(timeline, one)],
        ]
        for one in timeline.moments
    ]
    heads = ["Time, UTC", "After", "Where", "What", "Details"]
    return table("Every decision, with its evidence and its cause", heads, rows, stacks=True)


def _who(moment: Moment) -> Markup | None:
    parts = [f"by {moment.by}"] if moment.by else []
    parts += [f"reason: {cut(moment.reason)}"] if moment.reason else []
    return tag("div", "; ".join(parts), class_="why") if parts else None


def _why(timeline: Timeline, moment: Moment) -> list[Markup]:
    """The evidence of a verdict, the labels of an alert, the cause of a rollback."""
    specs: dict[str, MetricSpec] = {}
    if moment.service in timeline.services:
        specs = {one.name: one for one in timeline.services[moment.service].plan.metrics}
    found = evidence(moment.verdict, specs) if moment.verdict else []
    if moment.alert is not None:
        labels = ", ".join(f"{key}={value}" for key, value in sorted(moment.alert.labels.items()))
        found.append(tag("div", unfolding(f"labels: {labels}"), class_="why"))
    if moment.cause is not None and moment.cause.text != moment.text:
        found.append(tag("div", cause_text(moment.cause), class_="why"))
    return found


def cause_text(cause: Cause) -> str:
    """Why something went back; a long text is whole in the timeline."""
    kinds = {
        CauseKind.VERDICT: "a verdict",
        CauseKind.ALERT: "an alert",
        CauseKind.COMMAND: "a person",
        CauseKind.HOOK: "a hook",
    }
    where = f" on {cause.service}" if cause.service else ""
    return f"cause: {kinds.get(cause.kind, said(cause.kind.value))}{where}: {cut(cause.text)}"


def alerts_table(timeline: Timeline) -> Markup | None:
    """The alerts that came in."""
    found = [one for one in timeline.moments if one.alert is not None]
    if not found:
        return None
    heads = ["Alert", "Service", "Came", "Began", "What was done", "Text"]
    return table("Alerts that reached the canaries", heads, [_alert(one) for one in found])


def _alert(moment: Moment) -> Sequence[Child]:
    alert = moment.alert
    if alert is None:
        return []
    texts = [alert.annotations.get(key, "") for key in ("summary", "description")]
    return [
        alert.name,
        moment.service or "release",
        clock(moment.at),
        stamp(alert.starts_at),
        f"{alert.status.value}: {words(moment.did) if moment.did else NOT_RECORDED}",
        [tag("div", unfolding(text)) for text in texts if text] or "none",
    ]
