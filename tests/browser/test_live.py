"""The live page in a real browser: it follows, it asks, and nobody's text is more than text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, expect

from aviary.api.answers import ApiOptions
from aviary.api.source import Listed
from aviary.api.source import Page as Listing
from aviary.http import listen, serve
from aviary.live.page import POLICY
from aviary.releases.finding import Filters
from schemas.phases import CanaryPhase
from schemas.release import ServiceStatus
from tests.browser.console import WITHIN_MS
from tests.unit.api.fakes import NOW, FakeSource, app_of, token_of
from tests.unit.report.sample import NASTY

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Source(FakeSource):
    """As many releases as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.more = 0

    async def page(self, filters: Filters, size: int, after: bytes | None) -> Listing:
        first = await super().page(filters, size, after)
        others = [Listed(f"many-{n}", "running", NOW, None, ("ledger",)) for n in range(self.more)]
        return Listing([*first.releases, *others], None)


@pytest_asyncio.fixture(loop_scope="session")
async def source() -> Source:
    return Source()


@pytest_asyncio.fixture(loop_scope="session")
async def address(source: Source) -> AsyncIterator[str]:
    taken = listen("127.0.0.1", 0)
    stop = asyncio.Event()
    app = app_of(source, options=ApiOptions(tick_s=0.05))
    serving = asyncio.create_task(serve(app, taken, stop, name="live"))
    yield f"http://127.0.0.1:{taken.getsockname()[1]}/"
    stop.set()
    await serving


@pytest_asyncio.fixture(loop_scope="session")
async def complaints(page: Page, address: str) -> list[str]:
    """What goes wrong in the page, and what it asks of others: nothing, it is hoped."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("dialog", lambda dialog: found.append(dialog.message))
    page.on(
        "console",
        lambda said: found.append(said.text) if "Content Security Policy" in said.text else None,
    )
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(address) else found.append(asked.url),
    )
    return found


async def opened(page: Page, address: str, who: str = "all", hash_: str = "") -> None:
    answer = await page.goto(f"{address}{hash_}")
    if answer is not None:  # None where only what is behind the # has changed
        assert answer.headers["content-security-policy"] == POLICY
    await page.get_by_label("Token").fill(token_of(who))
    await page.keyboard.press("Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_the_pages_are_for_everybody(
    browser: Browser, address: str, source: Source, scheme: Literal["light", "dark"], width: int
) -> None:
    source.publish(0)
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    page = await context.new_page()
    page.set_default_timeout(WITHIN_MS)
    await page.goto(address)
    await expect(page.get_by_label("Token")).to_be_focused()
    await opened(page, address)
    await expect(page.get_by_role("link", name="shop-1")).to_be_visible()
    await _nothing_wrong(page)
    await page.get_by_role("link", name="shop-1").click()
    await expect(page.get_by_role("button", name="approve")).to_be_visible()
    await _nothing_wrong(page)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(overflow) <= 0
    await context.close()


async def _nothing_wrong(page: Page) -> None:
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


async def test_a_word_is_said_by_keyboard_and_the_page_follows(
    page: Page, address: str, source: Source, complaints: list[str]
) -> None:
    await opened(page, address, hash_="#/shop-1")
    approve = page.get_by_role("button", name="approve")
    await approve.focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("Reason").fill("looks good")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text(re.compile("approve it is|shop-1 is"))
    ((word, release, command, _),) = source.said
    assert (word, release, command.by) == ("approve", "shop-1", "token:all")
    assert command.reason == "looks good"
    source.publish(0, 1)
    await expect(page.locator("ol.story li")).to_have_count(2)
    source.end()
    until = {"watched_until": NOW}
    services = tuple(one.model_copy(update=until) for one in source.status.services)
    source.status = source.status.model_copy(update={"services": services})
    await expect(page.locator(".lead .badge")).to_contain_text("finalized")
    await expect(page.get_by_role("button", name="approve")).to_have_count(0)
    row = page.locator("#service-ledger")
    await expect(row).to_contain_text(f"watched until {NOW:%Y-%m-%d %H:%M} UTC")
    assert complaints == []


async def test_only_words_of_the_role_are_offered_and_a_wrong_token_shows_nothing(
    page: Page, address: str, complaints: list[str]
) -> None:
    await opened(page, address, "nobody")
    await expect(page.get_by_role("status")).to_contain_text("wrong or expired")
    await opened(page, address, "reader", "#/shop-1")
    await expect(page.locator(".lead .badge")).to_contain_text("running")
    await expect(page.locator(".words button")).to_have_count(0)
    assert complaints == []


async def test_what_others_wrote_is_text(
    page: Page, address: str, source: Source, complaints: list[str]
) -> None:
    nasty = f"{NASTY}<img src=x onerror=alert(1)>"
    services = tuple(one.model_copy(update={"waits_for": nasty}) for one in source.status.services)
    source.status = source.status.model_copy(update={"services": services, "waits_for": nasty})
    data: dict[str, Any] = {"waits_for": nasty, "cause": {"text": nasty}, "text": nasty}
    source.published = [
        {"id": "release/shop-1/0", "type": nasty, "subject": nasty, "time": nasty, "data": data}
    ]
    await opened(page, address, hash_="#/shop-1")
    await expect(page.locator("ol.story li")).to_have_count(1)
    await expect(page.locator("table")).to_contain_text("onerror=alert(1)")
    assert await page.locator("main img, main script").count() == 0
    assert complaints == []


async def test_it_shows_a_thousand_releases_and_a_release_of_300_services(
    page: Page, address: str, source: Source, complaints: list[str]
) -> None:
    source.more = 1000
    names = [f"s-{n}" for n in range(300)]
    source.status = source.status.model_copy(
        update={
            "services": tuple(
                ServiceStatus(
                    service=name,
                    version="2",
                    depends_on=tuple(names[max(0, at - 10) : at - at % 10]),
                    phase=CanaryPhase.GATED,
                )
                for at, name in enumerate(names)
            )
        }
    )
    await opened(page, address)
    await expect(page.locator("section").first.locator("tbody tr")).to_have_count(1001)
    await page.get_by_role("link", name="shop-1", exact=True).click()
    await expect(page.locator("tbody tr")).to_have_count(300)
    await expect(page.locator("svg.graph a")).to_have_count(300)
    assert complaints == []
