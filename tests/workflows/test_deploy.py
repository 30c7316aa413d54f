"""Versions put up before anything is moved, and taken away after the route went back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from schemas.deploy_spec import DeploySpec
from schemas.deployment import InstanceState, Trouble
from schemas.event_kinds import EventType
from schemas.ids import SIGNAL_RETIRE, SIGNAL_ROLLBACK, retire_workflow_id
from schemas.release import CauseKind, ReleasePhase
from schemas.retiring import Retired, RetireInput
from schemas.route import Confirmation, Route
from schemas.router_spec import RouterSpec
from schemas.verdict import VerdictKind
from tests.workflows.kit import PATIENCE_S, World, eventually, with_deployer

SHORT = {"steps": [50], "bake": "1m"}
HOLD = {"steps": [50], "soak": "1h"}
ONE: dict[str, Sequence[str]] = {"cart": []}
ABOUT_INSTANCES = (
    EventType.CANARY_DEPLOYING,
    EventType.CANARY_PREPARED,
    EventType.CANARY_RETIRING,
)
CHAIN = {"ledger": [], "cart": ["ledger"]}


def up(world: World, service: str = "cart") -> dict[str, int]:
    """Ready instances of each version of a service."""
    found: dict[str, int] = {}
    for one in world.platform.things.values():
        if one.labels is not None and one.labels.service == world.service(service):
            ready = one.state is InstanceState.READY
            found[one.labels.version] = found.get(one.labels.version, 0) + ready
    return found


async def retired(world: World, version: str, service: str = "cart") -> Retired:
    """How the retirement of a version ended."""
    workflow_id = retire_workflow_id(world.service(service), version)
    handle = world.client.get_workflow_handle(workflow_id, result_type=Retired)
    async with asyncio.timeout(PATIENCE_S):
        end: Retired = await handle.result()
    return end


async def test_a_version_is_put_up_and_the_one_before_goes(world: World) -> None:
    first = await world.release(ONE, strategy=SHORT, **with_deployer())
    assert (await first.result()).phase is ReleasePhase.FINALIZED
    assert up(world) == {"2": 2}
    second = await world.release(ONE, strategy=SHORT, version="3", **with_deployer())
    assert (await second.result()).phase is ReleasePhase.FINALIZED
    end = await retired(world, "2")
    assert end.gone, end.text
    assert "3 took its place" in end.text
    assert up(world) == {"3": 2}
    assert world.router.into_nothing == []
    told = (await world.router.endpoints(world.service("cart")))[world.service("cart")]
    assert set(told) == {"3"}, "the router forgot the version that went"
    assert len(told["3"].endpoints) == 2


async def test_a_version_that_is_not_ready_in_time_fails_in_its_own_words(world: World) -> None:
    world.platform.give_trouble(
        world.service("cart"), "2", Trouble.CRASH_LOOP, "panic: no table orders", healthy=1
    )
    terms = with_deployer(scale="fixed", progress_deadline="500ms")
    release = await world.release(ONE, strategy=SHORT, **terms)
    status = await release.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert status.cause.kind is CauseKind.NOT_READY
    assert "not ready within 500ms: 1 of 2 instances" in status.cause.text
    assert "panic: no table orders" in status.cause.text
    assert world.router.applied == [], "no request was moved"
    assert up(world) == {}, "nothing is left of it"


async def test_how_instances_are_is_told_while_they_are_waited_for(world: World) -> None:
    service = world.service("cart")
    world.platform.give_trouble(service, "2", Trouble.PULL_FAILED, "no such image: cart:2")
    release = await world.release(ONE, strategy=SHORT, **with_deployer(scale="fixed"))

    async def told() -> bool:
        one = (await release.status()).services[0]
        return one.phase.value == "deploying" and "no such image: cart:2" in one.waits_for

    await eventually(told)
    assert "0 of 2 instances" in (await release.status()).services[0].waits_for
    world.platform.heal(service, "2")
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_going_back_writes_the_route_first_and_then_takes_the_instances(
    world: World,
) -> None:
    name = world.service("cart")
    seen: list[int] = []

    async def before(step: str) -> None:
        if step.startswith(f"drain {name}-2"):
            route = await world.router.read(name)
            seen.append(len(route.versions))

    world.platform.before = before
    release = await world.release(CHAIN, strategy=HOLD, **with_deployer())
    await release.until(ledger="holding", cart="holding")
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert up(world) == {}
    assert up(world, "ledger") == {}
    assert seen, "instances went"
    assert set(seen) == {1}, "the route named stable alone by then"
    assert world.router.into_nothing == []


async def test_a_version_that_failed_may_be_kept_for_a_look(world: World) -> None:
    world.judge.says[world.service("cart"), 50.0] = VerdictKind.FAIL
    release = await world.release(ONE, strategy=SHORT, **with_deployer(keep_failed="3s"))
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert up(world)["2"] > 0, "it is there for a look"
    end = await retired(world, "2")
    assert end.gone
    assert "went back, kept for 3s" in end.text
    assert up(world) == {}


async def test_a_version_that_is_released_again_is_not_taken_from_under_it(world: World) -> None:
    world.judge.says[world.service("cart"), 50.0] = VerdictKind.FAIL
    failed = await world.release(ONE, strategy=SHORT, **with_deployer(keep_failed="1h"))
    assert (await failed.result()).phase is ReleasePhase.ROLLED_BACK
    world.judge.says.clear()
    again = await world.release(ONE, strategy=HOLD, **with_deployer(scale="fixed"))
    await again.until(cart="holding")
    generation = max(one.generation for one in world.platform.obeyed.values())
    service = world.service("cart")
    order = RetireInput(
        release="r",
        service=service,
        version="2",
        router=RouterSpec(kind="memory"),
        deploy=DeploySpec(kind="memory"),
        generation=generation - 1,
        at=datetime.now(UTC),
        because="its hour is over",
    )
    waits = world.client.get_workflow_handle(retire_workflow_id(service, "2"))
    await waits.signal(SIGNAL_RETIRE, order)
    end = await retired(world, "2")
    assert not end.gone
    assert up(world) == {"2": 2}
    assert world.router.into_nothing == []


async def test_a_newer_order_takes_the_place_of_the_one_that_waits(world: World) -> None:
    world.judge.says[world.service("cart"), 50.0] = VerdictKind.FAIL
    for keep in ("1h", "1s"):
        release = await world.release(ONE, strategy=SHORT, **with_deployer(keep_failed=keep))
        assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert (await retired(world, "2")).gone
    assert up(world) == {}


async def test_stable_released_again_is_neither_put_up_nor_taken_down(world: World) -> None:
    ordered: list[int] = []
    for _ in range(2):
        release = await world.release(ONE, strategy=SHORT, **with_deployer())
        assert (await release.result()).phase is ReleasePhase.FINALIZED
        ordered.append(len(world.platform.steps))
    assert ordered[0] == ordered[1], "nothing was done the second time"
    assert up(world) == {"2": 2}


async def test_a_first_deployment_is_put_up_and_stays(world: World) -> None:
    world.router.forget(world.service("cart"))
    release = await world.release(ONE, strategy=HOLD, **with_deployer())
    await release.until(cart="holding")
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()
    assert up(world) == {"2": 2}, "there is nothing to go back to"


@pytest.mark.parametrize("where", ["deploying", "holding"])
async def test_a_canary_that_was_terminated_leaves_no_instance(world: World, where: str) -> None:
    service = world.service("cart")
    if where == "deploying":
        world.platform.give_trouble(service, "2", Trouble.PULL_FAILED, "slow")
    release = await world.release(ONE, strategy=HOLD, **with_deployer())
    await release.until(cart=where)
    await eventually(lambda: bool(world.platform.things))
    await release.canary("cart").terminate("pressed by mistake")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert up(world) == {}
    assert world.router.into_nothing == []


# --- how many, and when ---


async def test_a_canary_has_what_its_weight_needs_before_it_gets_it(world: World) -> None:
    sizes: list[tuple[float, int]] = []
    apply = world.router.apply

    async def noted(route: Route, over: Route | None = None) -> Confirmation:
        sizes.append((route.weight, up(world).get("2", 0)))
        return await apply(route, over)

    world.router.apply = noted  # type: ignore[method-assign]
    steps = {"steps": [10, 25, 60], "bake": "0s"}
    release = await world.release(ONE, strategy=steps, **with_deployer(instances=5))
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert sizes == [(10, 1), (25, 2), (60, 3), (100, 5), (0, 5)]


async def test_a_full_canary_has_as_many_as_stable(world: World) -> None:
    first = await world.release(ONE, strategy=SHORT, **with_deployer(instances=3))
    assert (await first.result()).phase is ReleasePhase.FINALIZED
    full = with_deployer(instances=1, scale="full")
    second = await world.release(ONE, strategy=HOLD, version="3", **full)
    await second.until(cart="holding")
    assert up(world) == {"2": 3, "3": 3}
    await second.handle.signal(SIGNAL_ROLLBACK)
    await second.result()
    assert up(world) == {"2": 3}


async def test_versions_put_up_ahead_wait_for_their_turn(world: World) -> None:
    world.judge.blocked.add((world.service("ledger"), 50.0))
    ahead = with_deployer(prepare="ahead")
    release = await world.release(CHAIN, strategy=SHORT, **ahead)
    await release.until(ledger="baking", cart="prepared")
    assert up(world) == {"2": 1}, "it is up while it waits"
    assert world.router.weights(world.service("cart")) == []
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert up(world) == {"2": 2}


async def test_versions_put_up_ahead_go_when_the_release_goes_back(world: World) -> None:
    world.judge.says[world.service("ledger"), 50.0] = VerdictKind.FAIL
    world.judge.blocked.add((world.service("ledger"), 50.0))
    release = await world.release(CHAIN, strategy=SHORT, **with_deployer(prepare="ahead"))
    await release.until(ledger="baking", cart="prepared")
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert up(world) == {}
    assert up(world, "ledger") == {}
    assert world.router.into_nothing == []
    told = [event.type for event in world.log.events if event.subject == world.service("cart")]
    assert [one for one in told if one in ABOUT_INSTANCES] == [*ABOUT_INSTANCES]
