"""The drift check: what a terminated release and a terminated canary both left behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment

from activities.drift import DriftInput, DriftReport
from activities.leftover import InstanceCheck, deployed
from adapters.errors import Retryable
from adapters.ports import Part
from adapters.routers.memory.router import CAPABILITIES
from adapters.routers.several.router import several
from aviary.catalogs import make_catalog
from aviary.schedules import ensure_drift_schedule
from aviary.settings import Settings
from schemas.deployment import Trouble
from schemas.event_kinds import EventType, NoticeKind
from schemas.ids import DRIFT, SIGNAL_ROLLBACK, canary_workflow_id, retire_workflow_id
from schemas.release import ReleasePhase
from schemas.route import Route
from tests.workflows.kit import (
    METRIC,
    QUICK,
    RecordingRouter,
    Release,
    World,
    eventually,
    with_deployer,
)
from workflows.drift import DRIFT_WORKFLOW

HOLD = {"steps": [50], "soak": "1h"}
CHAIN = {"ledger": [], "payments": ["ledger"]}


class WatchedRouter(RecordingRouter):
    """Lets a test act just when the check reads a route."""

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: set[str] = set()
        self.reads = 0
        self.between_reads: Callable[[], Awaitable[None]] | None = None

    async def read(self, service: str) -> Route:
        if service in self.unreadable:
            raise Retryable("the router does not answer")
        self.reads += 1
        route = await super().read(service)
        if self.between_reads is not None:
            act, self.between_reads = self.between_reads, None
            await act()
        return route


class Drifting(World):
    """A world whose workers a test starts and stops."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.watched = WatchedRouter()
        self.router = self.watched
        self.before_verdict: Callable[[], Awaitable[None]] | None = None

    async def runs(self, workflow_id: str) -> bool:
        found = await super().runs(workflow_id)
        if self.before_verdict is not None and workflow_id.startswith("release/"):
            act, self.before_verdict = self.before_verdict, None
            await act()
        return found

    def add_to_catalog(self, *names: str) -> None:
        """Let the check know these services as well."""
        known = self.catalog.services if self.catalog else {}
        document = {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "metrics": [METRIC]},
            "services": {one: {} for one in [*known, *map(self.service, names)]},
        }
        self.catalog = make_catalog(document)


@pytest.fixture
def world(server: WorkflowEnvironment) -> Drifting:
    return Drifting(server.client)


NOW = DriftInput(tuning=QUICK, grace=timedelta(0))


async def check(world: Drifting, start: DriftInput = NOW) -> DriftReport:
    report: DriftReport = await world.client.execute_workflow(
        DRIFT_WORKFLOW,
        start,
        id=f"drift-{uuid4()}",
        task_queue=world.queue,
        result_type=DriftReport,
    )
    return report


async def abandon(world: Drifting) -> Release:
    """A release whose canaries have traffic and which nobody looks after any more."""
    async with world.working():
        release = await world.release(CHAIN, strategy=HOLD)
        await release.until(ledger="holding", payments="holding")
    # While no worker runs, so that neither gets to act on the other's end.
    await release.handle.terminate("pressed by mistake")
    for service in CHAIN:
        await release.canary(service).terminate("and that as well")
    return release


async def back(world: Drifting) -> None:
    """Wait for the canaries that take the chain back."""
    for service in map(world.service, CHAIN):
        await world.client.get_workflow_handle(canary_workflow_id(service)).result()
        route = await world.router.read(service)
        assert (route.stable, route.canary, route.weight) == ("0", None, 0)


async def test_traffic_that_a_terminated_release_and_canary_left_is_taken_back(
    world: Drifting,
) -> None:
    release = await abandon(world)
    held = await world.router.read(world.service("ledger"))
    assert (held.canary, held.weight) == ("2", 100)
    async with world.working():
        report = await check(world)
        found = sorted(world.short([one.route.service for one in report.found]))
        assert found == sorted(CHAIN)
        await back(world)
        assert (await check(world)).found == ()
    assert (await world.router.read(held.service)).generation > held.generation
    told = [one for one in world.log.events if one.type is EventType.DRIFT_FOUND]
    assert {one.subject for one in told} == {world.service(service) for service in CHAIN}
    assert {one.partitionkey for one in told} == {release.handle.id.removeprefix("release/")}
    assert [one.kind for one in world.notifier.notices].count(NoticeKind.DRIFT) == len(CHAIN)


async def test_the_canary_that_takes_back_is_the_lock_of_its_service(world: Drifting) -> None:
    await abandon(world)
    world.router.broken.add(world.service("ledger"))
    async with world.working():
        await check(world)
        again = await check(world)
        assert world.service("ledger") not in {one.route.service for one in again.found}
        world.router.broken.clear()
        await back(world)


async def test_nothing_is_found_while_canaries_run_and_the_history_is_short(
    world: Drifting,
) -> None:
    async with world.working():
        release = await world.release(CHAIN, strategy=HOLD)
        await release.until(ledger="holding", payments="holding")
        handle = await world.client.start_workflow(
            DRIFT_WORKFLOW, id=f"drift-{uuid4()}", task_queue=world.queue, result_type=DriftReport
        )
        report = await handle.result()
        assert (report.found, report.services) == ((), 2)
        assert (await handle.describe()).history_length <= 11
        assert world.router.last_back() == []


