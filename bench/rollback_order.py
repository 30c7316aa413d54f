"""A whole release back: chains of services, and many side by side (item 3).

The router is in memory, so that what is measured is the way through Temporal; what Envoy adds to
each level is a router's write (see shifting).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from activities.traffic import APPLY
from bench import bare, testbed
from bench.figures import Figure, Spec
from bench.floor import bare_process
from bench.testbed import Testbed
from schemas import ids
from schemas.release import CanaryPhase, Command, ReleaseStatus

_FLOOR: Final = "as many bare hops: signal, one activity, signal back"
CHAINS: Final = {
    depth: Spec(f"whole release back, depth {depth}", "ms", _FLOOR) for depth in (1, 5, 20)
}
WIDE: Final = Spec("whole release back, width 50", "ms", _FLOOR)
SPECS: Final = (*CHAINS.values(), WIDE)
WIDTH: Final = 50
HOPS: Final = (
    "release orders, canary is told",
    "canary's workflow task",
    "route's activity begins",
    "route's activity",
    "canary reports, release hears",
)
QUICK: Final = {1: 5, 5: 5, 20: 2, WIDTH: 1}
LONG: Final = {1: 50, 5: 20, 20: 10, WIDTH: 5}
SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
_STARTED = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
_ORDERED = EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
_CHILD = EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED


@dataclass
class Back:
    """One release that went back."""

    took: float
    levels: list[dict[str, float]]
    """Hops of each service."""


async def aviary(here: Testbed, release: str, services: Sequence[str]) -> Back:
    """One release, from the order until the router confirmed the last service's way back."""
    handle = await testbed.begin(here, release, dict.fromkeys(services, "2"))
    await testbed.until(handle, _all_hold, every=0.2)
    await handle.signal(ids.SIGNAL_ROLLBACK, Command(by="bench"))
    await handle.result()
    history = await testbed.events(here.client, handle.id)
    canaries = {
        workflow: await testbed.events(here.client, workflow, run)
        for workflow, run in await _children(here, handle.id)
    }
    told = await _told(here, handle.id, ids.SIGNAL_ROLLBACK)
    return Back(
        took=1000 * (max(last_end(events, APPLY) for events in canaries.values()) - told),
        levels=[level_hops(history, name, events) for name, events in canaries.items()],
    )


def level_hops(
    release: Sequence[HistoryEvent], canary: str, events: Sequence[HistoryEvent]
) -> dict[str, float]:
    """Milliseconds of each hop of one service's way back; of one that goes back after others."""
    ordered = next(
        testbed.moment(event)
        for event in release
        if event.event_type == _ORDERED
        and _order(event).signal_name == ids.SIGNAL_ORDER_ROLLBACK
        and _order(event).workflow_execution.workflow_id == canary
    )
    told = next(
        testbed.moment(event)
        for event in events
        if event.event_type == SIGNALED
        and event.workflow_execution_signaled_event_attributes.signal_name
        == ids.SIGNAL_ORDER_ROLLBACK
    )
    written = [event for event in events if testbed.moment(event) >= told]
    scheduled = next(event for event in written if event.event_type == _SCHEDULED)
    begun = next(event for event in written if event.event_type == _STARTED)
    ended = last_end(events, APPLY)
    heard = next(
        testbed.moment(event)
        for event in release
        if event.event_type == SIGNALED
        and testbed.moment(event) >= ended
        and f'"{ids_service(canary)}"'.encode() in _payload(event)
    )
    at = (ordered, told, testbed.moment(scheduled), testbed.moment(begun), ended, heard)
    return dict(zip(HOPS, [1000 * (b - a) for a, b in pairwise(at)], strict=True))


def ids_service(canary: str) -> str:
    """The service of a canary's workflow id."""
    return canary.removeprefix(ids.canary_workflow_id(""))


def _order(event: HistoryEvent) -> Any:
    return event.signal_external_workflow_execution_initiated_event_attributes


def _payload(event: HistoryEvent) -> bytes:
    payloads = event.workflow_execution_signaled_event_attributes.input.payloads
    return b"".join(payload.data for payload in payloads)


