"""How many requests left the lane of a release: what counts say of it, and where it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.cli.changes import Changes
from aviary.cli.tables import told
from aviary.cli.tree import Tree
from aviary.releases.sight import Sight
from aviary.report.page import render
from schemas.lane import LaneSpec
from schemas.lane_counts import LaneCounts, LaneSeen, seen_of
from schemas.live import Live
from schemas.release import CanaryPhase
from tests.unit.cli import looks
from tests.unit.release.test_pages import plan_of
from tests.unit.report.reading import Page
from tests.unit.report.sample import SHOP, timeline_of
from workflows import pages

T0 = datetime(2026, 1, 1, tzinfo=UTC)
IN_FRONT = {"back": ("front",), "front": ()}


def counts(
    weight: float,
    *,
    canary: int,
    stable: int,
    came: int = 0,
    at: float = 0,
    lasts: float = 60,
) -> LaneCounts:
    began = T0 + timedelta(seconds=at)
    until = began + timedelta(seconds=lasts)
    return LaneCounts(
        began_at=began, until=until, weight=weight, canary=canary, stable=stable, came=came
    )


FRONT = counts(50, canary=500, stable=500)


def back(*own: LaneCounts, front: LaneCounts = FRONT) -> LaneSeen:
    return seen_of({"back": own, "front": [front]}, IN_FRONT)["back"]


def test_what_comes_with_the_lane_has_not_left_it() -> None:
    seen = back(counts(20, canary=600, stable=400, came=500))
    assert seen == LaneSeen(came=500, given=100)
    assert seen.text == "500 requests came with the lane, 100 were given it"


def test_what_is_not_passed_on_crosses_by_the_hash_or_by_chance() -> None:
    seen = back(counts(20, canary=200, stable=800))
    assert seen == LaneSeen(
        came=0, given=200, lost=500, crossed_least=300, crossed_most=400, of=("front",)
    )
    assert seen.text == (
        "0 requests came with the lane, 200 were given it; about 500 from front came without, and "
        "300 to 400 crossed to stable"
    )


def test_with_one_weight_and_one_hash_none_need_cross() -> None:
    seen = back(counts(50, canary=500, stable=500))
    assert (seen.lost, seen.crossed_least, seen.crossed_most) == (500, 0, 250)
    assert "and 0 to 250 crossed to stable" in seen.text


def test_none_crosses_where_the_canary_has_all() -> None:
    seen = back(counts(100, canary=1000, stable=0))
    assert (seen.lost, seen.crossed_most) == (500, 0)
    assert seen.text.endswith("about 500 from front came without, and none crossed to stable")


def test_a_request_that_calls_only_now_and_then_has_lost_nothing() -> None:
    assert back(counts(20, canary=120, stable=180, came=150)).lost == 0
    assert back(counts(20, canary=60, stable=240)).lost == 150


def test_only_what_happened_at_the_same_time_is_held_against_each_other() -> None:
    before = counts(20, canary=200, stable=800, at=-60)
    touching = counts(20, canary=200, stable=800, at=60)
    assert back(before, touching) == LaneSeen(came=0, given=400)
    half = counts(20, canary=200, stable=800, at=30)
    assert back(half).lost == 250
    busy = counts(20, canary=200, stable=800, lasts=30)
    assert back(busy).lost == 250


def test_a_few_requests_say_nothing() -> None:
    few = counts(50, canary=9, stable=9)
    assert back(counts(20, canary=0, stable=18), front=few).lost == 0


def test_nobody_in_front_is_nobody_to_lose_it() -> None:
    both = {"back": [counts(20, canary=200, stable=800)], "front": [FRONT]}
    assert seen_of(both, {})["back"].lost == 0
    assert seen_of({"back": [], "front": [FRONT]}, IN_FRONT).keys() == {"front"}


WINDOWS = st.lists(
    st.builds(
        counts,
        st.integers(0, 100).map(float),
        canary=st.integers(0, 10**6),
        stable=st.integers(0, 10**6),
        came=st.integers(0, 10**6),
        at=st.floats(-100, 100),
        lasts=st.floats(0, 100),
    ),
    max_size=4,
)


@given(WINDOWS, WINDOWS)
def test_no_more_cross_than_were_lost_and_than_stable_got(
    own: list[LaneCounts], front: list[LaneCounts]
) -> None:
    seen = seen_of({"back": own, "front": front}, IN_FRONT).get("back", LaneSeen(came=0, given=0))
    assert 0 <= seen.crossed_least <= seen.crossed_most <= seen.lost + 1
    assert seen.crossed_most <= sum(one.stable for one in own)
    assert seen.lost <= sum(one.given for one in front) * max(len(own), 1) + 1
    assert seen.text
    assert (seen.of == ()) is (seen.lost == 0) or seen.lost == 0


def test_counts_are_numbers() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        counts(50, canary=-1, stable=0)


SEEN = LaneSeen(came=0, given=200, lost=500, crossed_least=300, crossed_most=400, of=("checkout",))
TOLD = "about 500 from checkout came without, and 300 to 400 crossed to stable"


def test_the_page_in_the_ui_says_it_first_of_the_service_that_most_left() -> None:
    quiet = [
        looks.service(name, CanaryPhase.BAKING, lane=LaneSeen(came=1, given=1)) for name in "abcd"
    ]
    loud = looks.service("payments", CanaryPhase.BAKING, lane=SEEN)
    status = looks.running().status.model_copy(update={"services": (*quiet, loud)})
    page = pages.release(status, plan_of(5), at=looks.NOW)
    (line,) = [one for one in page.split("\n\n") if one.startswith("**Lane:**")]
    assert line.startswith("**Lane:** payments: 0 requests came with the lane")
    assert TOLD in line
    assert line.endswith("; 2 more services.")
    assert "**Lane:**" not in pages.release(looks.running().status, plan_of(5), at=looks.NOW)


def test_watch_and_status_say_it_and_what_comes_now() -> None:
    look = looks.running()
    services = tuple(one.model_copy(update={"lane": SEEN}) for one in look.status.services)
    look = replace(look, status=look.status.model_copy(update={"services": services}))
    live = looks.live().model_copy(update={"lane": counts(25, canary=30, stable=70, came=12)})
    look = replace(look, sights={**look.sights, "checkout": Sight(live=live)})
    tree = " ".join(str(one).strip(" │") for one in Tree(200).lines(look, looks.NOW))
    assert "now 12 of 100 requests come with it; 0 requests came with the lane" in tree
    assert TOLD in tree
    assert any(TOLD in line for line in Changes().of(look))
    assert TOLD in told(look.status.services[0], None)
    assert Live.of(live.model_dump(mode="json")) == live


def test_the_details_of_a_canary_say_that_it_is_in_a_lane() -> None:
    plan = plan_of(1)
    without = pages.canary_details(plan, "s0", "run")
    inside = {"s0": plan.services["s0"].model_copy(update={"lane": LaneSpec(header="x-lane")})}
    within = pages.canary_details(plan.model_copy(update={"services": inside}), "s0", "run")
    assert within.startswith(without)
    assert "carries the release's lane (the header x-lane)" in within


def test_the_report_has_a_table_of_it_where_it_was_counted() -> None:
    timeline = timeline_of(SHOP)
    assert "Crossed to stable" not in render(timeline, looks.NOW)
    plans = {name: one.plan for name, one in timeline.services.items()}
    front = next(name for name, one in plans.items() if "ledger" in one.depends_on)
    found = {"ledger": counts(20, canary=200, stable=800), front: FRONT}
    plan = timeline.plan.model_copy(
        update={
            "services": {
                name: one.model_copy(update={"lane": LaneSpec()}) for name, one in plans.items()
            }
        }
    )
    services = {
        name: one.model_copy(
            update={
                "judgings": tuple(
                    each.model_copy(update={"lane": found.get(name) if at == 0 else None})
                    for at, each in enumerate(one.judgings)
                )
            }
        )
        for name, one in timeline.services.items()
    }
    page = Page(render(timeline.model_copy(update={"plan": plan, "services": services}), looks.NOW))
    assert f"about 500 from {front}" in page.text
    assert "300 to 400" in page.text