async def test_what_a_running_release_will_clean_up_is_left_to_it(world: Drifting) -> None:
    async with world.working():
        release = await world.release({"ledger": []}, strategy=HOLD)
        await release.until(ledger="holding")
        stray = Route.split(
            service=world.service("other"),
            stable="0",
            canary="2",
            weight=10,
            generation=1,
            owner=release.handle.id.removeprefix("release/"),
        )
        await world.router.apply(stray)
        world.add_to_catalog("other")
        report = await check(world)
    assert (report.found, report.left) == ((), (stray.service,))
    assert await world.router.read(stray.service) == stray


@pytest.mark.parametrize("owner", ["", "by hand"])
async def test_a_canary_that_no_release_wrote_is_not_ours_to_take_back(
    world: Drifting, owner: str
) -> None:
    world.add_to_catalog("ledger")
    name = world.service("ledger")
    by_hand = Route.split(
        service=name, stable="0", canary="9", weight=10, generation=1, owner=owner
    )
    await world.router.apply(by_hand)
    async with world.working():
        report = await check(world)
    assert (report.found, report.foreign) == ((), (name,))
    assert await world.router.read(name) == by_hand


async def test_a_router_that_does_not_answer_hides_no_other_drift(world: Drifting) -> None:
    await abandon(world)
    world.add_to_catalog("broken")
    world.watched.unreadable.add(world.service("broken"))
    async with world.working():
        report = await check(world)
        assert report.unreadable == (world.service("broken"),)
        assert report.said == ("the router does not answer",)
        assert len(report.found) == len(CHAIN)
        await back(world)


async def test_of_several_routers_it_names_those_with_the_canary_and_those_away(
    world: Drifting,
) -> None:
    world.add_to_catalog("ledger")
    name = world.service("ledger")
    edge, away = WatchedRouter(), WatchedRouter()
    parts = [
        Part("edge", edge.routing),
        Part("mesh", world.watched.routing),
        Part("gateway_api (shop-us)", away.routing),
    ]
    routing = several(parts, CAPABILITIES, judged=0, owns=False)
    world.router_for = lambda _: routing
    for one in (edge, world.watched, away):
        one.add_pool(name, "0")
        one.add_pool(name, "2")
        await one.register(name, "0")
    left = Route.split(name, "0", "2", 25, generation=1, owner="r-gone")
    await world.watched.apply(left)
    away.unreadable.add(name)
    async with world.working():
        (drift,) = (await check(world)).found
        assert (drift.routers, drift.away) == (("mesh",), ("gateway_api (shop-us)",))
        canary = world.client.get_workflow_handle(canary_workflow_id(name))
        away.unreadable.clear()
        await canary.result()
        assert (await world.watched.read(name)).canary is None
    (told,) = (one for one in world.notifier.notices if one.kind is NoticeKind.DRIFT)
    assert "2 had 25 % by mesh (gateway_api (shop-us): no answer)" in told.text


async def test_a_canary_that_ends_while_it_is_looked_for_is_no_drift(world: Drifting) -> None:
    world.add_to_catalog("ledger")
    name = world.service("ledger")
    held = Route.split(service=name, stable="0", canary="2", weight=50, generation=1, owner="r-1")
    await world.router.apply(held)

    async def finish() -> None:
        done = Route.split(service=name, stable="2", generation=2, owner="r-1")
        await world.router.apply(done)

    world.watched.between_reads = finish
    async with world.working():
        assert (await check(world)).found == ()


async def test_a_release_that_begins_meanwhile_keeps_its_canary(world: Drifting) -> None:
    world.add_to_catalog("ledger")
    name = world.service("ledger")
    left = Route.split(
        service=name, stable="0", canary="1", weight=10, generation=1, owner="r-gone"
    )
    await world.router.apply(left)
    # Asked last whether the old release runs: from then on nothing is read before the cure.
    begun: list[Release] = []

    async def begin() -> None:
        begun.append(await world.release({"ledger": []}, strategy=HOLD))
        await begun[0].until(ledger="holding")

    world.before_verdict = begin
    async with world.working():
        report = await check(world)
        assert [one.route for one in report.found] == [left]
        assert (await begun[0].status()).phase in {ReleasePhase.RUNNING, ReleasePhase.SOAKING}
    route = await world.router.read(name)
    assert (route.canary, route.weight) == ("2", 100)
    assert EventType.DRIFT_FOUND not in {one.type for one in world.log.events}


async def test_a_check_looks_on_until_there_is_something(world: Drifting) -> None:
    world.add_to_catalog("ledger")
    ledger = world.service("ledger")
    async with world.working():
        handle = await world.client.start_workflow(
            DRIFT_WORKFLOW,
            DriftInput(tuning=QUICK, every=timedelta(milliseconds=20)),
            id=f"drift-{uuid4()}",
            task_queue=world.queue,
            result_type=DriftReport,
        )
        await eventually(lambda: world.watched.reads > 2)
        left = Route.split(
            service=ledger, stable="0", canary="1", weight=10, generation=1, owner="r-gone"
        )
        world.router.add_pool(ledger, "1")
        await world.router.apply(left)
        assert [one.route for one in (await handle.result()).found] == [left]


