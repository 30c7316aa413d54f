"""What grows with the canaries that bake at once, as an SVG. From the JSON document alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.many import ASKED, BACK, CPU, HANGING, MEMORY, SIZES
from bench.tables import number

_WIDTH, _HEIGHT, _LEFT, _TOP, _FOOT = 250, 190, 52, 34, 38
_INK: Final = "#555"
_COLOURS: Final = ("#1f6feb", "#d1622b")


@dataclass(frozen=True)
class Panel:
    """One quantity over the number of canaries."""

    title: str
    lines: Mapping[str, Sequence[tuple[int, float]]]
    """Number of canaries and value, by the line's name."""

    @property
    def most(self) -> tuple[float, float]:
        """The largest of both."""
        points = [point for line in self.lines.values() for point in line]
        return max(size for size, _ in points), max(value for _, value in points) or 1.0


def panels(document: Mapping[str, Any]) -> list[Panel]:
    """What a run has of it: totals, so that a straight line through zero is linear growth."""
    medians = {figure["name"]: figure["median"] for figure in document["figures"]}

    def line(specs: Mapping[int, Any], share: float) -> list[tuple[int, float]]:
        """Of each size that was measured; `share` makes a total of what is said of one canary."""
        found = ((size, medians.get(specs[size].name)) for size in SIZES)
        return [(n, m * (share * n if share else 1)) for n, m in found if m is not None]

    drawn = [
        Panel("worker's memory, MiB", {"all": line(MEMORY, 1 / 1024)}),
        Panel("worker's CPU, % of a core", {"all": line(CPU, 1 / 10)}),
        Panel("requests to Prometheus, 1/s", {"all": line(ASKED, 0)}),
        Panel(
            "alert's signal → router's yes, ms",
            {"Prometheus answers": line(BACK, 0), "Prometheus hangs": line(HANGING, 0)},
        ),
    ]
    return [panel for panel in drawn if all(panel.lines.values())]


def svg(document: Mapping[str, Any]) -> str:
    """The panels side by side.

    Raises:
        ValueError: the run has no figures of canaries that bake at once.
    """
    shown = panels(document)
    if not shown:
        raise ValueError("figures: none of canaries that bake at once, expected the suite `many`")
    wide, high = (_LEFT + _WIDTH) * len(shown) + 20, _TOP + _HEIGHT + _FOOT
    box = f'viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{wide}" height="{high}" fill="white"/>',
    ]
    for place, panel in enumerate(shown):
        parts += _panel(panel, _LEFT + place * (_LEFT + _WIDTH))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, left: int) -> Iterator[str]:
    widest, highest = panel.most
    bottom = _TOP + _HEIGHT
    yield _text(left, _TOP - 14, panel.title, "start", "#111")
    yield _stroke(f"M{left} {_TOP} V{bottom} H{left + _WIDTH}", _INK)
    yield _text(left + _WIDTH / 2, bottom + 30, "canaries that bake", "middle")
    for size in (0, *(size for size, _ in next(iter(panel.lines.values())))):
        if size == 0 or size > widest / 20:
            yield _text(left + size / widest * _WIDTH, bottom + 15, f"{size:,}", "middle")
    for part in (0, 0.5, 1):
        yield _text(left - 5, bottom - part * _HEIGHT + 4, number(highest * part), "end")
    for place, (name, line) in enumerate(panel.lines.items()):
        points = [
            (left + n / widest * _WIDTH, bottom - value / highest * _HEIGHT) for n, value in line
        ]
        colour = _COLOURS[place]
        yield _stroke("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points), colour, 2)
        for x, y in points:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
        if len(panel.lines) > 1:
            yield _text(left + 8, _TOP + 12 + 14 * place, name, "start", colour)


def _text(x: float, y: float, text: str, anchor: str, colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def _stroke(path: str, colour: str, width: int = 1) -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
