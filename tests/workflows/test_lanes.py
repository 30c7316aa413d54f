"""The lane of a release: one for all of its canaries, and none before and after them."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from aviary.history.fetch import fetch_timeline
from aviary.report.page import render
from schemas.event_kinds import EventType
from schemas.lane import LaneSpec
from schemas.lane_counts import LaneCounts, LaneSeen
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


BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def _counts(weight: float, canary: int, stable: int, came: int = 0) -> LaneCounts:
    until = BEGAN + timedelta(minutes=weight)
    return LaneCounts(
        began_at=until - timedelta(minutes=1),
        until=until,
        weight=weight,
        canary=canary,
        stable=stable,
        came=came,
    )


async def test_a_release_says_how_many_requests_left_its_lane(world: World) -> None:
    payments, ledger = world.service("payments"), world.service("ledger")
    world.judge.lanes = {
        (ledger, 10.0): _counts(10, 100, 900),
        (ledger, 50.0): _counts(50, 900, 100, came=700),
        (payments, 10.0): _counts(10, 500, 500),
        (payments, 50.0): _counts(50, 700, 300),
    }
    release = await world.release(SHOP, lanes=True)
    services = {one.service: one for one in (await release.result()).services}
    lost = {"lost": 500, "crossed_least": 0, "crossed_most": 450, "of": (payments,)}
    assert services[ledger].lane == LaneSeen(came=700, given=300, **lost)
    assert services[payments].lane == LaneSeen(came=0, given=1200)
    seen = services[ledger].lane
    assert seen is not None
    assert f"500 from {payments} came without, and 0 to 450 crossed to stable" in seen.text
    # What the report reads is in the histories of the canaries.
    timeline = await fetch_timeline(world.client, release.handle.id.removeprefix("release/"))
    judged = [one.lane for one in timeline.services[ledger].judgings if one.lane is not None]
    assert judged == [world.judge.lanes[ledger, 10.0], world.judge.lanes[ledger, 50.0]]
    html = render(timeline, BEGAN)
    assert "about 500 from" in html
    told = [
        one.data["lane"]
        for one in world.log.events
        if one.type == EventType.EVIDENCE_MEASURED and one.data["service"] == ledger
    ]
    assert [one["came"] for one in told] == [0, 700]
