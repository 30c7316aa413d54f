"""Record the histories that `test_replay.py` replays: `python -m tests.replay.record [NAME…]`.

Record anew only when a change of the workflows is meant to break running releases, and say so in
the commit: a worker with the new code could not go on with releases of the old.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from aviary.attributes import ensure_attributes
from schemas.deployment import Trouble
from schemas.event_kinds import EventType
from schemas.ids import (
    SIGNAL_APPROVE,
    SIGNAL_PAUSE,
    SIGNAL_RESUME,
    SIGNAL_SKIP,
    admission_workflow_id,
    retire_workflow_id,
)
from schemas.release import Command, ReleasePhase
from schemas.verdict import VerdictKind
from tests.workflows.kit import QUICK, Release, World, eventually, with_deployer

FOLDER = Path(__file__).parent / "histories"
CHAIN = {"ledger": [], "payments": ["ledger"]}
HOLD = {"steps": [50], "soak": "1h"}
VISIBLE = QUICK.model_copy(update={"search_attributes": True, "report": True})
"""All that costs events is in the histories."""
ANN = Command(by="ann", reason="recorded")


async def healthy(world: World) -> Release:
    release = await world.release(CHAIN)
    await release.result()
    return release


async def judged_bad(world: World) -> Release:
    world.judge.says[(world.service("payments"), 50)] = VerdictKind.FAIL
    release = await world.release(CHAIN)
    await release.result()
    return release


async def alert_during_a_bake(world: World) -> Release:
    world.judge.blocked.add((world.service("payments"), 10))
    release = await world.release(CHAIN)
    await release.until(payments="baking")
    await release.alert("payments")
    await release.result()
    return release


async def alert_while_holding(world: World) -> Release:
    release = await world.release(CHAIN, strategy=HOLD)
    await release.until(ledger="holding", payments="holding")
    await release.alert("ledger")
    await release.result()
    return release


async def told_by_a_person(world: World) -> Release:
    gate = {"steps": [{"weight": 10, "gate": "go on?"}, 50], "bake": "1m"}
    world.judge.blocked.add((world.service("ledger"), 10))
    release = await world.release({"ledger": []}, strategy=gate)
    await release.until(ledger="baking")
    await release.handle.execute_update(SIGNAL_PAUSE, ANN)
    await release.handle.execute_update(SIGNAL_SKIP, ANN)
    await release.until(ledger="gated")
    await release.handle.execute_update(SIGNAL_APPROVE, ANN)
    await release.until(ledger="paused")
    await release.handle.execute_update(SIGNAL_RESUME, ANN)
    await release.result()
    return release


async def cancelled(world: World) -> Release:
    release = await world.release(CHAIN, strategy=HOLD)
    await release.until(ledger="holding", payments="holding")
    await release.handle.cancel()
    await release.result()
    return release


async def queued(world: World) -> Release:
    world.judge.blocked.add((world.service("ledger"), 10))
    first = await world.release(CHAIN)
    await first.until(ledger="baking")
    second = await world.release({"ledger": []}, version="3")
    await in_phase(second, ReleasePhase.QUEUED)
    await eventually(lambda: EventType.RELEASE_QUEUED in {one.type for one in world.log.events})
    world.judge.blocked.clear()
    await first.result()
    await second.result()
    return second


async def in_step(world: World) -> Release:
    """Two that need each other: one is ahead at each step."""
    seat, travel = world.service("seat"), world.service("travel")
    world.judge.blocked |= {(travel, 10), (seat, 50)}
    release = await world.release({"seat": ["travel"], "travel": ["seat"]})
    await release.until(seat="in_step", travel="baking")
    world.judge.blocked.discard((travel, 10))
    await release.until(seat="baking", travel="in_step")
    world.judge.blocked.clear()
    await release.result()
    return release


async def deployed(world: World) -> Release:
    """A version that is put up, grows, and takes the place of another that was put up."""
    terms = with_deployer(prepare="ahead")
    first = await world.release({"ledger": []}, **terms)
    await first.result()
    second = await world.release({"ledger": []}, version="3", **terms)
    await second.result()
    await retirement(world).result()
    return second


async def not_ready(world: World) -> Release:
    """A version that is not ready in time, and is taken away again."""
    world.platform.give_trouble(world.service("ledger"), "2", Trouble.CRASH_LOOP, "panic")
    release = await world.release({"ledger": []}, **with_deployer(progress_deadline="500ms"))
    await release.result()
    return release


def retirement(world: World) -> WorkflowHandle[Any, Any]:
    """What takes the version down that was stable."""
    return world.client.get_workflow_handle(retire_workflow_id(world.service("ledger"), "2"))


async def in_phase(release: Release, phase: ReleasePhase) -> None:
    async def there() -> bool:
        return (await release.status()).phase is phase

    await eventually(there)


SCENARIOS: tuple[Callable[[World], Awaitable[Release]], ...] = (
    healthy,
    judged_bad,
    alert_during_a_bake,
    alert_while_holding,
    told_by_a_person,
    cancelled,
    queued,
    in_step,
    deployed,
    not_ready,
)


async def main(chosen: Sequence[Callable[[World], Awaitable[Release]]]) -> None:
    FOLDER.mkdir(exist_ok=True)
    temporal = Path(sys.executable).parent / "temporal"
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(temporal), data_converter=pydantic_data_converter
    ) as server:
        await ensure_attributes(server.client)
        for scenario in chosen:
            world = World(server.client)
            world.tuning = VISIBLE
            async with world.working():
                release = await scenario(world)
                status = await release.status()
            handles = [release.handle]
            handles += [
                server.client.get_workflow_handle(f"canary/{one.service}")
                for one in status.services
                if one.stable is not None
            ]
            if scenario is queued:
                admission = admission_workflow_id(world.queue)
                handles.append(server.client.get_workflow_handle(admission))
            if scenario is deployed:
                handles.append(retirement(world))
            for handle in handles:
                history = await handle.fetch_history()
                kind = handle.id.split("/")[0]
                name = world.short([handle.id.split("/")[1]])[0]
                tail = f".{name}" if kind in {"canary", "retire"} else ""
                path = FOLDER / f"{scenario.__name__}.{kind}{tail}.json"
                path.write_text(history.to_json() + "\n")
                sys.stdout.write(f"{path.name}: {len(history.events)} events\n")


if __name__ == "__main__":
    asyncio.run(main([one for one in SCENARIOS if one.__name__ in sys.argv[1:]] or SCENARIOS))
    sys.stdout.flush()
    os._exit(0)  # the SDK may abort in a process that ends right after its workers
