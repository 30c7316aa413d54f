"""Which builds have workers, by heartbeats that change: no other host's clock counts."""

from __future__ import annotations

from aviary.builds.liveness import Liveness
from aviary.builds.server import Heartbeat

HEARTBEAT_S = 5.0


def heartbeat(build: str, at: int, *, running: bool = True, instance: str = "") -> Heartbeat:
    return Heartbeat(instance or f"worker of {build}", f"1@{build}", build, at, running)


def test_a_worker_lives_while_its_heartbeat_changes() -> None:
    live = Liveness(0, HEARTBEAT_S)
    for second in range(0, 60, 5):
        live.see([heartbeat("a", second)], second)
    assert live.builds(60) == {"a"}
    assert live.identities("a", 60) == {"1@a"}
    assert not live.gone("a", 60)


def test_a_worker_whose_heartbeat_stands_still_has_gone() -> None:
    live = Liveness(0, HEARTBEAT_S)
    for second in range(0, 60, 5):
        live.see([heartbeat("a", 1_000_000)], second)  # its clock is days ahead
    assert live.builds(20) == {"a"}
    assert live.gone("a", 21)
    assert live.silent_s("a", 60) == 60


def test_a_build_goes_sooner_when_its_last_worker_says_that_it_stops() -> None:
    live = Liveness(0, HEARTBEAT_S)
    live.see([heartbeat("a", 1, instance="one"), heartbeat("a", 1, instance="two")], 10)
    live.see(
        [heartbeat("a", 2, running=False, instance="one"), heartbeat("a", 1, instance="two")], 12
    )
    assert not live.gone("a", 18)
    live.see([heartbeat("a", 2, running=False, instance=one) for one in ("one", "two")], 20)
    assert live.builds(20) == frozenset()
    assert live.gone("a", 20), "its last sign of life is older than a heartbeat"


def test_a_build_that_was_never_heard_of_is_silent_since_the_observer_began() -> None:
    live = Liveness(100, HEARTBEAT_S)
    assert not live.gone("a", 120)
    assert live.gone("a", 121)


def test_a_build_that_comes_back_lives() -> None:
    live = Liveness(0, HEARTBEAT_S)
    live.see([heartbeat("a", 1)], 0)
    assert live.gone("a", 30)
    live.see([heartbeat("a", 2, instance="another")], 30)
    assert not live.gone("a", 30)
    assert live.silent_s("a", 31) == 1
