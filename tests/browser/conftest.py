"""A browser, and a stack whose Temporal UI it opens; both end with the last test of this folder."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import pytest_asyncio
import yaml
from playwright.async_api import Browser, Page, expect
from temporalio.client import Client

from aviary.local import debian, stack
from aviary.local.debian import DebianError
from aviary.local.stack import Stack
from tests.browser import browser as chromium
from tests.browser.console import WITHIN_MS, Console

RPS = 100.0
QUESTION = "Does support see anything odd?"
STRATEGIES: dict[str, dict[str, Any]] = {
    # Waits at its first step until a person decides: all pages can be looked at meanwhile.
    "asked": {
        "steps": [{"weight": 50, "gate": QUESTION}],
        "bake": "3s",
        "soak": "2s",
    },
    "long": {"steps": [50], "bake": {"min": "10m", "max": "15m"}, "soak": "2s"},
}


@pytest.fixture(scope="package")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's own catalog with strategies that leave time to look."""
    document = yaml.safe_load(Path(stack.__file__).with_name("catalog.yaml").read_text())
    document["strategies"] |= STRATEGIES
    for service in ("ledger", "payments"):  # judged by time alone, so that the gate surely opens
        document["services"][service] = {**(document["services"][service] or {}), "metrics": []}
    path = tmp_path_factory.mktemp("catalog") / "catalog.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def go_without(error: DebianError) -> NoReturn:
    """Skip what needs the browser, with the reason; where CI runs, fail."""
    reason = f"no Chromium from Debian's packages here: {error}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The headless browser."""
    try:
        installed = await chromium.install(debian.cache_folder())
    except DebianError as error:
        go_without(error)
    async with chromium.opened(installed) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shop(
    browser: Browser, catalog: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """A running stack; started only where there is a browser."""
    assert browser.is_connected()
    folder = tmp_path_factory.mktemp("stack")
    async with Stack(folder, debian.cache_folder(), catalog=catalog, rps=RPS) as running:
        await running.start()
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def temporal(shop: Stack) -> Client:
    """A client of the stack's Temporal: what the page is believed by."""
    return await shop.temporal()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A fresh tab of a fresh visitor."""
    expect.set_options(timeout=WITHIN_MS)
    context = await browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(WITHIN_MS)
    yield await context.new_page()
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def console(shop: Stack, page: Page) -> Console:
    """The Temporal UI in that tab."""
    return Console(page, shop.addresses["temporal_ui"])
