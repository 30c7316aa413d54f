"""The report of a release, opened: its charts are there, in light and dark, and on paper."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from aviary.report.page import render
from tests.unit.report.sample import NASTY, START, timeline_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

_A4_WIDTH = 794
"""Pixels of CSS."""


def _written(folder: Path, text: str) -> str:
    timeline = timeline_of({"ledger": (), "payments": ("ledger",)}, bad="payments", text=text)
    path = folder / "report.html"
    path.write_text(render(timeline, START + timedelta(hours=3)))
    return path.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of a release that was rolled back, as a file."""
    return _written(tmp_path_factory.mktemp("report"), "too slow")


@pytest_asyncio.fixture(loop_scope="session")
async def complaints(page: Page) -> list[str]:
    """What the page asks of the network, and what goes wrong in it: nothing, it is hoped."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda said: found.append(said.text) if said.type == "error" else None)
    page.on("dialog", lambda dialog: found.append(dialog.message))
    page.on(
        "request",
        lambda asked: (
            None if re.match(r"(file|data|blob):", asked.url) else found.append(asked.url)
        ),
    )
    return found


async def _opened(page: Page, address: str) -> None:
    await page.goto(address)
    await expect(page.locator("html[data-charts=drawn]")).to_be_attached()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_charts_are_there(
    page: Page, address: str, complaints: list[str], scheme: Literal["light", "dark"]
) -> None:
    await page.emulate_media(color_scheme=scheme)
    await _opened(page, address)
    charts = page.locator(".chart")
    assert await charts.count() >= 2
    for chart in await charts.all():
        await chart.scroll_into_view_if_needed()
        await expect(chart.locator("svg.main-svg").first).to_be_visible()
        assert await chart.locator("path.js-line").count() >= 1
    background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = map(int, re.findall(r"\d+", background)[:3])
    assert (red + green + blue < 3 * 64) is (scheme == "dark")
    assert complaints == []


async def test_it_prints_without_breaking(page: Page, address: str, complaints: list[str]) -> None:
    await page.set_viewport_size({"width": _A4_WIDTH, "height": 1123})
    await _opened(page, address)
    await page.emulate_media(media="print")
    for chart in await page.locator(".chart").all():
        box = await chart.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= _A4_WIDTH
    assert await page.evaluate("document.documentElement.scrollWidth") <= _A4_WIDTH
    paper = await page.pdf(format="A4", print_background=True)
    assert paper.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 2
    assert complaints == []


async def test_a_text_of_somebodys_is_never_run(
    page: Page, complaints: list[str], tmp_path: Path
) -> None:
    await _opened(page, _written(tmp_path, NASTY))
    assert complaints == []


async def test_on_a_telephone_the_timeline_stacks(page: Page, address: str) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await _opened(page, address)
    timeline = page.locator("table.stacks")
    await timeline.scroll_into_view_if_needed()
    row = timeline.locator("tbody tr").first
    cells = [await cell.bounding_box() for cell in await row.locator("th, td").all()]
    details = cells[-1]
    assert details is not None
    assert all(one is not None and one["y"] < details["y"] for one in cells[:-1])
    assert details["width"] > 300
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    assert await timeline.evaluate(
        "one => one.parentElement.scrollWidth <= one.parentElement.clientWidth"
    )
