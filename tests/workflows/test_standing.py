"""Rollbacks to a version that is down, first deployments, and what a person may keep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from temporalio.client import WorkflowUpdateFailedError

from activities.standing import LOOK_POLICY
from adapters.errors import Terminal
from schemas.alert import Alert, AlertStatus
from schemas.event_kinds import EventType, NoticeKind
from schemas.ids import SIGNAL_ALERT, SIGNAL_KEEP, SIGNAL_PAUSE, SIGNAL_RESUME, SIGNAL_ROLLBACK
from schemas.release import CanaryPhase, Command, ReleasePhase
from schemas.route import Health, Route
from tests.workflows.kit import Release, World, eventually

SOAKING = {"steps": [50], "soak": "1h"}
PAIR = {"ledger": [], "checkout": ["ledger"]}


async def stranded(world: World, release: Release, service: str) -> str:
    """Wait until a service is stuck for want of healthy instances; what it waits for."""

    async def there() -> bool:
        status = await release.status()
        return any(
            one.service == world.service(service) and SIGNAL_KEEP in one.ends_by
            for one in status.services
        )

    await eventually(there)
    status = await release.status()
    return next(one.waits_for for one in status.services if one.service == world.service(service))


async def test_a_rollback_to_nothing_is_stuck_and_told_and_ends_when_stable_is_back(
    world: World,
) -> None:
    name = world.service("a")
    release = await world.release({"a": []}, strategy=SOAKING)
    await release.until(a="holding")
    world.router.unhealthy.add((name, "0"))
    await release.handle.signal(SIGNAL_ROLLBACK)
    waits_for = await stranded(world, release, "a")
    assert "0 to have a healthy instance" in waits_for
    assert "0 has 0 healthy instances of 2; 2 has 2 healthy instances of 2" in waits_for
    assert "`keep` gives 2 all requests instead" in waits_for
    assert (await release.phases())["a"] == "stuck"
    assert (await world.router.read(name)).canary is None, "the route was written all the same"
    await eventually(
        lambda: any(
            notice.kind is NoticeKind.STUCK and "keep" in notice.text
            for notice in world.notifier.notices
        )
    )
    world.router.unhealthy.clear()
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert (await release.phases())["a"] == "rolled_back"


async def test_a_person_keeps_the_new_version_as_the_lesser_evil(world: World) -> None:
    ledger, checkout = world.service("ledger"), world.service("checkout")
    release = await world.release(PAIR, strategy=SOAKING)
    await release.until(ledger="holding", checkout="holding")
    world.router.unhealthy.add((checkout, "0"))
    await release.handle.signal(SIGNAL_ROLLBACK)
    await stranded(world, release, "checkout")
    await release.until(ledger="rolled_back")  # nobody waits for one that has no traffic
    command = Command(by="ann", reason="errors beat nothing", service=checkout)
    answer = await release.handle.execute_update(SIGNAL_KEEP, command)
    assert "kept by ann: errors beat nothing" in answer

    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert await release.phases() == {"ledger": "rolled_back", "checkout": "finalized"}
    kept = next(one for one in done.services if one.service == checkout)
    assert kept.weight == 100
    assert kept.cause is not None
    assert kept.cause.text.startswith("kept by ann: errors beat nothing rather than going back")
    assert (await world.router.read(checkout)).stable == "2"
    assert (await world.router.read(ledger)).stable == "0"
    told = [event.type for event in world.log.events if event.subject == checkout]
    assert EventType.CANARY_FINALIZED in told
    assert EventType.CANARY_ROLLEDBACK not in told


async def test_keep_is_refused_where_nothing_is_to_be_kept(world: World) -> None:
    release = await world.release(PAIR, strategy=SOAKING)
    await release.until(ledger="holding", checkout="holding")
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await release.handle.execute_update(SIGNAL_KEEP, Command(by="ann"))
    assert "no rollback waits for a healthy instance" in str(caught.value.cause)
    world.router.unhealthy |= {(world.service(one), "0") for one in PAIR}
    await release.handle.signal(SIGNAL_ROLLBACK)
    await stranded(world, release, "checkout")
    await stranded(world, release, "ledger")
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await release.handle.execute_update(SIGNAL_KEEP, Command(by="ann"))
    assert "each a decision of its own" in str(caught.value.cause)
    world.router.unhealthy.clear()
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


async def test_stable_that_dies_after_it_got_everything_is_found(world: World) -> None:
    name = world.service("a")
    release = await world.release({"a": []}, strategy=SOAKING)
    await release.until(a="holding")
    world.router.dies_under_load.add((name, "0"))
    await release.handle.signal(SIGNAL_ROLLBACK)
    await stranded(world, release, "a")
    await release.canary("a").execute_update(SIGNAL_KEEP, Command(by="ann"))
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert (await world.router.read(name)).stable == "2"


async def test_a_router_that_cannot_tell_delays_no_rollback(world: World) -> None:
    release = await world.release({"a": []}, strategy=SOAKING)
    await release.until(a="holding")
    world.router.blind = True
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert (await release.phases())["a"] == "rolled_back"


# --- first deployments ---


async def test_a_service_without_a_route_is_deployed_first(world: World) -> None:
    first = world.service("checkout")
    world.router.unrouted.add(first)
    release = await world.release(PAIR)
    done = await release.result()
    assert done.phase is ReleasePhase.FINALIZED
    route = await world.router.read(first)
    assert (route.stable, route.canary, route.owner) == ("2", None, done.release)
    assert [request.service for request in world.judge.requests].count(first) == 0
    assert world.router.weights(world.service("ledger")) == [10, 50, 100, 0]


async def test_a_first_deployment_waits_for_a_healthy_instance(world: World) -> None:
    name = world.service("a")
    world.router.unrouted.add(name)
    world.router.unhealthy.add((name, "2"))
    release = await world.release({"a": []})

    async def told() -> bool:
        waits_for = (await release.status()).services[0].waits_for
        return "has no route yet" in waits_for and "2 to have a healthy instance" in waits_for

    await eventually(told)
    assert name in world.router.unrouted
    world.router.unhealthy.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_route_that_is_missing_for_a_moment_is_no_first_deployment(world: World) -> None:
    name = world.service("a")
    world.router.unrouted.add(name)
    tuning = world.tuning.model_copy(update={"absent_for": world.tuning.absent_for * 1000})
    release = await world.release({"a": []}, tuning=tuning)

    async def told() -> bool:
        return "has no route yet" in (await release.status()).services[0].waits_for

    await eventually(told)
    world.router.unrouted.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(name) == [10, 50, 100, 0]


async def test_a_first_deployment_has_nothing_to_go_back_to_and_says_so(world: World) -> None:
    first = world.service("checkout")
    world.router.unrouted.add(first)
    release = await world.release(PAIR, strategy=SOAKING)
    await release.until(ledger="holding", checkout="holding")
    await release.alert("checkout")
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert await release.phases() == {"ledger": "rolled_back", "checkout": "finalized"}
    stays = next(one for one in done.services if one.service == first)
    assert stays.cause is not None
    assert "nothing is to go back to" in stays.cause.text
    assert stays.phase is CanaryPhase.FINALIZED
    assert (await world.router.read(first)).stable == "2"


async def test_a_first_deployment_that_goes_back_before_it_began_leaves_no_route(
    world: World,
) -> None:
    name = world.service("a")
    world.router.unrouted.add(name)
    world.router.unhealthy.add((name, "2"))
    release = await world.release({"a": []})
    await release.until(a="preflight")
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert name in world.router.unrouted


async def test_a_first_route_whose_answer_was_lost_is_told_as_one_that_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, given = world.service("a"), world.router.register
    world.router.unrouted.add(name)

    async def lost(service: str, stable: str) -> Route:
        first = service in world.router.unrouted
        route = await given(service, stable)
        if first:
            raise Terminal("broken, but done")
        return route

    monkeypatch.setattr(world.router, "register", lost)
    release = await world.release({"a": []})
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert await release.phases() == {"a": "finalized"}
    assert (await world.router.read(name)).stable == "2"


async def test_a_route_that_was_there_when_the_release_began_makes_no_first_deployment(
    world: World,
) -> None:
    name, ledger = world.service("checkout"), world.service("ledger")
    world.judge.blocked.add((ledger, 10))
    release = await world.release(PAIR)
    await release.until(ledger="baking")
    world.router.forget(name)
    world.judge.blocked.clear()

    async def told() -> bool:
        status = await release.status()
        return any("had when the release began" in one.waits_for for one in status.services)

    await eventually(told)
    world.router.missed.clear()
    await eventually(lambda: world.router.missed.count(name) >= 4)  # for longer than `absent_for`
    assert name in world.router.unrouted
    world.router.unrouted.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(name) == [10, 50, 100, 0]


async def test_the_wait_for_such_a_route_ends_with_the_release(world: World) -> None:
    name, ledger = world.service("checkout"), world.service("ledger")
    world.judge.blocked.add((ledger, 10))
    release = await world.release(PAIR)
    await release.until(ledger="baking")
    world.router.forget(name)
    world.judge.blocked.clear()
    await release.until(checkout="preflight")
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert name in world.router.unrouted
    assert world.router.last_back() == [ledger]


async def test_no_look_at_instances_holds_up_what_the_service_depends_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, checkout = world.service("ledger"), world.service("checkout")
    release = await world.release(PAIR, strategy=SOAKING)
    await release.until(ledger="holding", checkout="holding")
    looked, answer, told = asyncio.Event(), asyncio.Event(), world.router.instances

    async def hangs(service: str) -> Mapping[str, Health] | None:
        if service == checkout:
            looked.set()
            await answer.wait()
        return await told(service)

    monkeypatch.setattr(world.router, "instances", hangs)
    began = time.monotonic()
    await release.handle.signal(SIGNAL_ROLLBACK)
    await eventually(lambda: world.router.last_back()[-2:] == [checkout, ledger])
    took = time.monotonic() - began
    await eventually(looked.is_set)  # the look may come after the route of the other
    assert LOOK_POLICY.schedule_to_close is not None
    assert took < LOOK_POLICY.schedule_to_close.total_seconds()
    answer.set()
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


async def test_a_pause_holds_a_first_deployment_before_its_first_request(world: World) -> None:
    name = world.service("a")
    world.router.unrouted.add(name)
    world.router.unhealthy.add((name, "2"))
    release = await world.release({"a": []})
    await eventually(lambda: waits(release, "has no route yet"))
    # To the canary itself: through the release it would race with the instance that is healthy now.
    pause = Command(by="ann")
    await eventually(lambda: release.canary("a").execute_update(SIGNAL_PAUSE, pause))
    world.router.unhealthy.clear()
    await release.until(a="paused")
    assert name in world.router.unrouted
    await release.canary("a").execute_update(SIGNAL_RESUME, Command(by="ann"))
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert (await world.router.read(name)).stable == "2"


async def test_an_alert_that_comes_while_a_first_deployment_waits_holds_it_back(
    world: World,
) -> None:
    name = world.service("a")
    world.router.unrouted.add(name)
    world.router.unhealthy.add((name, "2"))
    release = await world.release({"a": []})
    await eventually(lambda: waits(release, "has no route yet"))
    alert = Alert(
        status=AlertStatus.FIRING,
        fingerprint="1",
        labels={"alertname": "Latency", "service": name},
        starts_at=datetime.now(UTC),
    )
    world.alerts.alerts = [alert]
    await release.canary("a").signal(SIGNAL_ALERT, alert)
    world.router.unhealthy.clear()
    await eventually(lambda: waits(release, "Latency"))
    assert name in world.router.unrouted
    world.alerts.alerts = []
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert (await world.router.read(name)).stable == "2"


async def waits(release: Release, what: str) -> bool:
    return what in (await release.status()).services[0].waits_for
