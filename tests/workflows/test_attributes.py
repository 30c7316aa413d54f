"""Search attributes: registered by whoever starts releases, and what lists find by them."""

from __future__ import annotations

import json
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.history.v1 import HistoryEvent
from temporalio.testing import WorkflowEnvironment

from activities.traffic import APPLY
from aviary.attributes import ensure_attributes
from schemas.ids import SIGNAL_ROLLBACK
from schemas.release import Command, ReleasePhase, Tuning
from schemas.verdict import VerdictKind
from tests.workflows.kit import QUICK, Release, World, eventually
from workflows.attributes import LIST_BYTES, fitting

CHAIN = {"ledger": [], "payments": ["ledger"]}
VISIBLE = Tuning.model_validate({**QUICK.model_dump(), "search_attributes": True})


async def test_a_release_rolled_back_because_of_a_service_is_one_query(
    server: WorkflowEnvironment, world: World
) -> None:
    assert await ensure_attributes(server.client)
    assert await ensure_attributes(server.client), "again is the same as once"
    payments, ledger = world.service("payments"), world.service("ledger")
    world.judge.says[(payments, 50)] = VerdictKind.FAIL
    bad = await world.release(CHAIN, tuning=VISIBLE)
    assert (await bad.result()).phase is ReleasePhase.ROLLED_BACK
    back = (
        f"AviaryState = 'rolled_back' AND AviaryCauseService = '{payments}' "
        "AND CloseTime > '2020-01-01T00:00:00Z'"
    )
    for query, found in {
        f"WorkflowType = 'aviary.release' AND {back}": [bad.handle.id],
        f"WorkflowType = 'aviary.canary' AND {back}": [f"canary/{payments}", f"canary/{ledger}"],
        f"AviaryService = '{ledger}' AND AviaryVerdict = 'FAIL'": [bad.handle.id],
        f"AviaryService = '{ledger}' AND AviaryCause = 'release'": [],
        f"AviaryCauseService = '{ledger}'": [],
        f"AviaryRelease = '{bad.handle.id.removeprefix('release/')}' AND AviaryVersion = '2' "
        "AND AviaryEnvironment = 'default' AND WorkflowType = 'aviary.release'": [bad.handle.id],
    }.items():
        await eventually(partial(_finds, world, query, found))


async def test_a_canary_is_listed_as_running_then_holding(
    server: WorkflowEnvironment, world: World
) -> None:
    ledger, release = await _begun(server, world)
    running = f"AviaryService = '{ledger}' AND WorkflowType = 'aviary.canary' AND AviaryState = "
    await eventually(lambda: _finds(world, f"{running}'running'", [f"canary/{ledger}"]))
    await release.until(ledger="baking")
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    await eventually(lambda: _finds(world, f"{running}'finalized'", [f"canary/{ledger}"]))


async def _begun(server: WorkflowEnvironment, world: World) -> tuple[str, Release]:
    """A release whose one service bakes until the judge is no longer blocked."""
    assert await ensure_attributes(server.client)
    ledger = world.service("ledger")
    world.judge.blocked.add((ledger, 10))
    strategy = {"steps": [10], "bake": "1m"}
    return ledger, await world.release({"ledger": []}, tuning=VISIBLE, strategy=strategy)


async def test_what_waits_for_a_person_is_one_query(
    server: WorkflowEnvironment, world: World
) -> None:
    assert await ensure_attributes(server.client)
    ledger = world.service("ledger")
    steps = [{"weight": 10, "gate": {"text": "look"}}]
    release = await world.release({"ledger": []}, tuning=VISIBLE, strategy={"steps": steps})
    gated = f"AviaryService = '{ledger}' AND AviaryState = 'gated'"
    await eventually(partial(_finds, world, gated, [f"canary/{ledger}"]))
    await release.canary("ledger").execute_update("approve")
    await eventually(partial(_finds, world, gated, []))
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_rollback_is_listed_by_a_task_after_the_one_that_orders_it(
    server: WorkflowEnvironment, world: World
) -> None:
    ledger, release = await _begun(server, world)
    await release.until(ledger="baking")
    world.router.broken.add(ledger)  # so that listing can't have waited for the write
    await release.handle.execute_update(SIGNAL_ROLLBACK, Command(by="ann"))
    await release.until(ledger="stuck")
    world.router.broken.clear()
    world.judge.blocked.clear()
    await release.result()
    events = [_told(one) async for one in release.canary("ledger").fetch_history_events()]
    forward, ordered, *_ = (place for place, one in enumerate(events) if one == APPLY)
    listed, stuck = events.index("rolling_back"), events.index("stuck")
    assert forward < ordered < events.index("task", ordered) < listed < stuck


async def test_without_the_attributes_a_release_goes_as_well(world: World) -> None:
    release = await world.release({"ledger": []})
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    events = (await release.handle.fetch_history()).events
    assert not [
        one for one in events if one.HasField("upsert_workflow_search_attributes_event_attributes")
    ]


@given(st.lists(st.text(min_size=1, max_size=300), max_size=200))
def test_a_list_always_fits(values: list[str]) -> None:
    kept = fitting(values)
    assert kept == list(dict.fromkeys(values))[: len(kept)]
    assert sum(len(one.encode()) for one in kept) <= LIST_BYTES


def _told(event: HistoryEvent) -> str:
    """What an event is, as far as it is of interest here."""
    if event.HasField("workflow_task_completed_event_attributes"):
        return "task"
    if event.HasField("activity_task_scheduled_event_attributes"):
        return event.activity_task_scheduled_event_attributes.activity_type.name
    fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes
    state = fields.indexed_fields.get("AviaryState")
    return str(json.loads(state.data)) if state else ""


async def _finds(world: World, query: str, found: list[str]) -> bool:
    listed = [one.id async for one in world.client.list_workflows(query)]
    return sorted(listed) == sorted(found)