async def test_the_schedule_is_made_once_keeps_a_pause_and_takes_a_new_interval(
    world: Drifting,
) -> None:
    client: Client = world.client
    settings = Settings(task_queue=world.queue, drift_every_s=3600)
    handle = client.get_schedule_handle(DRIFT)
    try:
        for _ in range(2):
            await ensure_drift_schedule(client, settings)
        await handle.pause(note="maintenance")
        await ensure_drift_schedule(client, settings.model_copy(update={"drift_every_s": 1800}))
        schedule = (await handle.describe()).schedule
        assert [spec.every for spec in schedule.spec.intervals] == [timedelta(seconds=1800)]
        assert (schedule.state.paused, schedule.state.note) == (True, "maintenance")
    finally:
        await handle.delete()


async def test_the_schedule_starts_checks_by_itself(world: Drifting) -> None:
    await abandon(world)
    await ensure_drift_schedule(world.client, Settings(task_queue=world.queue, drift_every_s=1))
    try:
        async with world.working():

            async def all_back() -> bool:
                routes = [await world.router.read(world.service(service)) for service in CHAIN]
                return all(route.canary is None for route in routes)

            await eventually(all_back)
            await back(world)
    finally:
        await world.client.get_schedule_handle(DRIFT).delete()


async def test_a_catalog_that_cannot_be_read_fails_the_check_and_says_so(
    world: Drifting,
) -> None:
    async with world.working():
        handle = await world.client.start_workflow(
            DRIFT_WORKFLOW, id=f"drift-{uuid4()}", task_queue=world.queue
        )

        async def said() -> bool:
            pending = (await handle.describe()).raw_description.pending_activities
            return any("no catalog" in one.last_failure.message for one in pending)

        await eventually(said)
        await handle.terminate()


# --- versions that are up ---


async def left_up(world: Drifting) -> str:
    """A version that was put up by a release which was terminated, and so was its canary."""
    async with world.working():
        terms = with_deployer()
        release = await world.release({"cart": []}, strategy=HOLD, **terms)
        world.platform.give_trouble(world.service("cart"), "2", Trouble.PULL_FAILED, "slow")
        await release.until(cart="deploying")
        await eventually(lambda: bool(world.platform.things))
    await release.handle.terminate("pressed by mistake")
    await release.canary("cart").terminate("and that as well")
    return world.service("cart")


async def test_a_version_that_nothing_needs_is_taken_down_and_told(world: Drifting) -> None:
    service = await left_up(world)
    async with world.working():
        patient = DriftInput(tuning=QUICK, grace=timedelta(hours=1))
        assert (await check(world, patient)).leftover == (), "a release may just be beginning"
        report = await check(world)
        assert [(one.service, one.version) for one in report.leftover] == [(service, "2")]
        handle = world.client.get_workflow_handle(retire_workflow_id(service, "2"))
        await handle.result()
        assert world.platform.things == {}
        assert (await check(world)).leftover == ()
    (told,) = [one for one in world.log.events if one.type is EventType.DRIFT_FOUND]
    assert "no route names it" in told.data["text"]
    assert [one.kind for one in world.notifier.notices].count(NoticeKind.DRIFT) == 1


async def test_a_version_that_is_needed_is_left_alone(world: Drifting) -> None:
    async with world.working():
        terms = with_deployer(keep_old="1h")
        first = await world.release({"cart": []}, strategy=HOLD | {"soak": "0s"}, **terms)
        await first.result()
        second = await world.release({"cart": []}, strategy=HOLD, version="3", **terms)
        await second.until(cart="holding")
        assert (await check(world)).leftover == (), "stable, and a canary"
        await second.handle.signal(SIGNAL_ROLLBACK)
        await second.result()
        third = await world.release(
            {"cart": []}, strategy=HOLD | {"soak": "0s"}, version="4", **terms
        )
        await third.result()
        assert (await check(world)).leftover == (), "the old one is kept for a while"
        assert {one.labels.version for one in world.platform.things.values() if one.labels} == {
            "2",
            "4",
        }


async def test_the_router_is_told_of_instances_that_moved(world: Drifting) -> None:
    async with world.working():
        terms = with_deployer()
        release = await world.release({"cart": []}, strategy=HOLD | {"soak": "0s"}, **terms)
        await release.result()
        service = world.service("cart")
        for one in world.platform.things.values():
            one.port += 1000
        catalog = world.known_catalog()
        check = InstanceCheck(world.router_for, lambda _: world.deployer, world.runs, timedelta(0))
        environment = ActivityEnvironment()
        await environment.run(check.refresh, deployed(catalog))
        told = (await world.router.endpoints(service))[service]["2"]
        assert {one.port for one in told.endpoints} == {
            one.port for one in world.platform.things.values()
        }
