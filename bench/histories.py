"""What a release costs in history events, by services, steps and the length of bakes (item 6)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.clock import server_now
from activities.judge import JUDGE, JudgeActivities, JudgeRequest, JudgeResult
from activities.report_delivery import ReportSender
from activities.traffic import APPLY
from adapters.memory import MemoryMetricsSource
from adapters.packs import BUILT_IN
from aviary.converter import DATA_CONVERTER
from bench import bare, testbed
from bench.figures import Figure, Goal, Spec
from schemas import ids
from schemas.reading import Series
from tests.workflows.kit import METRIC, ScriptedJudge, World
from workflows.stages import STAGES

STEP: Final = Spec(
    "events of a step, in its canary",
    "events",
    "two bare activities one after the other",
    Goal(median_at_most=sum(STAGES[kind].most_events for kind in ("shift", "bake"))),
)
RELEASE_STEP: Final = Spec("events of a step, in its release", "events")
WHOLE: Final = Spec("events of a release of 5 services with 4 steps", "events")
HOUR: Final = Spec(
    "events of a release with bakes of an hour",
    "events",
    "bakes of a minute",
    Goal(ratio_at_most=1.1),
)
SPECS: Final = (STEP, RELEASE_STEP, WHOLE, HOUR)
WEIGHTS: Final = (5.0, 10.0, 25.0, 50.0)
GRID: Final = ((1, 1), (1, 4), (5, 1), (5, 4))
"""Services and steps."""
QUICK: Final = 2
LONG: Final = 10
_SKIPPED: ContextVar[float] = ContextVar("skipped", default=0.0)
_SCHEDULED: Final = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_LONGEST_S: Final = 2 * 3600.0
_TEMPORAL: Final = Path(sys.executable).parent / "temporal"


class Skipping(ScriptedJudge):
    """The real judge, for which the time between two queries passes at once."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.source = MemoryMetricsSource()
        self.source.answer(str(METRIC["value"]), Series(labels={}, value=0.0))
        self._client = client
        self.world: World

    @activity.defn(name=JUDGE)
    async def judge(self, request: JudgeRequest) -> JudgeResult:
        real = JudgeActivities(
            self.source,
            lambda _: self.world.router.routing,
            BUILT_IN.resolve,
            ReportSender(self._client),
            clock=_clock,
            sleep=_sleep,
        )
        return await real.judge(request)


def _clock() -> datetime:
    return server_now() + timedelta(seconds=_SKIPPED.get())


async def _sleep(seconds: float) -> None:
    """Let that time be over; a watch without an end really waits in the end."""
    _SKIPPED.set(_SKIPPED.get() + seconds)
    await asyncio.sleep(0.05 if _SKIPPED.get() > _LONGEST_S else 0)


@dataclass(frozen=True)
class Counted:
    """Events of one release."""

    release: int
    canaries: int
    steps: list[int]
    """Of each step of each canary, as `step_events` counts them."""

    @property
    def total(self) -> int:
        """Of the release and of its canaries."""
        return self.release + self.canaries


def step_events(canary: Sequence[HistoryEvent]) -> list[int]:
    """How many events each step has: from one write of the route to the next.

    After the last step's write the canary only waits for the release.
    """
    return _between(canary, APPLY)[:-1]


def _between(history: Sequence[HistoryEvent], activity: str, every: int = 1) -> list[int]:
    """Events from one of these activities to the next, or from every second one and so on."""
    begun = [
        place
        for place, event in enumerate(history)
        if event.event_type == _SCHEDULED
        and event.activity_task_scheduled_event_attributes.activity_type.name == activity
    ]
    return [after - before for before, after in pairwise(begun[::every])]


class Counting:
    """Releases, and what their histories have."""

    def __init__(self, client: Client, world: World, judge: Skipping) -> None:
        self._client = client
        self._world = world
        self._judge = judge
        self._number = 0

    async def release(self, services: int, steps: int, bake: str = "1m") -> Counted:
        """One release, counted once it has ended."""
        self._number += 1
        names = [f"n{self._number}-{n}" for n in range(services)]
        judge = {"method": "threshold", "interval": "15s"}
        release = await self._world.release(
            dict.fromkeys(names, ()),
            strategy={"steps": list(WEIGHTS[:steps]), "bake": bake},
            defaults={"judge": judge},
        )
        await release.result()
        canaries = [
            await testbed.events(self._client, ids.canary_workflow_id(self._world.service(name)))
            for name in names
        ]
        return Counted(
            release=len(await testbed.events(self._client, release.handle.id)),
            canaries=sum(map(len, canaries)),
            steps=[between for canary in canaries for between in step_events(canary)],
        )

    @property
    def asked(self) -> int:
        """Queries so far."""
        return len(self._judge.source.asked)

    async def bare(self, steps: int, number: int) -> list[int]:
        """Events of each step of a bare workflow that another follows."""
        handle = await self._client.start_workflow(
            bare.Steps.run, steps, id=f"steps-{steps}-{number}", task_queue=bare.QUEUE
        )
        await handle.result()
        return _between(await testbed.events(self._client, handle.id), "bare.rename", 2)


@asynccontextmanager
async def _counting() -> AsyncIterator[Counting]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(_TEMPORAL),
        data_converter=DATA_CONVERTER,
        dev_server_log_level="error",
        dev_server_extra_args=[
            *("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="10ms"')
        ],
    ) as server:
        world = World(server.client)
        judge = Skipping(server.client)
        judge.world, world.judge = world, judge
        async with world.working(), bare.worker(server.client):
            yield Counting(server.client, world, judge)


async def measure(folder: Path, *, long: bool) -> list[Figure]:  # noqa: ARG001 - in memory
    """Count, with the real judge, for which an hour passes at once.

    Counts vary a little: what happens within one workflow task shares its events.
    """
    steps, release_step, totals = list[float](), [], {shape: list[float]() for shape in GRID}
    minutes, hours, bare_steps = [], [], list[float]()
    more = len(WEIGHTS) - 1
    async with _counting() as count:
        for number in range(LONG if long else QUICK):
            grid = {shape: await count.release(*shape) for shape in GRID}
            for shape, counted in grid.items():
                totals[shape].append(counted.total)
                steps += counted.steps
            release_step.append((grid[1, 4].release - grid[1, 1].release) / more)
            minutes.append(totals[1, 4][-1])
            before = count.asked
            hours.append((await count.release(1, 4, "1h")).total)
            asked = count.asked - before
            bare_steps += await count.bare(len(WEIGHTS), number)
    parts = {f"{n} services, {k} steps": totals[n, k] for n, k in GRID}
    return [
        STEP.figure(steps, bare_steps),
        RELEASE_STEP.figure(release_step),
        WHOLE.figure(totals[5, 4], parts=parts),
        HOUR.figure(hours, minutes, note=f"{asked:,} queries in the last one"),
    ]
