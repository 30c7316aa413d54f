"""The chart of one service: weight, rates of both versions, odds and bounds. Pure.

Each row has its own y axis; all share the axis of time, so that cause and effect stand in line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from analysis.explain import length
from aviary.report.figure import (
    BAD,
    CANARY,
    OPEN,
    STABLE,
    TONES,
    Canvas,
    Figure,
    base_layout,
    draw_marks,
    ends_at,
    label,
    mark_of,
    upright,
)
from aviary.report.series import MetricSeries, ServiceSeries, Values, service_series
from aviary.report.weights import weight_at, weights_of
from aviary.report.words import tone
from schemas.judging import (
    Direction,
    GaugeMetric,
    HistogramMetric,
    MetricSpec,
    RatioMetric,
    ThresholdMetric,
)
from schemas.timeline import ServiceTimeline, Timeline

Draw = Callable[[Canvas, str], dict[str, Any]]
"""Draws a row on the y axis of this name, and says what that axis looks like."""

_ROW_PX = 132
_FRAME_PX = 96
_DASHES = ("solid", "dot", "dash", "longdash", "dashdot")
_DECADES = 6
_ABOVE = 1e4
"""The odds' axis ends at so many times what fails; the line itself goes on."""


def title_of(series: MetricSeries) -> str:
    """What a row of a metric shows, with its unit."""
    metric = series.spec
    dry = ", dry run" if metric.dry_run else ""
    if isinstance(metric, HistogramMetric):
        way = "faster" if metric.direction is Direction.LOWER_IS_BAD else "slower"
        return f"{metric.name}: % {way} than {length(series.edge)}{dry}"
    if isinstance(metric, RatioMetric):
        return f"{metric.name}: % of requests{dry}"
    return f"{metric.name}: {_value_word(metric)}{dry}"


def _value_word(metric: MetricSpec) -> str:
    return "mean of instances" if isinstance(metric, GaugeMetric) else "value and limit"


def service_figure(timeline: Timeline, name: str, now: datetime) -> Figure:
    """One service."""
    service = timeline.services[name]
    series = service_series(service)
    canvas, end = Canvas(timeline.started_at), ends_at(timeline, now)
    x = canvas.times(canvas.clock.all(series.at)) if series.at else 0
    rows: list[tuple[str, Draw]] = [("weight, %", _weight(timeline, service, end))]
    shown = [one for one in series.metrics.values() if one.measured]
    rows += [(title_of(one), _rates(one, x, first=i == 0)) for i, one in enumerate(shown)]
    if series.needed is not None and any(value is not None for value in series.odds):
        rows.append((f"odds against the canary (fails at {series.needed:g})", _odds(series, x)))
    if bounded := [one for one in shown if any(value is not None for value in one.bound)]:
        rows.append(("bound on extra bad requests, %", _bounds(bounded, x)))
    layout = base_layout(_ROW_PX * len(rows) + _FRAME_PX, canvas.clock(end))
    layout["margin"] |= {"l": 52, "b": 28}
    layout["annotations"] = []
    for index, (title, draw) in enumerate(rows):
        _row(layout, canvas, (index, len(rows)), title, draw)
    layout["xaxis"] |= {"anchor": "y" if len(rows) == 1 else f"y{len(rows)}"}
    layout["shapes"] = _verdict_lines(timeline, name, canvas)
    return canvas.figure(layout)


def _row(
    layout: dict[str, Any], canvas: Canvas, place: tuple[int, int], title: str, draw: Draw
) -> None:
    """One row of so many: its axis, what is drawn on it, and its title above it."""
    index, count = place
    axis = "y" if index == 0 else f"y{index + 1}"
    spare = 0.3
    top = 1 - index / count - spare / count * 0.35
    bottom = 1 - (index + 1) / count + spare / count * 0.65
    bottom = max(bottom, 0.0) if index < count - 1 else 0.0
    layout[f"yaxis{axis[1:]}"] = {
        "domain": [round(bottom, 4), round(top, 4)],
        "anchor": "x",
        "nticks": 5,
        "zeroline": False,
        **draw(canvas, axis),
    }
    layout["annotations"].append(
        {
            "text": label(title),
            "xref": "paper",
            "x": 0,
            "xanchor": "left",
            "yref": "paper",
            "y": round(top, 4),
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"size": 12, "weight": 600},
        }
    )


def _weight(timeline: Timeline, service: ServiceTimeline, end: datetime) -> Draw:
    def draw(canvas: Canvas, axis: str) -> dict[str, Any]:
        moments = timeline.of(service.plan.service)
        steps = weights_of(moments)
        times = [canvas.clock(timeline.started_at), *(canvas.clock(at) for at, _ in steps)]
        weights = [0.0, *(weight for _, weight in steps)]
        colour = TONES[tone(service.phase)]
        canvas.add(
            canvas.times([*times, canvas.clock(end)]),
            mode="lines",
            y=[*weights, weights[-1]],
            yaxis=axis,
            name="weight",
            line={"shape": "hv", "color": colour, "width": 1.5},
            fill="tozeroy",
            fillcolor=f"{colour}33",
            hovertemplate="%{y} % of requests<extra></extra>",
            showlegend=False,
        )
        draw_marks(canvas, [(one, weight_at(steps, one)) for one in moments], yaxis=axis)
        return {"range": [-6, 112], "tickvals": [0, 50, 100]}

    return draw


def _scaled(values: Values, metric: MetricSpec) -> Values:
    """Shares as percentages; other values as they are."""
    if not isinstance(metric, RatioMetric | HistogramMetric):
        return values
    return [None if value is None else round(100 * value, 6) for value in values]


