"""A ramp finds its own weights, and never goes on by silence."""

from __future__ import annotations

from schemas.ids import SIGNAL_APPROVE, SIGNAL_ROLLBACK
from schemas.release import CauseKind, ReleasePhase
from schemas.verdict import VerdictKind
from tests.workflows.kit import World

FAILURES = {"metrics": [{"kind": "ratio", "name": "errors", "bad": "b", "total": "t"}]}
RAMP = {"ramp": {"budget": 100, "interval": "1s"}}


async def test_a_ramp_follows_its_decisions_to_the_end(world: World) -> None:
    world.judge.ramp_weights = [0.5, 4, 4, 25]
    world.judge.says = {
        (world.service("a"), weight): VerdictKind.INCONCLUSIVE for weight in (0.5, 4, 25)
    }
    release = await world.release({"a": []}, strategy=RAMP, defaults=FAILURES)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(world.service("a")) == [0.5, 4, 25, 100, 0]
    carried = [request.evidence for request in world.judge.requests[:4]]
    assert carried == [None, {"steps": 1}, {"steps": 2}, {"steps": 3}]


async def test_a_bad_canary_on_a_ramp_goes_back(world: World) -> None:
    world.judge.ramp_weights = [0.5, 4, 25]
    world.judge.says[(world.service("a"), 4)] = VerdictKind.FAIL
    release = await world.release({"a": []}, strategy=RAMP, defaults=FAILURES)
    done = await release.result()
    assert done.cause is not None
    assert done.cause.kind is CauseKind.VERDICT
    assert world.router.weights(world.service("a")) == [0.5, 4, 0]


async def test_a_spent_budget_asks_a_person(world: World) -> None:
    world.judge.ramp_weights = [0.5, 0]
    release = await world.release({"a": []}, strategy=RAMP, defaults=FAILURES)
    status = await release.until(a="gated")
    assert status.services[0].weight == 0, "waiting costs nothing"
    assert world.router.weights(world.service("a")) == [0.5, 0]
    await release.handle.execute_update(SIGNAL_APPROVE)
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_ramp_over_its_time_goes_back_where_the_strategy_says_so(world: World) -> None:
    world.judge.ramp_weights = [0.5] * 100
    strategy = {
        "ramp": {"budget": 100, "interval": "1s", "hold_after": "1s"},
        "on_inconclusive": "roll_back",
    }
    world.judge.blocked.add((world.service("a"), 0.5))
    release = await world.release({"a": []}, strategy=strategy, defaults=FAILURES)
    await release.until(a="baking")
    world.judge.blocked.clear()
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK


async def test_a_ramp_can_be_taken_back_at_any_time(world: World) -> None:
    world.judge.ramp_weights = [0.5, 4]
    world.judge.blocked.add((world.service("a"), 4))
    release = await world.release({"a": []}, strategy=RAMP, defaults=FAILURES)
    await release.until(a="baking")
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert world.router.weights(world.service("a"))[-1] == 0
