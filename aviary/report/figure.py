"""What all charts share: time, colours, and text that is safe in them. Pure.

A figure is plain data for plotly.js. `x` of a trace is an index into the figure's `xs`, whose
numbers are seconds after `start`: one axis serves many traces. Colours of text, axes and grids are
the style sheet's, so that a chart follows light, dark and print; those here are of the data, and
read on either background.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from schemas.event_kinds import MomentKind
from schemas.outside import one_line
from schemas.timeline import Moment, Timeline
from schemas.verdict import VerdictKind

Figure = dict[str, Any]
Trace = dict[str, Any]

CANARY, STABLE = "#e07b00", "#3b82f6"
GOOD, BAD, OPEN, PEOPLE = "#2e9e5b", "#d64545", "#8a8f98", "#8b5cf6"
TONES = {"good": GOOD, "bad": BAD, "none": OPEN, "open": STABLE}
_WRAP, _LINES = 70, 10
_SAID = {
    MomentKind.APPROVED,
    MomentKind.PAUSED,
    MomentKind.RESUMED,
    MomentKind.SKIPPED_BAKE,
    MomentKind.TOLD_BACK,
}
_VERDICTS = {VerdictKind.PASS: "pass", VerdictKind.FAIL: "fail"}
_MARKS: dict[str, tuple[str, str, str]] = {
    "pass": ("verdict PASS", "triangle-up", GOOD),
    "fail": ("verdict FAIL", "x", BAD),
    "inconclusive": ("verdict INCONCLUSIVE", "circle-open", OPEN),
    "alert": ("alert", "diamond", BAD),
    "person": ("a person", "star", PEOPLE),
}


class Clock:
    """Seconds after the release began."""

    def __init__(self, start: datetime) -> None:
        self.start = start

    def __call__(self, at: datetime) -> float:
        """One time."""
        return round((at - self.start).total_seconds(), 2)

    def all(self, times: Iterable[datetime | None]) -> list[float | None]:
        """Many; a break stays one."""
        return [None if at is None else self(at) for at in times]


class Canvas:
    """Collects traces and their times into a figure."""

    def __init__(self, start: datetime) -> None:
        self.clock = Clock(start)
        self._xs: list[list[float | None]] = []
        self._traces: list[Trace] = []

    def times(self, x: Sequence[float | None]) -> int:
        """Times that traces may share; what `add` takes for `x`."""
        self._xs.append(list(x))
        return len(self._xs) - 1

    def add(self, x: int, *, name: str, **trace: Any) -> None:
        """One trace, with its name in the legend."""
        self._traces.append({"type": "scatter", "x": x, "name": label(name), **trace})

    def figure(self, layout: dict[str, Any]) -> Figure:
        """The whole."""
        return {
            "start": self.clock.start.isoformat(),
            "xs": self._xs,
            "data": self._traces,
            "layout": layout,
        }


def ends_at(timeline: Timeline, now: datetime) -> datetime:
    """When the release ended; of one that runs, now."""
    if timeline.finished_at is not None:
        return timeline.finished_at
    last = max((one.at for one in timeline.moments), default=timeline.started_at)
    return last if timeline.phase.closed else max(last, now)


def safe(text: str) -> str:
    """Text for a chart, which would read tags and entities in it."""
    lines = textwrap.wrap(one_line(text), _WRAP, max_lines=_LINES, placeholder=" …")
    return "<br>".join(html.escape(line) for line in lines)


def label(text: str) -> str:
    """A name for a chart, in one line."""
    return html.escape(one_line(text))


def mark_of(moment: Moment) -> str | None:
    """The kind of mark that a moment is drawn as; None: it is not."""
    if moment.kind is MomentKind.JUDGED and moment.verdict is not None:
        return _VERDICTS.get(moment.verdict.kind, "inconclusive")
    if moment.kind is MomentKind.ALERT:
        return "alert"
    return "person" if moment.kind in _SAID else None


def draw_marks(canvas: Canvas, moments: Sequence[tuple[Moment, float]], **axes: Any) -> None:
    """Draw verdicts, alerts and commands at the heights given with them."""
    for kind, (name, symbol, colour) in _MARKS.items():
        found = [(one, height) for one, height in moments if mark_of(one) == kind]
        if found:
            canvas.add(
                canvas.times([canvas.clock(one.at) for one, _ in found]),
                mode="markers",
                y=[round(height, 3) for _, height in found],
                name=name,
                text=[safe(one.text) for one, _ in found],
                marker={
                    "symbol": symbol,
                    "color": colour,
                    "size": 10,
                    "line": {"width": 1.5 if kind == "inconclusive" else 0.5, "color": colour},
                },
                hovertemplate="%{text}<extra></extra>",
                **axes,
            )


def upright(x: float, colour: str, width: float) -> dict[str, Any]:
    """A dotted line through the whole height of a chart, at a time of the canvas's clock."""
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": colour, "width": width, "dash": "dot"},
    }


def base_layout(height: int, end: float) -> dict[str, Any]:
    """What all layouts begin with; `end` is the right end of the time axis, in seconds."""
    clear = "rgba(0,0,0,0)"
    return {
        "height": height,
        "margin": {"l": 10, "r": 16, "t": 44, "b": 28},
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"size": 12, "family": "system-ui, sans-serif"},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#20252d", "font": {"color": "#f4f5f7"}, "align": "left"},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1 + 22 / height,
            "yanchor": "bottom",
            "yref": "paper",
            "bgcolor": clear,
        },
        "xaxis": time_axis(end),
    }


def time_axis(end: float) -> dict[str, Any]:
    """The axis of time, in UTC; `range` is in seconds, as `xs` are."""
    spare = max(end, 1.0) * 0.02
    return {
        "type": "date",
        "range": [round(-spare, 2), round(end + spare, 2)],
        "tickformatstops": [
            {"dtickrange": [None, 999], "value": "%H:%M:%S.%1f"},
            {"dtickrange": [1000, 59_999], "value": "%H:%M:%S"},
            {"dtickrange": [60_000, 86_399_999], "value": "%H:%M"},
            {"dtickrange": [86_400_000, None], "value": "%d %b"},
        ],
    }
