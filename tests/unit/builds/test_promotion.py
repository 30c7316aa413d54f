"""Which build makes itself current, and when."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry
from temporalio.common import WorkerDeploymentVersion

from aviary.builds.keeper import Keeper, Own, wants_promotion
from aviary.builds.liveness import Liveness
from aviary.builds.server import Build, BuildState, Heartbeat, Routing

NEW = Build("b", BuildState.INACTIVE, activated=False)
OLD = Build("a", BuildState.CURRENT, activated=True)
NEW_A = Build("a", BuildState.INACTIVE, activated=False)
NOW_B = Build("b", BuildState.CURRENT, activated=True)


def own(build: str, *, promotes: bool = True) -> Own:
    return Own(WorkerDeploymentVersion("aviary", build), "1@host", promotes)


def lives(*builds: str, now: float = 0) -> Liveness:
    live = Liveness(0, 5)
    live.see([Heartbeat(one, one, one, 1) for one in builds], now)
    return live


def test_a_new_build_does_at_once() -> None:
    routing = Routing((NEW, OLD), current="a")
    assert wants_promotion(own("b"), routing, lives("a", "b"), 1)
    assert wants_promotion(own("b"), Routing((NEW,)), lives("b"), 1), "there is none yet"


def test_nobody_does_without_being_asked_where_a_person_promotes() -> None:
    routing = Routing((NEW, OLD), current="a")
    assert not wants_promotion(own("b", promotes=False), routing, lives("b"), 100)


def test_a_build_that_temporal_does_not_know_yet_waits() -> None:
    assert not wants_promotion(own("b"), Routing((OLD,), current="a"), lives("a"), 1)


def test_one_that_was_current_takes_nothing_back_from_its_successor() -> None:
    was = Build("a", BuildState.DRAINED, activated=True)
    now = Build("b", BuildState.CURRENT, activated=True)
    assert not wants_promotion(own("a"), Routing((now, was), current="b"), lives("a", "b"), 1)


def test_the_newest_with_workers_does_when_the_current_one_has_gone() -> None:
    builds = tuple(
        Build(one, BuildState.DRAINING, activated=True) for one in ("newest", "newer", "old")
    )
    routing = Routing((*builds, OLD), current="a")
    live = lives("newer", "old", now=30)
    assert [
        one for one in ("newest", "newer", "old") if wants_promotion(own(one), routing, live, 31)
    ] == ["newer"]
    assert not wants_promotion(own("newer"), routing, lives("newer", now=10), 11), "not gone yet"


def test_after_a_return_to_workers_without_builds_none_does() -> None:
    was = Build("a", BuildState.DRAINING, activated=True)
    assert not wants_promotion(own("a"), Routing((was,)), lives("a"), 100)


class Forgetful:
    """A deployment whose builds Temporal says what it likes of."""

    def __init__(self, *routings: Routing) -> None:
        self.routings = list(routings)
        self.promoted: list[str] = []

    async def heartbeats(self) -> tuple[()]:
        return ()

    async def routing(self) -> Routing:
        return self.routings.pop(0) if len(self.routings) > 1 else self.routings[0]

    async def promote(self, build_id: str) -> None:
        self.promoted.append(build_id)

    async def pinned_to(self, _: str) -> int:
        return 0


@pytest.mark.parametrize(
    "before",
    [(Routing((OLD,), current="a"),), (Routing((NEW_A,)), Routing((OLD,), current="a"))],
    ids=["found current", "made current"],
)
async def test_what_was_current_takes_nothing_back_whatever_temporal_says_of_it(
    before: tuple[Routing, ...],
) -> None:
    after = Routing((NEW_A, NOW_B), current="b")
    deployment: Any = Forgetful(*before, after)
    keeper = Keeper(deployment, own("a"), Mock(), CollectorRegistry())
    for _ in range(4):
        await keeper.look()
    assert deployment.promoted == ["a"][: len(before) - 1]
    late: Any = Forgetful(after)
    await Keeper(late, own("a"), Mock(), CollectorRegistry()).look()
    assert late.promoted == ["a"], "a process that never saw it current believes Temporal"
