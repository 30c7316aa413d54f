"""The lane of a release: one for all of its canaries, and none before and after them."""

from __future__ import annotations

from collections import defaultdict

from schemas.lane import LaneSpec
from schemas.release import ReleasePhase
from tests.workflows.kit import World

SHOP: dict[str, list[str]] = {"ledger": [], "payments": ["ledger"]}


async def test_all_canaries_of_a_release_have_one_lane_which_goes_with_them(world: World) -> None:
    release = await world.release(SHOP, lanes=True)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    run = (await release.handle.describe()).run_id
    (owner,) = {route.owner for route in world.router.applied}
    lane = LaneSpec().of(owner, run)
    of_each = defaultdict(list)
    for route in world.router.applied:
        of_each[route.service].append(route.lane)
    assert len(of_each) == len(SHOP)
    assert all(each == [lane, lane, lane, None] for each in of_each.values())
