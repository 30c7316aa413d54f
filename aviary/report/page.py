"""The page: from the timeline of a release to one file of HTML. Pure."""

from __future__ import annotations

from datetime import datetime

from aviary import __version__
from aviary.report.bundle import bundle, digest
from aviary.report.charts import service_figure
from aviary.report.config import configuration
from aviary.report.figure import Figure, ends_at
from aviary.report.graph import draw
from aviary.report.html import Child, Markup, join, raw_json, tag
from aviary.report.script import SCRIPT
from aviary.report.style import STYLE
from aviary.report.tables import (
    alerts_table,
    cause_text,
    judgings_table,
    lane_table,
    services_table,
    timeline_table,
)
from aviary.report.weights import weights_figure
from aviary.report.words import badge, lasted, release_badge, said, stale_text, stamp
from schemas.timeline import ServiceTimeline, Timeline

_WEIGHTS = "weights"


def render(timeline: Timeline, now: datetime) -> str:
    """The whole page, which asks nothing of any network.

    Args:
        timeline: of the release, which may still go on.
        now: the time, in UTC.
    """
    figures = figures_of(timeline, now)
    body = [
        tag("a", "To the content", href="#main", class_="skip"),
        _header(timeline, now),
        tag("main", _sections(timeline, figures, now), id="main"),
        tag("footer", f"Made by Aviary {__version__} at {stamp(now)}. All times are UTC."),
    ]
    scripts = [
        tag("script", raw_json(figures), type="application/json", id="figures"),
        tag("script", Markup(bundle().packed), type="application/octet-stream", id="plotly"),
        tag("script", Markup(SCRIPT)),
    ]
    page = tag("html", _head(timeline), tag("body", body, scripts), lang="en")
    return f"<!doctype html>\n{page}\n"


def figures_of(timeline: Timeline, now: datetime) -> dict[str, Figure]:
    """Every chart of the page, by name."""
    services = {
        f"service-{name}": service_figure(timeline, name, now)
        for name, service in timeline.services.items()
        if service.judgings
    }
    return {_WEIGHTS: weights_figure(timeline, now), **services}


def _head(timeline: Timeline) -> Markup:
    hashes = " ".join(f"'sha256-{one}'" for one in (digest(SCRIPT.encode()), bundle().sha256))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Release {timeline.release}: {said(timeline.phase.value)}"),
        tag("style", Markup(STYLE)),
    )


# --- the top ---


def _header(timeline: Timeline, now: datetime) -> Markup:
    return tag(
        "header",
        tag("h1", "Release ", timeline.release, " ", release_badge(timeline.phase)),
        _lead(timeline, now),
        [tag("p", one, class_="note bad") for one in timeline.unseen],
        _facts(timeline, now),
        _contents(timeline),
    )


def _lead(timeline: Timeline, now: datetime) -> Markup:
    cause = timeline.cause
    if cause is not None:
        by = f" (by {cause.by})" if cause.by and cause.by not in cause.text else ""
        text = f"Why it went back: {cause_text(cause).removeprefix('cause: ')}{by}"
    elif timeline.phase.closed:
        count = len(timeline.services)
        text = f"All {count} services went out." if count > 1 else "The service went out."
    else:
        text = f"The release goes on: it is {said(timeline.phase.value)}. "
        text += f"This is how it stood at {stamp(now)}."
    return tag("p", text, class_="lead")


def _facts(timeline: Timeline, now: datetime) -> Markup:
    end = ends_at(timeline, now)
    seconds = (end - timeline.started_at).total_seconds()
    states = [said(one.phase.value) for one in timeline.services.values()]
    counted = ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))
    facts = {
        "Started": stamp(timeline.started_at),
        "Ended": stamp(end) if timeline.phase.closed else "not yet",
        "Lasted": lasted(seconds) + ("" if timeline.phase.closed else " so far"),
        "Services": f"{len(states)}: {counted}",
        "Environment": timeline.plan.environment,
        "Labels": ", ".join(f"{k}={v}" for k, v in sorted(timeline.plan.labels.items())) or "none",
        "Started by": timeline.plan.source or "the command line",
        "Run": timeline.run_id,
    }
    if timeline.audit is not None:
        facts["Hash chain"] = f"{timeline.audit.links} links, last {timeline.audit.head}"
    pairs = [[tag("dt", key), tag("dd", value)] for key, value in facts.items()]
    return tag("dl", pairs, class_="facts")


