"""The Temporal UI as the console: what is it doing, why, what is next, and how do I stop it.

What a page says is checked on the page; that a button was obeyed is checked in Temporal.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import expect
from temporalio.client import Client

from aviary.local.shop import Fault
from aviary.local.stack import Stack
from schemas import attributes, ids
from schemas.release import CanaryPhase, CauseKind, ReleasePhase, ReleaseStatus
from tests.browser.conftest import QUESTION
from tests.browser.console import Console, RefusedError
from tests.e2e.given import Release, ended, new_versions, phase, request, until

_ASKED = 5
"""How often a command is sent whose answer the UI does not wait for."""
pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


@asynccontextmanager
async def _asked_for(
    shop: Stack,
    temporal: Client,
    strategy: str,
    *services: str,
    faults: Mapping[str, Fault] | None = None,
) -> AsyncIterator[Release]:
    """A release of new versions; one that a failing test leaves behind keeps no service."""
    release = await new_versions(shop, *services, faults=faults)
    await request(shop, release, strategy)
    try:
        yield release
    except BaseException:
        await temporal.get_workflow_handle(ids.release_workflow_id(release.id)).cancel()
        raise


async def _refusal(console: Console, release: Release, name: str) -> str:
    """What the dialog of a command says; the UI closes it unread where a worker is slow."""
    for _ in range(_ASKED):
        await console.release(release.id)
        try:
            await console.update(name)
        except RefusedError as error:
            return str(error)
    return "it was not refused"


def _ledger_asks(status: ReleaseStatus) -> bool:
    return phase(status, "ledger") is CanaryPhase.GATED


async def test_the_pages_of_a_running_release_answer_every_question(
    shop: Stack, temporal: Client, console: Console
) -> None:
    async with _asked_for(shop, temporal, "asked", "ledger", "payments") as release:
        await until(temporal, release, _ledger_asks)

        await console.release(release.id)
        await expect(console.page.locator("body")).to_contain_text("tab User Metadata")
        page = await console.details()
        for said in (f"Release {release.id}", f"ledger 1.0.0 → {release.versions['ledger']}"):
            await expect(page).to_contain_text(said)  # what
        await expect(page).to_contain_text(QUESTION)  # why
        await expect(page).to_contain_text("Next:")
        for button in ("approve", "rollback", "Request Cancellation"):
            await expect(page).to_contain_text(button)  # how to stop it
        await expect(await console.plan()).to_contain_text("50 % (gate) → 100 %")

        async with console.page.expect_popup() as opened:
            await page.get_by_role("link", name="ledger").click()
        canary = Console(await opened.value, console.address)
        page = await canary.details()
        await expect(page).to_contain_text(f"ledger {release.versions['ledger']}")
        await expect(page).to_contain_text("at 50 %")
        await expect(page).to_contain_text(QUESTION)
        await canary.canary("ledger")
        await expect(canary.timeline.filter(has_text="0 % → 50 %").first).to_be_visible()
        listed = await canary.attributes()
        for name, value in ((attributes.STATE, "gated"), (attributes.RELEASE, release.id)):
            await expect(listed).to_contain_text(name)
            await expect(listed).to_contain_text(value)

        await console.update("rollback", json.dumps({"by": "ann", "reason": "too many tickets"}))
        status = await ended(temporal, release)
        assert status.phase is ReleasePhase.ROLLED_BACK
        await console.release(release.id)
        page = await console.details()
        await expect(page).to_contain_text("rolled back by ann: too many tickets")


async def test_commands_from_the_page_are_obeyed_or_refused_with_a_reason(
    shop: Stack, temporal: Client, console: Console
) -> None:
    async with _asked_for(shop, temporal, "asked", "ledger") as release:
        await until(temporal, release, _ledger_asks)
        assert "the release is not paused" in await _refusal(console, release, "resume")

        await console.release(release.id)
        await console.update("pause", json.dumps({"by": "ann", "reason": "lunch"}))
        assert (await until(temporal, release, lambda now: now.paused)).paused
        await expect(await console.details()).to_contain_text("paused by ann: lunch")
        await console.signal("resume")
        await until(temporal, release, lambda now: not now.paused)

        await console.canary("ledger")
        await console.update("approve", json.dumps({"by": "bob", "reason": "nothing odd"}))
        assert (await ended(temporal, release)).phase is ReleasePhase.FINALIZED
        await console.release(release.id)
        await expect(await console.details()).to_contain_text("finalized")


async def test_cancelling_from_the_page_rolls_back(
    shop: Stack, temporal: Client, console: Console
) -> None:
    async with _asked_for(shop, temporal, "long", "cart") as release:
        await until(temporal, release, lambda now: phase(now, "cart") is CanaryPhase.BAKING)
        await console.release(release.id)
        await console.cancel()
        status = await ended(temporal, release)
        assert status.phase is ReleasePhase.ROLLED_BACK
        assert status.cause is not None
        assert status.cause.kind is CauseKind.CANCELLED
        await console.release(release.id)
        await expect(await console.details()).to_contain_text(status.cause.text)


async def test_a_finished_release_is_found_in_the_list_and_says_why_it_went_back(
    shop: Stack, temporal: Client, console: Console
) -> None:
    bad = {"inventory": Fault(error_rate=0.3)}
    async with _asked_for(shop, temporal, "long", "inventory", "cart", faults=bad) as release:
        status = await ended(temporal, release)
        assert status.cause is not None
        assert status.cause.kind is CauseKind.VERDICT

        found = await console.list(
            f"{attributes.STATE} = 'rolled_back' AND {attributes.CAUSE_SERVICE} = 'inventory' "
            "AND WorkflowType = 'aviary.release'"
        )
        link = found.filter(has_text=f"release/{release.id}")
        await expect(link).to_have_count(1)
        await expect(found.filter(has_text="release/")).to_have_count(1)
        await link.click()
        page = await console.details()
        await expect(page).to_contain_text("rolled back")
        await expect(page).to_contain_text(status.cause.text)
        await expect(page).to_contain_text("never started")  # cart
        await expect(page).to_contain_text("Nothing is left to decide")
        await console.release(release.id)
        # The result's first line, which is on the page without turning to any tab.
        await expect(console.page.locator("body")).to_contain_text("Rolled back after")
