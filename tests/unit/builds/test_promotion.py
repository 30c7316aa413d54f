"""Which build makes itself current, and when."""

from __future__ import annotations

from temporalio.common import WorkerDeploymentVersion

from aviary.builds.keeper import Own, wants_promotion
from aviary.builds.liveness import Liveness
from aviary.builds.server import Build, BuildState, Heartbeat, Routing

NEW = Build("b", BuildState.INACTIVE, activated=False)
OLD = Build("a", BuildState.CURRENT, activated=True)


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
