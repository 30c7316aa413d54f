"""From a fault to traffic restored, on the whole embedded stack, by judge and by alert (item 2)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from activities.judge import JUDGE
from activities.traffic import APPLY
from adapters.routers.envoy.names import pool_name
from aviary.local import debian, evidence, stack
from aviary.local.http1 import fetch
from aviary.local.shop import Fault
from aviary.local.stack import Stack
from bench import testbed
from bench.figures import Figure, Goal, Spec
from schemas import ids
from schemas.release import CanaryPhase, ReleaseStatus

INTERVALS: Final = (1, 5)
"""Seconds between two scrapes, two evaluations and two looks of the judge; 5 in long mode only."""


class By(StrEnum):
    """Who may notice."""

    JUDGE = "the judge"
    ALERT = "an alert rule"
    BOTH = "whichever is first"


@dataclass(frozen=True)
class Case:
    """A fault that only these notice."""

    service: str
    error_rate: float


CASES: Final = {
    By.JUDGE: Case("ledger", 0.3),  # too little for the alert rule
    By.ALERT: Case("inventory", 0.9),  # which has no metrics
    By.BOTH: Case("ledger", 0.9),
}
_FLOOR: Final = "fault → first failed request in Prometheus"
RESTORED: Final = {
    (by, seconds): Spec(
        f"fault → traffic restored, by {by}, every {seconds} s", "ms", _FLOOR, long=seconds > 1
    )
    for seconds in INTERVALS
    for by in By
}
TWICE: Final = Spec(
    "ways back written when both notice", "writes", goal=Goal(median_at_most=1, p99_at_most=1)
)
SPECS: Final = (*RESTORED.values(), TWICE)
QUICK: Final = 2
LONG: Final = 5
RPS: Final = 200.0
_STEADY_S: Final = 3.0
_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.02
_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
_SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED


class Paced(Stack):
    """A stack that scrapes and evaluates every so many seconds."""

    def __init__(self, folder: Path, catalog: Path, seconds: int) -> None:
        cache = debian.cache_folder()
        # What is measured is the way back, and not how long a version takes to start.
        super().__init__(folder, cache, catalog=catalog, rps=RPS, deploys=False)
        self._seconds = seconds

    def _write_configuration(self) -> None:
        super()._write_configuration()
        if self._seconds > 1:
            path = self.folder / "prometheus.yml"
            path.write_text(path.read_text().replace('"1s"', f'"{self._seconds}s"'))
            rules = self.folder / "rules.yml"
            text = rules.read_text().replace('"interval": "1s"', f'"interval": "{self._seconds}s"')
            rules.write_text(text.replace("offset 2s", f"offset {2 * self._seconds}s"))


@dataclass
class Took:
    """Milliseconds of one run."""

    detected: float
    decided: float
    restored: float
    seen: float
    """By Prometheus."""
    writes: int

    @property
    def total(self) -> float:
        """From the fault to the last request on the version."""
        return self.detected + self.decided + self.restored


class Faults:
    """Releases, breaks and watches."""

    def __init__(self, running: Stack, client: Client) -> None:
        self._stack = running
        self._client = client
        self._numbers = count(1)

    async def one(self, by: By) -> Took:
        """One release that bakes, and whose version then breaks."""
        case, number = CASES[by], next(self._numbers)
        service, version, release = case.service, f"2.{number}.0", f"fault-{number}"
        await self._stack.deploy(service, version)
        await self._stack.pipeline.request(release, {service: version})
        handle = self._client.get_workflow_handle(
            ids.release_workflow_id(release), result_type=ReleaseStatus
        )
        await testbed.until(handle, _bakes)
        await asyncio.sleep(_STEADY_S + number % 7 / 7)  # not in step with the scrapes
        at = await self._stack.set_fault(service, version, Fault(error_rate=case.error_rate))
        seen = asyncio.create_task(self._seen(service, version))
        async with asyncio.timeout(_WITHIN_S):
            await handle.result()
            first = await seen
        history = await testbed.events(self._client, ids.canary_workflow_id(service))
        received = await evidence.alert_received(self._stack, service, version)
        last = (await self._stack.load())["versions"][f"{service}/{version}"]["last_started"]
        await self._stack.retire(service, version)
        alert = received / 1000 if received is not None else None
        return split(history, alert, at=at, seen=first, last=last / 1000)

    async def _seen(self, service: str, version: str) -> float:
        """When Prometheus first knows of a failed request of a version."""
        pool = pool_name(service, version)
        name = "envoy_cluster_upstream_rq_xx"
        query = f'{name}{{envoy_cluster_name="{pool}",envoy_response_code_class="5"}} > 0'
        path = f"/api/v1/query?query={quote(query)}"
        while True:
            answer = await fetch(self._stack.ports.prometheus, path)
            if json.loads(answer.body)["data"]["result"]:
                return time.time()
            await asyncio.sleep(_POLL_S)


def _bakes(status: ReleaseStatus) -> bool:
    return status.services[0].phase is CanaryPhase.BAKING


def split(
    history: Sequence[HistoryEvent],
    alert: float | None,
    *,
    at: float,
    seen: float,
    last: float,
) -> Took:
    """Split one run; what its history shows first is what decided it."""
    names: dict[int, str] = {}
    judged: float | None = None
    signalled: float | None = None
    decided: list[float] = []
    for event in history:
        moment = testbed.moment(event)
        if event.event_type == _SCHEDULED:
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            names[event.event_id] = name
            if name == APPLY and moment > at:
                decided.append(moment)
        elif event.event_type == _COMPLETED and moment > at and not decided:
            scheduled = event.activity_task_completed_event_attributes.scheduled_event_id
            judged = moment if names.get(scheduled) == JUDGE else judged
        elif event.event_type == _SIGNALED and moment > at and not decided:
            name = event.workflow_execution_signaled_event_attributes.signal_name
            signalled = moment if name in {ids.SIGNAL_ALERT, ids.SIGNAL_ALERTS} else signalled
    by_alert = alert if signalled is not None and judged is None else None
    detected = by_alert or judged or decided[0]
    return Took(
        detected=1000 * (detected - at),
        decided=1000 * (decided[0] - detected),
        restored=1000 * (max(last, decided[0]) - decided[0]),
        seen=1000 * (seen - at),
        writes=len(decided),
    )


def described(seconds: int) -> dict[str, Any]:
    """The shop's catalog, with a step that bakes for long, and one service without metrics."""
    text = Path(stack.__file__).with_name("catalog.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    document["strategies"]["brisk"] = {"steps": [50], "bake": {"min": "5m", "max": "10m"}}
    document["defaults"]["judge"]["interval"] = f"{seconds}s"
    document["services"]["inventory"] = {"metrics": []}
    return document


async def _measure(folder: Path, seconds: int, runs: int) -> tuple[list[Figure], list[int]]:
    folder.mkdir(parents=True)  # noqa: ASYNC240 - before anything is measured
    catalog = folder / "catalog.yaml"
    catalog.write_text(yaml.safe_dump(described(seconds)))
    took: Mapping[By, list[Took]] = {by: [] for by in By}
    async with Paced(folder / "stack", catalog, seconds) as running:
        await running.start()
        faults = Faults(running, await running.temporal())
        for _ in range(runs):
            for by in By:
                took[by].append(await faults.one(by))
    figures = [
        RESTORED[by, seconds].figure(
            [one.total for one in found],
            [one.seen for one in found],
            {
                "fault → detected": [one.detected for one in found],
                "detected → decided": [one.decided for one in found],
                "decided → restored": [one.restored for one in found],
            },
        )
        for by, found in took.items()
    ]
    return figures, [one.writes for one in took[By.BOTH]]


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Each way in turn, at one interval after the other."""
    figures: list[Figure] = []
    writes: list[int] = []
    for seconds in INTERVALS if long else INTERVALS[:1]:
        found, written = await _measure(folder / str(seconds), seconds, LONG if long else QUICK)
        figures += found
        writes += written
    return [*figures, TWICE.figure(writes)]
