"""One run: run a release, kill the worker at a point, go on, and look at it from outside."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from adapters.routers.flagd.router import FlagdRouter
from aviary.audit.verify import verify
from schemas import ids
from schemas.release import CanaryPhase, ReleasePhase, ReleaseStatus
from schemas.route import Route
from tests.chaos.platform import kept
from tests.chaos.points import AfterEvent, InActivity, Point, every_point, kind
from tests.chaos.rows import Row
from tests.chaos.scenarios import DEPLOY, SCENARIOS, Running, Scenario, other
from tests.chaos.testbed import VERSIONS, Slot, Testbed

PART = "matrix"
WITHIN_S = 300.0
"""For a release to end, whatever was killed."""
_TOLD = {
    ReleasePhase.FINALIZED: "dev.aviary.release.finalized.v1",
    ReleasePhase.ROLLED_BACK: "dev.aviary.release.rolledback.v1",
}
_POLL_S = 0.02
_RETIRES_S = 60.0


@dataclass
class Recorded:
    """A scenario without a fault."""

    scenario: Scenario
    points: list[Point]
    row: Row


async def record(slot: Slot, scenario: Scenario) -> Recorded:
    """Run it once without a kill; the points are those of its histories and activity calls."""
    slot.calls.write_text("")
    running, row = await _run(slot, scenario, None)
    calls = Counter(slot.calls.read_text().split())
    points = list(every_point(running.histories, calls))
    return Recorded(scenario, points, row)


async def run(slot: Slot, scenario: Scenario, point: Point) -> Row:
    """Run it with one kill."""
    return (await _run(slot, scenario, point))[1]


async def run_all(testbed: Testbed, work: Sequence[tuple[Scenario, Point]]) -> list[Row]:
    """All of these, as many at once as there are slots."""
    queue: asyncio.Queue[tuple[Scenario, Point]] = asyncio.Queue()
    for item in work:
        queue.put_nowait(item)
    rows: list[Row] = []

    async def use(slot: Slot) -> None:
        while not queue.empty():
            scenario, point = queue.get_nowait()
            rows.append(await run(slot, scenario, point))
            mark = "good" if rows[-1].good else f"BROKEN {rows[-1].broken}"
            sys.stderr.write(f"{len(rows)}/{len(work)} {scenario.name} / {point}: {mark}\n")

    await asyncio.gather(*(use(slot) for slot in testbed.slots))
    return rows


async def record_all(testbed: Testbed, scenarios: Sequence[Scenario] = SCENARIOS) -> list[Recorded]:
    """All scenarios without a fault, side by side."""
    slots = testbed.slots
    found: list[Recorded] = []
    for start in range(0, len(scenarios), len(slots)):
        batch = scenarios[start : start + len(slots)]
        found += await asyncio.gather(
            *(record(slot, scenario) for slot, scenario in zip(slots, batch, strict=False))
        )
    return found


async def _run(slot: Slot, scenario: Scenario, point: Point | None) -> tuple[Running, Row]:
    before = await slot.routes()
    running = Running(slot, scenario, {name: route.stable for name, route in before.items()})
    row = Row(PART, scenario.name, kind(point), str(point or ""))
    began = time.monotonic()
    if isinstance(point, InActivity):
        slot.order.write_text(json.dumps({**point.plain(), "release": running.id}))
    killing = asyncio.create_task(_kill(running, point))
    try:
        async with asyncio.timeout(WITHIN_S):
            await running.begin()
            status: ReleaseStatus = await running.handle.result()
        row.outcome = status.phase.value
        row.struck = await _settle(killing)
        row.broken = await _invariants(running, status, before)
    except TimeoutError:
        row.struck = killing.done()
        row.broken = [f"not ended after {WITHIN_S:g} s: {running.histories}"]
    finally:
        row.seconds = round(time.monotonic() - began, 2)
        slot.order.unlink(missing_ok=True)
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        await running.finish()
    if not slot.alive:
        await slot.start_worker()
    return running, row


async def _settle(killing: asyncio.Task[None]) -> bool:
    """Whether the worker was killed; a kill at the last event may still be on its way."""
    done, _ = await asyncio.wait({killing}, timeout=0.2)
    for task in done:
        task.result()
    return bool(done)


async def _kill(running: Running, point: Point | None) -> None:
    """Kill the worker at the point, or see it kill itself; then start another."""
    slot = running.slot
    match point:
        case AfterEvent(history=history, number=number):
            await running.until(lambda: len(running.histories.get(history, [])) >= number)
            slot.kill()
        case _:
            pass
    while slot.alive:  # noqa: ASYNC110 - another process' end has no event to wait for
        await asyncio.sleep(_POLL_S)
    await slot.start_worker()


async def _invariants(
    running: Running, status: ReleaseStatus, before: dict[str, Route]
) -> list[str]:
    """What does not hold; asked of the router, of users, of Temporal and of Kafka."""
    slot, broken = running.slot, []
    if status.phase is not running.scenario.ends:
        broken.append(f"release: {status.phase}, expected {running.scenario.ends}: {status.cause}")
    forward = status.phase is ReleasePhase.FINALIZED
    for name, route in (await slot.routes()).items():
        was = before[name]
        version = other(was.stable) if forward else was.stable
        if (route.stable, route.canary, route.weight) != (version, None, 0):
            broken.append(f"{name}: {route}, expected {version} alone")
        served = await slot.served(name)
        if served != {version}:
            broken.append(f"{name}: users got {sorted(served)}, expected {version}")
        shrunk = slot.testbed.generations.shrunk.pop(slot.services[name], [])
        broken += [f"{name}: {text}" for text in shrunk]
        called = slot.testbed.evidence.called.pop(slot.services[name], set())
        if len(called) != (running.scenario.stage == "hook"):
            broken.append(f"{name}: {len(called)} calls of its hook that differ")
    phase = CanaryPhase.FINALIZED if forward else CanaryPhase.ROLLED_BACK
    allowed = {phase} if forward else {phase, CanaryPhase.SKIPPED}
    broken += [
        f"{one.service}: {one.phase} in a release that is {status.phase}"
        for one in status.services
        if one.phase not in allowed
    ]
    broken += [f"canary/{name} still runs" for name in await _open_canaries(running)]
    if running.has_flag:
        broken += await _flag(slot, "on" if forward else "off")
    if running.deploys:
        broken += [*slot.wrong, *await _instances(running)]
        await slot.pools()
    return broken + await _told_otherwise(running, status)


async def _instances(running: Running) -> list[str]:
    """Instances that nothing needs, or that are missing, once each retirement has ended."""
    slot, broken = running.slot, []
    async with asyncio.timeout(_RETIRES_S):
        while await _retiring(slot):
            if not slot.alive:
                await slot.start_worker()
            await asyncio.sleep(_POLL_S)
    platform = kept(slot.folder)
    for name, route in (await slot.routes()).items():
        service = slot.services[name]
        there = Counter(
            one.labels.version
            for one in platform["things"].values()
            if one.labels is not None and one.labels.service == service
        )
        ours = {
            version
            for (_, of, version), obeyed in platform["obeyed"].items()
            if of == service and not obeyed.down
        }
        expected = {route.stable: DEPLOY["instances"]} if route.stable in ours else {}
        if there != expected:
            broken.append(f"{name}: instances {dict(there)}, expected {expected}")
    return broken


async def _retiring(slot: Slot) -> bool:
    for service in slot.services.values():
        for version in VERSIONS:
            handle = slot.client.get_workflow_handle(ids.retire_workflow_id(service, version))
            if await _runs(handle):
                return True
    return False


async def _runs(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False


async def _flag(slot: Slot, variant: str) -> list[str]:
    """What users have of the flag otherwise than this variant."""
    route = await FlagdRouter(slot.flags, slot.flag).read(slot.flag)
    definition = json.loads(slot.flags.read_text())["flags"][slot.flag]
    found = (route.stable, route.canary, definition["defaultVariant"], definition["targeting"])
    expected: tuple[object, ...] = (variant, None, variant, {})
    return [] if found == expected else [f"{slot.flag}: {found}, expected {expected}"]


async def _open_canaries(running: Running) -> list[str]:
    found = []
    for name, service in running.names.items():
        if await _runs(running.slot.client.get_workflow_handle(ids.canary_workflow_id(service))):
            found.append(name)
    return found


async def _told_otherwise(running: Running, status: ReleaseStatus) -> list[str]:
    """The one end that `aviary.events` tells must be that of the release."""
    told = running.slot.testbed.told.types
    ends: list[str] = []
    for _ in range(250):
        ends = [kind for kind in told[running.id] if kind in _TOLD.values()]
        if ends:
            break
        await asyncio.sleep(_POLL_S)
    expected = [_TOLD[status.phase]]
    if ends != expected:
        return [f"events: told {ends}, expected {expected}"]
    (audit,) = verify({running.id: running.slot.testbed.told.links.links[running.id]})
    return [f"audit: {one.kind} {one.link}: {one.text}" for one in audit.found]
