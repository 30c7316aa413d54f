"""The growth with many canaries, drawn."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import many, plot

SVG = "{http://www.w3.org/2000/svg}"


def _run(sizes: tuple[int, ...]) -> dict[str, Any]:
    each = {"median": 2.0}
    return {"figures": [{"name": kind[n].name, **each} for kind in many.KINDS for n in sizes]}


def test_each_size_is_a_point_and_totals_grow_with_it() -> None:
    memory, cpu, *_ = plot.panels(_run(many.SIZES))
    assert [n for n, _ in memory.lines["all"]] == list(many.SIZES)
    assert [v for _, v in memory.lines["all"]] == pytest.approx([n / 512 for n in many.SIZES])
    assert [v for _, v in cpu.lines["all"]] == pytest.approx([n / 5 for n in many.SIZES])
    image = ET.fromstring(plot.svg(_run(many.SIZES)))
    lines = sum(len(panel.lines) for panel in plot.panels(_run(many.SIZES)))
    assert len(list(image.iter(f"{SVG}circle"))) == lines * len(many.SIZES)


def test_a_line_through_zero_is_linear_growth() -> None:
    memory = plot.panels(_run(many.SIZES))[0]
    assert len({round(value / size, 9) for size, value in memory.lines["all"]}) == 1


def test_what_was_not_measured_is_not_drawn() -> None:
    quick = plot.panels(_run(many.SIZES[:1]))
    assert all(len(line) == 1 for panel in quick for line in panel.lines.values())
    with pytest.raises(ValueError, match="expected the suite"):
        plot.svg({"figures": []})
