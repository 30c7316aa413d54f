"""The chart of weights: each service has a row, in dependency order. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from aviary.report.figure import (
    BAD,
    GOOD,
    OPEN,
    TONES,
    Canvas,
    Figure,
    base_layout,
    draw_marks,
    ends_at,
    label,
    upright,
)
from aviary.report.words import said, tone
from schemas.event_kinds import MomentKind
from schemas.timeline import Moment, ServiceTimeline, Timeline

_ROW_PX, _LARGE_PX = 34, 60
_FEW = 8
"""So many services get the larger rows."""
_FRAME_PX = 110
_FULL = 0.78
"""Height of 100 % in a row of 1."""
_LINES = {
    MomentKind.ROLLBACK: BAD,
    MomentKind.SOAKING: OPEN,
    MomentKind.FINALIZING: GOOD,
    MomentKind.ADMITTED: OPEN,
}


def weights_of(moments: Sequence[Moment]) -> list[tuple[datetime, float]]:
    """The canary's weight, from each time on."""
    kinds = {MomentKind.SHIFTED, MomentKind.RESTORED}
    return [(m.at, m.weight) for m in moments if m.kind in kinds and m.weight is not None]


def share_at(moments: Sequence[Moment], weight: float, at: datetime | None = None) -> str:
    """A weight of a service, and whose requests it is a share of: `20 % of benelux`.

    Args:
        moments: of the service, in order.
        weight: percent.
        at: when it had it; None: now.
    """
    kinds = {MomentKind.SHIFTED, MomentKind.RESTORED}
    given = (m for m in reversed(moments) if m.kind in kinds and (at is None or m.at <= at))
    whom = next((m.whom for m in given), "")
    return f"{weight:g} %" + (f" of {whom}" if whom else "")


def weight_at(steps: Sequence[tuple[datetime, float]], moment: Moment) -> float:
    """The weight just before."""
    return next((weight for at, weight in reversed(steps) if at < moment.at), 0.0)


def weights_figure(timeline: Timeline, now: datetime) -> Figure:
    """All services, and what was decided when."""
    canvas, end = Canvas(timeline.started_at), ends_at(timeline, now)
    count = len(timeline.services)
    rows = {name: count - 1 - index for index, name in enumerate(timeline.services)}
    marks: list[tuple[Moment, float]] = []
    for name, service in timeline.services.items():
        moments = timeline.of(name)
        steps = weights_of(moments)
        _row(canvas, service, steps, rows[name], end)
        marks += [(one, rows[name] + _FULL * weight_at(steps, one) / 100) for one in moments]
    marks += [(m, count - 0.1) for m in timeline.moments if m.service is None]
    draw_marks(canvas, marks)
    layout = base_layout(
        (_LARGE_PX if count <= _FEW else _ROW_PX) * count + _FRAME_PX, canvas.clock(end)
    )
    layout["yaxis"] = {
        "range": [-0.15, count + 0.1],
        "tickvals": [row + _FULL / 2 for row in rows.values()],
        "ticktext": [label(name) for name in rows],
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }
    _decisions(layout, canvas, timeline)
    return canvas.figure(layout)


def _row(
    canvas: Canvas,
    service: ServiceTimeline,
    steps: list[tuple[datetime, float]],
    row: int,
    end: datetime,
) -> None:
    """A filled step line above the row's baseline; closed, so that it fills nothing else."""
    x: list[float | None] = []
    weights: list[float] = []
    before = 0.0
    for at, weight in steps:
        x += [canvas.clock(at), canvas.clock(at)]
        weights += [before, weight]
        before = weight
    if steps:
        last = canvas.clock(end)
        x += [last, last, canvas.clock(steps[0][0])]
        weights += [before, 0.0, 0.0]
    colour = TONES[tone(service.phase)]
    canvas.add(
        canvas.times(x),
        mode="lines",
        y=[round(row + _FULL * weight / 100, 4) for weight in weights],
        customdata=weights,
        name=service.plan.service,
        fill="toself",
        fillcolor=f"{colour}55",
        line={"color": colour, "width": 1.5},
        hoveron="points",
        hovertemplate="%{customdata} % of requests<extra>%{fullData.name}</extra>",
        showlegend=False,
    )


def _decisions(layout: dict[str, Any], canvas: Canvas, timeline: Timeline) -> None:
    """Lines through all rows for what the whole release did, each named at the bottom."""
    found = [m for m in timeline.moments if m.service is None or m.kind is MomentKind.ROLLBACK]
    shown = {one.kind: one for one in reversed(found) if one.kind in _LINES}
    if timeline.phase.value == "finalized" or MomentKind.ROLLBACK in shown:
        shown.pop(MomentKind.ADMITTED, None)
    layout["shapes"] = [
        upright(canvas.clock(one.at), _LINES[kind], 1.5) for kind, one in shown.items()
    ]
    layout["annotations"] = [
        {
            "x": canvas.clock(one.at),
            "yref": "paper",
            "y": 0,
            "yanchor": "bottom",
            "xanchor": "right"
            if canvas.clock(one.at) > layout["xaxis"]["range"][1] / 2
            else "left",
            "text": said(kind.value),
            "showarrow": False,
        }
        for kind, one in shown.items()
    ]
