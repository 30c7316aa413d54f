"""Make the pictures of the docs anew: `python -m tests.browser.screenshots [name ...]`.

A real release on the embedded stack, looked at in a real browser. Not a part of the tests: pictures
change with every change of words, fonts and clocks.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import yaml
from playwright.async_api import expect

from aviary.local import debian, stack
from aviary.local.shop import Fault
from aviary.local.stack import Stack
from schemas.release import CanaryPhase
from tests.browser import browser as chromium
from tests.browser.conftest import QUESTION, RPS, STRATEGIES
from tests.browser.console import WITHIN_MS, Console, RefusedError
from tests.e2e.given import Release, ended, phase, request, until

IMAGES = Path(__file__).parents[2] / "docs/images"
_log = logging.getLogger("screenshots")


class Gallery:
    """Takes pictures of what a console shows."""

    def __init__(self, console: Console) -> None:
        self.console = console

    async def take(self, name: str) -> None:
        """Keep what the tab shows as `docs/images/<name>.png`."""
        await self.console.page.evaluate("document.activeElement?.blur()")
        await asyncio.to_thread(IMAGES.mkdir, parents=True, exist_ok=True)
        path = IMAGES / f"{name}.png"
        await self.console.page.screenshot(path=path, animations="disabled")
        _log.info("%s: %d kB", path.name, path.stat().st_size // 1000)


async def gated(shop: Stack, gallery: Gallery) -> None:
    """A release that waits for a person, its canary, and a refused update."""
    console, versions = gallery.console, {"ledger": "2.1.0", "payments": "3.0.0"}
    release = Release("shop-42", versions)
    await request(shop, release, strategy="asked")
    client = await shop.temporal()
    await until(client, release, lambda now: phase(now, "ledger") is CanaryPhase.GATED)
    await console.release(release.id)
    await expect(await console.details()).to_contain_text(QUESTION)
    await gallery.take("release-gated")
    await console.canary("ledger")
    await expect(await console.details()).to_contain_text(QUESTION)
    await gallery.take("canary-gated")
    await console.release(release.id)
    try:
        await console.update("resume", json.dumps({"by": "ann"}))
    except RefusedError:
        await gallery.take("update-refused")
    await console.release(release.id)
    await console.update("rollback", json.dumps({"by": "ann", "reason": "enough seen"}))
    await ended(client, release)


async def judged(shop: Stack, gallery: Gallery) -> None:
    """A release that was rolled back by the judge."""
    console, versions = gallery.console, {"inventory": "2.1.0", "cart": "1.7.0"}
    release = Release("shop-43", versions, {"inventory": Fault(error_rate=0.3)})
    await request(shop, release, strategy="long")
    status = await ended(await shop.temporal(), release)
    await console.release(release.id)
    await expect(await console.details()).to_contain_text(
        status.cause.text if status.cause else "rolled back"
    )
    await gallery.take("release-rolled-back")


SCENES = {"gated": gated, "judged": judged}


async def main(names: list[str]) -> None:
    """Play the scenes of these names, all if there are none."""
    expect.set_options(timeout=WITHIN_MS)
    cache = debian.cache_folder()
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        document = yaml.safe_load(Path(stack.__file__).with_name("catalog.yaml").read_text())
        judged_ones = {"asked": {**STRATEGIES["asked"], "bake": {"min": "5s", "max": "5m"}}}
        document["strategies"] |= STRATEGIES | judged_ones
        catalog = folder / "quick.yaml"
        catalog.write_text(yaml.safe_dump(document))
        browser = await opened.enter_async_context(chromium.opened(await chromium.install(cache)))
        shop = await opened.enter_async_context(
            Stack(folder / "stack", cache, catalog=catalog, rps=RPS)
        )
        await shop.start(_log.info)
        page = await browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(WITHIN_MS)
        gallery = Gallery(Console(page, shop.addresses["temporal_ui"]))
        for name in names or SCENES:
            await SCENES[name](shop, gallery)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asyncio.run(main(sys.argv[1:]))