def _rates(series: MetricSeries, x: int, *, first: bool) -> Draw:
    """Both versions: a line since judging began, and a dot for each interval."""
    metric = series.spec

    def draw(canvas: Canvas, axis: str) -> dict[str, Any]:
        arms = [
            ("stable", STABLE, "dash", series.stable, series.stable_now),
            ("canary", CANARY, "solid", series.canary, series.canary_now),
        ]
        for name, colour, dash, whole, now in arms:
            if any(value is not None for value in now):
                canvas.add(
                    x,
                    mode="markers",
                    y=_scaled(now, metric),
                    yaxis=axis,
                    name=f"{name}, each interval",
                    marker={"color": colour, "size": 4, "opacity": 0.45},
                    hoverinfo="skip",
                    showlegend=False,
                )
            if any(value is not None for value in whole):
                canvas.add(
                    x,
                    mode="lines",
                    y=_scaled(whole, metric),
                    yaxis=axis,
                    name=name,
                    legendgroup=name,
                    showlegend=first,
                    line={"color": colour, "width": 2, "dash": dash},
                    hovertemplate="%{y:.4~g}<extra>%{fullData.name}</extra>",
                )
        _limit(canvas, metric, x, len(series.canary), axis)
        return {"rangemode": "tozero"}

    return draw


def _limit(canvas: Canvas, metric: MetricSpec, x: int, count: int, axis: str) -> None:
    """The fixed limit of a metric that has one."""
    limit: float | None = None
    if isinstance(metric, ThresholdMetric):
        limit = metric.limit
    elif isinstance(metric, RatioMetric | HistogramMetric) and metric.slo is not None:
        limit = 100 * metric.slo
    if limit is not None:
        _level(canvas, x, [limit] * count, axis, (f"limit of {metric.name}", BAD))


def _level(canvas: Canvas, x: int, values: list[float], axis: str, named: tuple[str, str]) -> None:
    """A level that means something when it is passed: its name and colour."""
    name, colour = named
    canvas.add(
        x,
        mode="lines",
        y=values,
        yaxis=axis,
        name=name,
        line={"color": colour, "width": 1.5, "dash": "dash"},
        hovertemplate="%{fullData.name}: %{y:.4~g}<extra></extra>",
        showlegend=False,
    )


def _odds(series: ServiceSeries, x: int) -> Draw:
    """The e-value over all metrics, each alone where there are several, and what fails."""
    needed = series.needed or 1.0

    def draw(canvas: Canvas, axis: str) -> dict[str, Any]:
        alone = [one for one in series.metrics.values() if any(v is not None for v in one.odds)]
        for index, one in enumerate(alone if len(alone) > 1 else []):
            canvas.add(
                x,
                mode="lines",
                y=one.odds,
                yaxis=axis,
                name=f"odds by {one.spec.name}",
                line={"color": OPEN, "width": 1.2, "dash": _DASHES[1 + index % 4]},
                hovertemplate="%{y:.4~g} : 1<extra>%{fullData.name}</extra>",
                legendgroup=one.spec.name,
            )
        canvas.add(
            x,
            mode="lines",
            y=series.odds,
            yaxis=axis,
            name="odds over all",
            line={"color": CANARY, "width": 2},
            hovertemplate="%{y:.4~g} : 1<extra>%{fullData.name}</extra>",
        )
        _level(canvas, x, [needed] * len(series.at), axis, ("odds that fail", BAD))
        known = [value for value in series.odds if value is not None]
        top = min(max(*known, needed) * 3, needed * _ABOVE)
        low = max(min(*known, 1.0) / 3, 1e-3)
        return _log_axis(low, top)

    return draw


def _bounds(shown: list[MetricSeries], x: int) -> Draw:
    """What is still possible, against what is good enough to go on."""

    def draw(canvas: Canvas, axis: str) -> dict[str, Any]:
        for index, one in enumerate(shown):
            canvas.add(
                x,
                mode="lines",
                y=[None if value is None else round(100 * value, 6) for value in one.bound],
                yaxis=axis,
                name=f"bound of {one.spec.name}",
                line={"color": STABLE, "width": 1.5, "dash": _DASHES[index % 5]},
                hovertemplate="at most %{y:.4~g} %<extra>%{fullData.name}</extra>",
            )
            if one.tolerance is not None:
                level = [round(100 * one.tolerance, 6)] * len(one.bound)
                _level(canvas, x, level, axis, (f"good enough by {one.spec.name}", TONES["good"]))
        known = [100 * value for one in shown for value in one.bound if value is not None]
        goals = [100 * one.tolerance for one in shown if one.tolerance is not None]
        return _log_axis(min(known + goals) / 2, max(known + goals) * 2)

    return draw


def _log_axis(low: float, high: float) -> dict[str, Any]:
    """A log axis that has a line for each power of ten, written plainly while there are few."""
    begin, end = round(math.log10(low), 3), round(math.log10(high), 3)
    plainly = end - begin < _DECADES
    return {
        "type": "log",
        "range": [begin, end],
        "exponentformat": "none" if plainly else "power",
        "dtick": 1 if plainly else math.ceil((end - begin) / _DECADES),
    }


def _verdict_lines(timeline: Timeline, name: str, canvas: Canvas) -> list[dict[str, Any]]:
    """A line through all rows where the judge said PASS or FAIL, and where an alert came."""
    colours = {"pass": TONES["good"], "fail": BAD, "alert": BAD}
    found = [(one, mark_of(one)) for one in timeline.of(name)]
    return [
        {**upright(canvas.clock(one.at), colours[mark], 1), "layer": "below"}
        for one, mark in found
        if mark in colours
    ]
