"""A canary with a lease: renewed while its workflow lives, and what happens when it was lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from schemas.causes import CauseKind
from schemas.decisions import Heard
from schemas.ids import SIGNAL_APPROVE
from schemas.release import ReleasePhase
from schemas.route import Route
from tests.workflows.kit import World, eventually

LEASING: dict[str, Any] = {"defaults": {"router": {"kind": "leasing"}}}
STRATEGY = {"steps": [{"weight": 10, "gate": True}, 50], "lease": "6s"}
LEASE = timedelta(seconds=6)
WHY = "the sentinel took it back: no sign of life for 6s"


async def renewals(world: World, service: str) -> str:
    found = await world.router.leased([world.service(service)])
    return next((one.renewal for one in found.values()), "")


async def taken_back(world: World, service: str) -> Route:
    """What a sentinel does."""
    back = (await world.router.read(world.service(service))).given_back(WHY)
    await world.router.apply(back)
    return back


async def test_it_is_renewed_while_it_waits_for_a_person_and_no_history_grows(
    world: World,
) -> None:
    release = await world.release({"a": []}, strategy=STRATEGY, **LEASING)
    await release.until(a="gated")
    assert (await world.router.read(world.service("a"))).lease == LEASE
    before = (await release.canary("a").describe()).history_length
    seen = set[str]()

    async def thrice() -> bool:
        seen.add(await renewals(world, "a"))
        return len(seen - {""}) == 3

    await eventually(thrice)
    assert (await release.canary("a").describe()).history_length == before
    await release.canary("a").signal(SIGNAL_APPROVE)
    status = await release.result()
    assert status.phase is ReleasePhase.FINALIZED
    assert (await world.router.read(world.service("a"))).lease is None


async def test_a_canary_that_was_taken_back_ends_so_and_its_release_takes_the_rest_back(
    world: World,
) -> None:
    chain = {"ledger": [], "payments": ["ledger"], "shop": ["payments"]}
    release = await world.release(chain, strategy=STRATEGY, **LEASING)
    for service in chain:
        await release.until(**{service: "gated"})
        if service != "shop":
            await release.canary(service).signal(SIGNAL_APPROVE)
            await release.until(**{service: "holding"})
    back = await taken_back(world, "shop")
    written = len(world.router.applied)

    status = await release.result()

    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert (status.cause.kind, status.cause.text) == (CauseKind.LEASE, WHY)
    assert status.cause.service == world.service("shop")
    heard = [one.heard for one in (await release.canary_status("shop")).decisions]
    assert Heard.SENTINEL in heard
    assert await world.router.read(world.service("shop")) == back, "it is not fought"
    after = [route.service for route in world.router.applied[written:]]
    assert world.short(after) == ["payments", "ledger"]


async def test_a_step_that_comes_too_late_is_refused_and_says_what_the_sentinel_said(
    world: World,
) -> None:
    """Its keeper hears nothing: it looks again in 20 minutes."""
    strategy = {**STRATEGY, "lease": "1h"}
    release = await world.release({"a": []}, strategy=strategy, **LEASING)
    await release.until(a="gated")

    async def kept() -> bool:
        return bool(await renewals(world, "a"))

    await eventually(kept)
    back = await taken_back(world, "a")
    await release.canary("a").signal(SIGNAL_APPROVE)

    status = await release.result()

    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert (status.cause.kind, status.cause.text) == (CauseKind.LEASE, WHY)
    assert await world.router.read(world.service("a")) == back


async def test_without_a_lease_nothing_is_renewed(world: World) -> None:
    release = await world.release({"a": []}, strategy={**STRATEGY, "lease": "off"}, **LEASING)
    await release.until(a="gated")
    assert (await world.router.read(world.service("a"))).lease is None
    await release.canary("a").signal(SIGNAL_APPROVE)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert await renewals(world, "a") == ""