async def floor(here: Testbed, name: str, levels: Sequence[int]) -> float:
    """Milliseconds from the order until the last bare child has done its activity."""
    handle = await here.client.start_workflow(
        bare.Hops.run,
        list(levels),
        id=name,
        task_queue=bare.QUEUE,
        task_timeout=bare.TASK_TIMEOUT,
    )
    while not await handle.query(bare.Hops.ready):
        continue
    await handle.signal(bare.Hops.go)
    await handle.result()
    told = await _told(here, handle.id, "go")
    done = [
        await _last(here, workflow, run, "bare.rename")
        for workflow, run in await _children(here, handle.id)
    ]
    return 1000 * (max(done) - told)


def _all_hold(status: ReleaseStatus) -> bool:
    return all(one.phase is CanaryPhase.HOLDING for one in status.services)


async def _told(here: Testbed, workflow: str, signal: str) -> float:
    """When a workflow first got a signal."""
    return next(
        testbed.moment(event)
        for event in await testbed.events(here.client, workflow)
        if event.event_type == SIGNALED
        and event.workflow_execution_signaled_event_attributes.signal_name == signal
    )


async def _children(here: Testbed, workflow: str) -> list[tuple[str, str]]:
    """Workflow and run of each child."""
    found = [
        event.child_workflow_execution_started_event_attributes.workflow_execution
        for event in await testbed.events(here.client, workflow)
        if event.event_type == _CHILD
    ]
    return [(child.workflow_id, child.run_id) for child in found]


def last_end(history: Sequence[HistoryEvent], activity: str) -> float:
    """When an activity of this name last ended, seconds since 1970; 0 if none did."""
    begun: set[int] = set()
    ended = 0.0
    for event in history:
        if event.event_type == _SCHEDULED:
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name == activity:
                begun.add(event.event_id)
        elif event.event_type == _COMPLETED:
            completed = event.activity_task_completed_event_attributes
            if completed.scheduled_event_id in begun:
                ended = testbed.moment(event)
    return ended


async def _last(here: Testbed, workflow: str, run: str, activity: str) -> float:
    return last_end(await testbed.events(here.client, workflow, run), activity)


def shapes() -> dict[int, dict[str, tuple[str, ...]]]:
    """Services and what each depends on: chains by depth, and `WIDTH` side by side."""
    found: dict[int, dict[str, tuple[str, ...]]] = {}
    for depth in CHAINS:
        names = [f"chain{depth}-{n}" for n in range(depth)]
        found[depth] = {name: tuple(names[max(0, n - 1) : n]) for n, name in enumerate(names)}
    found[WIDTH] = {f"wide-{n}": () for n in range(WIDTH)}
    return found


def described() -> dict[str, Any]:
    """The catalog: one step, and a soak that lasts until the release is told to go back."""
    services: Mapping[str, tuple[str, ...]] = {
        name: needs for shape in shapes().values() for name, needs in shape.items()
    }
    strategy = {"steps": [{"weight": 50, "bake": "0s"}], "soak": "1h"}
    return testbed.catalog(services, strategy, max_parallel=WIDTH)


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Each shape, Aviary and bare hops in turn."""
    runs = LONG if long else QUICK
    figures = []
    async with testbed.started(folder, lambda _: described()) as here, bare_process(here):
        await here.start("worker")
        for shape, services in shapes().items():
            levels = [WIDTH] if shape == WIDTH else [1] * shape
            ours, hops = [], []
            parts: defaultdict[str, list[float]] = defaultdict(list)
            for number in range(-1 if shape == 1 else 0, runs[shape]):  # the very first warms up
                back = await aviary(here, f"back-{shape}-{number}", list(services))
                bare_took = await floor(here, f"bare-{shape}-{number}", levels)
                if number >= 0:
                    ours.append(back.took)
                    for hops_of_one in back.levels:
                        for hop, took in hops_of_one.items():
                            parts[hop].append(took)
                    hops.append(bare_took)
            spec = WIDE if shape == WIDTH else CHAINS[shape]
            figures.append(spec.figure(ours, hops, parts, note=f"{len(levels)} levels"))
    return figures