def _contents(timeline: Timeline) -> Markup:
    links = [("#services", "Services"), ("#weights", "Weights"), ("#judging", "Judging")]
    links += [("#lane", "Lane")] if lane_table(timeline) else []
    links += [("#alerts", "Alerts")] if alerts_table(timeline) else []
    links += [("#timeline", "Timeline"), ("#configuration", "Configuration")]
    items = [tag("li", tag("a", text, href=href)) for href, text in links]
    return tag("nav", tag("ul", items), aria_label="Sections")


# --- the sections ---


def _sections(timeline: Timeline, figures: dict[str, Figure], now: datetime) -> list[Child]:
    alerts, lane = alerts_table(timeline), lane_table(timeline)
    return [
        _section("services", "Services", draw(timeline), services_table(timeline)),
        _section("weights", "Weights over time", _weights(figures)),
        _section("judging", "Judging", _judging(timeline, figures, now)),
        _section("lane", "Lane", lane) if lane else None,
        _section("alerts", "Alerts", alerts) if alerts else None,
        _section("timeline", "Timeline", timeline_table(timeline)),
        _section("configuration", "Configuration", configuration(timeline)),
    ]


def _section(name: str, title: str, *children: Child) -> Markup:
    return tag("section", tag("h2", title, id=name), children)


def _weights(figures: dict[str, Figure]) -> Markup:
    caption = (
        "The share of requests that each canary had: a full row is 100 %. "
        "The table of the timeline says the same."
    )
    return _chart(_WEIGHTS, "Weights of all canaries over time", caption, figures[_WEIGHTS])


def _chart(name: str, title: str, caption: str, figure: Figure) -> Markup:
    height = figure["layout"]["height"]
    box = tag(
        "div",
        class_="chart",
        role="img",
        aria_label=f"Chart. {title}. {caption}",
        data_figure=name,
        style=f"height:{height}px",
    )
    return tag("figure", tag("figcaption", caption), box)


def _judging(timeline: Timeline, figures: dict[str, Figure], now: datetime) -> list[Child]:
    return [
        join([_service(timeline, service, figures), _stale(timeline, service, now)])
        for service in timeline.services.values()
    ]


def _stale(timeline: Timeline, service: ServiceTimeline, now: datetime) -> Markup | None:
    text = stale_text(timeline, service, now)
    return tag("p", text, class_="note") if text else None


def _service(timeline: Timeline, service: ServiceTimeline, figures: dict[str, Figure]) -> Markup:
    name, plan = service.plan.service, service.plan
    versions = f"{plan.version} against {service.stable or 'stable'}"
    head = tag("h3", f"{name} {versions} ", badge(service.phase), id=f"service-{name}")
    figure = figures.get(f"service-{name}")
    if figure is None:
        return join([head, tag("p", _unjudged(service), class_="soft")])
    caption = (
        "A line is the rate since judging began, a dot that of one interval. The canary fails when "
        "the odds pass their limit, and is good enough once its bound is below the tolerance. "
        "The table below has the numbers of every bake."
    )
    if not any(one.evidence_series for one in service.judgings):
        caption = "Only weights and verdicts: what the judge saw on the way was not kept."
    title = f"Weight, rates, odds and bounds of {name} over time"
    return join(
        [head, _chart(f"service-{name}", title, caption, figure), judgings_table(timeline, service)]
    )


def _unjudged(service: ServiceTimeline) -> str:
    if not service.runs:
        return "It was never begun."
    return "It was not judged: its bakes went by time, or it never had requests."
