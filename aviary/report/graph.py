"""The dependency graph of a release as a drawing: what began first is on top. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from aviary.report.html import Markup, tag
from aviary.report.layers import Layout, Needs, Slot, arrange, direct
from aviary.report.words import said, sign, tone
from schemas.catalog_check import listed
from schemas.release import CanaryPhase, ServicePlan
from schemas.timeline import ServiceTimeline, Timeline

_WIDTH, _HEIGHT = 176, 54
_WAY = 8
"""Width of the place that a passing arrow takes."""
_GAP_X, _GAP_Y, _MARGIN = 22, 46, 8
_NAME, _VERSIONS = 22, 26
"""Characters that fit into a box."""

_Places = dict[tuple[int, Slot], tuple[float, float]]
"""The middle of each slot's upper edge."""


def draw(timeline: Timeline) -> Markup:
    """The drawing, with a title and a description for those who can't see it."""
    needs = direct({name: frozenset(p.depends_on) for name, p in timeline.plan.services.items()})
    layout = arrange(timeline.plan.stages, needs)
    width = max(sum(map(_width, line)) + _GAP_X * (len(line) - 1) for line in layout.lines)
    width += 2 * _MARGIN
    count = len(layout.lines)
    height = 2 * _MARGIN + count * _HEIGHT + (count - 1) * _GAP_Y
    places = _places(layout, width)
    boxes = [
        _box(timeline, timeline.services[slot.name], *places[index, slot])
        for index, line in enumerate(layout.lines)
        for slot in line
        if slot.to is None
    ]
    return tag(
        "svg",
        tag("title", f"Services of release {timeline.release}, and what each depends on"),
        tag("desc", _description(timeline, needs)),
        _ARROW,
        [_arrow([places[one] for one in arrow]) for arrow in layout.arrows],
        boxes,
        class_="graph",
        role="img",
        viewBox=f"0 0 {width} {height}",
        style=f"max-width:{width}px",
        xmlns="http://www.w3.org/2000/svg",
    )


_ARROW = tag(
    "defs",
    tag(
        "marker",
        tag("path", d="M0 0L8 4L0 8z", class_="tip"),
        id="tip",
        viewBox="0 0 8 8",
        refX="8",
        refY="4",
        markerWidth="7",
        markerHeight="7",
        orient="auto",
    ),
)


def _width(slot: Slot) -> int:
    return _WIDTH if slot.to is None else _WAY


def _places(layout: Layout, width: float) -> _Places:
    places: _Places = {}
    for index, line in enumerate(layout.lines):
        taken = sum(map(_width, line)) + _GAP_X * (len(line) - 1)
        x = (width - taken) / 2
        for slot in line:
            places[index, slot] = (x + _width(slot) / 2, _MARGIN + index * (_HEIGHT + _GAP_Y))
            x += _width(slot) + _GAP_X
    return places


def _arrow(through: Sequence[tuple[float, float]]) -> Markup:
    """An arrow from what must hold first, beside the boxes between, to what depends on it."""
    x, y = through[0][0], through[0][1] + _HEIGHT
    path = f"M{x:g} {y:g}"
    for index, (to, top) in enumerate(through[1:], start=1):
        last = index == len(through) - 1
        end = top - 1 if last else top
        bend = (end - y) / 2
        path += f"C{x:g} {y + bend:g} {to:g} {end - bend:g} {to:g} {end:g}"
        x, y = to, end
        if not last:
            y += _HEIGHT
            path += f"V{y:g}"
    return tag("path", d=path, class_="edge", marker_end="url(#tip)")


def _box(timeline: Timeline, service: ServiceTimeline, middle: float, y: float) -> Markup:
    plan, x = service.plan, middle - _WIDTH / 2
    began = timeline.cause is not None and timeline.cause.service == plan.service
    state = f"{sign(service.phase)} {said(service.phase)}"
    if began and service.phase is not CanaryPhase.SKIPPED:
        state += ", it began here"
    versions = f"{service.stable or '?'} → {plan.version}"
    return tag(
        "a",
        tag("title", f"{plan.service} {versions}: {state}{_in_step(plan)}"),
        tag("rect", x=f"{x:g}", y=f"{y:g}", width=_WIDTH, height=_HEIGHT, rx="7"),
        _line(_short(plan.service, _NAME), x, y + 18, "name"),
        _line(_short(versions, _VERSIONS), x, y + 32, "small"),
        _line(state, x, y + 46, "small state"),
        href=f"#service-{plan.service}",
        class_=f"node {tone(service.phase)}{' began' if began else ''}",
    )


def _in_step(plan: ServicePlan) -> str:
    others = [one for one in plan.group if one != plan.service]
    return f"; in step with {listed(others)}" if others else ""


def _line(text: str, x: float, y: float, kind: str) -> Markup:
    return tag("text", text, x=f"{x + 12:g}", y=f"{y:g}", class_=kind)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _description(timeline: Timeline, needs: Needs) -> str:
    sentences = []
    for name, service in timeline.services.items():
        after = f" after {', '.join(sorted(needs[name]))}" if needs[name] else ""
        sentences.append(f"{name}{after}: {said(service.phase)}{_in_step(service.plan)}.")
    return " ".join(sentences)
