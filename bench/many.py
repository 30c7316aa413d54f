"""Many canaries that bake at once on one worker: memory, CPU, queries, a rollback meanwhile (5).

All are asked about every 15 s, the judge's default. Their router is in memory; one service is
behind Envoy, for the whole way of an alert.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from temporalio.client import WorkflowHandle

from activities.traffic import APPLY
from aviary.local import parts
from bench import testbed
from bench.figures import RATE, Figure, Goal, Spec
from bench.restoring import Restoring, restoring
from bench.rollback_order import SIGNALED, last_end
from bench.starting import resident_mib
from bench.testbed import TARGET, Testbed
from schemas import ids
from schemas.alert import Alert, AlertStatus
from schemas.release import CanaryPhase, ReleaseStatus
from tests.chaos.testbed import Evidence

SIZES: Final = (100, 1_000, 5_000)
_NO_GOAL: Final = Goal()
_IDLE: Final = "the same with no other canary"


def _specs(what: str, unit: str, floor: str = "", goal: Goal = _NO_GOAL) -> dict[int, Spec]:
    return {
        size: Spec(f"{what}, {size:,} baking", unit, floor, goal, long=size > SIZES[0])
        for size in SIZES
    }


MEMORY: Final = _specs("memory of the worker for each canary", "KiB")
CPU: Final = _specs("CPU of the worker for each canary", "ms/s")
ASKED: Final = _specs("requests to Prometheus, of all", RATE)
BACK: Final = _specs("alert's signal → router's yes", "ms", _IDLE, Goal(ratio_at_most=2))
OLDEST: Final = _specs(
    "alert's signal → router's yes, of the oldest", "ms", _IDLE, Goal(ratio_at_most=2)
)
HANGING: Final = _specs(
    "alert's signal → router's yes, Prometheus hangs", "ms", _IDLE, Goal(ratio_at_most=2)
)
RESTORED: Final = _specs(
    "alert's POST → traffic restored, Prometheus hangs",
    "ms",
    _IDLE,
    Goal(ratio_at_most=2),
)
KINDS: Final = (MEMORY, CPU, ASKED, BACK, OLDEST, HANGING, RESTORED)
SPECS: Final = tuple(kind[size] for size in SIZES for kind in KINDS)
VICTIMS: Final = 8
"""Canaries that go back, one after the other, while the others bake."""
OLD: Final = 8
"""Canaries that have baked since before the others came, for each number of these. A worker keeps
1,000 runs: from there on it has put these out of its cache."""
POSTS: Final = 16
"""Alerts about the one behind Envoy, likewise."""
PER_RELEASE: Final = 50
INTERVAL_S: Final = 15.0
_WATCH_S: Final = INTERVAL_S
_HANG_S: Final = 5.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_AT_ONCE: Final = 4
"""Releases that are being started at the same time."""


class Counted(Evidence):
    """A stand-in for Prometheus that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answering = asyncio.Event()
        """While it is not set, every question hangs."""
        self.answering.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gated: Any = _Gated(reader, self.answering)
        await super()._serve(gated, writer)

    def answer(self, form: str) -> dict[str, Any]:
        """The same, counted."""
        self.asked += 1
        return super().answer(form)


class _Gated:
    """A reader behind which nobody looks at a question until the gate is open."""

    def __init__(self, reader: asyncio.StreamReader, gate: asyncio.Event) -> None:
        self._reader = reader
        self._gate = gate
        self.readexactly = reader.readexactly

    async def readuntil(self, separator: bytes) -> bytes:
        found = await self._reader.readuntil(separator)
        await self._gate.wait()
        return found


@dataclass
class Held:
    """What the worker held and did, with so many canaries."""

    kib: float
    cpu_ms: float
    asked: float
    back: list[float] = field(default_factory=list)


class Many:
    """Brings canaries to their bake, and takes some of them back."""

    def __init__(self, here: Testbed, evidence: Counted, worker: int, posting: Restoring) -> None:
        self._testbed = here
        self._posting = posting
        self._evidence = evidence
        self._worker = worker
        self._idle_kib = self._kib()
        self._starting = asyncio.Semaphore(_AT_ONCE)
        self._handles: list[WorkflowHandle[Any, ReleaseStatus]] = []
        self._old: dict[int, dict[str, WorkflowHandle[Any, ReleaseStatus]]] = {}

    async def bake(self, size: int) -> None:
        """Start canaries until so many bake."""
        begun = len(self._handles) * PER_RELEASE
        releases = range(begun // PER_RELEASE, size // PER_RELEASE)
        await asyncio.gather(*(self._release(number) for number in releases))

    async def _release(self, number: int) -> None:
        names = [f"many-{number * PER_RELEASE + n}" for n in range(PER_RELEASE)]
        async with self._starting:
            release = f"many-{number}"
            handle = await testbed.begin(self._testbed, release, dict.fromkeys(names, "2"))
            await testbed.until(handle, all_bake, every=0.5)
        self._handles.append(handle)

    async def held(self, size: int) -> Held:
        """What so many cost, watched for an interval."""
        baking = size + sum(len(old) for old in self._old.values())
        cpu, asked, began = self._cpu_s(), self._evidence.asked, time.monotonic()
        await asyncio.sleep(_WATCH_S)
        took = time.monotonic() - began
        return Held(
            kib=(self._kib() - self._idle_kib) / baking,
            cpu_ms=1000 * (self._cpu_s() - cpu) / took / baking,
            asked=(self._evidence.asked - asked) / took * size / baking,
            back=await self.back(f"at-{size}"),
        )

    async def back(self, name: str) -> list[float]:
        """Milliseconds from the signal of an alert until the router's yes, for each victim."""
        found = []
        for number in range(VICTIMS):
            service = f"victim-{number}"
            handle = await self._alone(f"{name}-{number}", service)
            found.append(await self._told(handle, service))
        return found

    async def grow_old(self, size: int) -> None:
        """Start the canaries that are told when so many bake."""
        services = [f"old-{size}-{n}" for n in range(OLD)]
        self._old[size] = {service: await self._alone(service, service) for service in services}

    async def oldest(self, size: int) -> list[float]:
        """As `back`, of those that have baked since the beginning."""
        old = self._old.pop(size)
        return [await self._told(handle, service) for service, handle in old.items()]

    async def _alone(self, release: str, service: str) -> WorkflowHandle[Any, ReleaseStatus]:
        handle = await testbed.begin(self._testbed, release, {service: "2"})
        await testbed.until(handle, all_bake)
        return handle

    async def _told(self, release: WorkflowHandle[Any, ReleaseStatus], service: str) -> float:
        canary = self._testbed.client.get_workflow_handle(ids.canary_workflow_id(service))
        await canary.signal(ids.SIGNAL_ALERT, _alert(service))
        await release.result()
        return await self._took(canary.id)

    async def restored(self, name: str) -> list[float]:
        """Milliseconds from alerts' POSTs to the last requests on a canary behind Envoy."""
        return [(await self._posting.aviary(f"{name}-{n}")).restored for n in range(POSTS)]

    async def _took(self, canary: str) -> float:
        history = await testbed.events(self._testbed.client, canary)
        told = next(
            testbed.moment(event)
            for event in history
            if event.event_type == SIGNALED
            and event.workflow_execution_signaled_event_attributes.signal_name == ids.SIGNAL_ALERT
        )
        return 1000 * (last_end(history, APPLY) - told)

    def _kib(self) -> float:
        status = Path(f"/proc/{self._worker}/status").read_text(encoding="ascii")
        return 1024 * resident_mib(status)

    def _cpu_s(self) -> float:
        stat = Path(f"/proc/{self._worker}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


def _alert(service: str) -> Alert:
    return Alert(
        status=AlertStatus.FIRING,
        fingerprint=uuid4().hex,
        labels={"alertname": "Errors", "service": service, "severity": "critical"},
        starts_at=testbed.now(),
    )


def all_bake(status: ReleaseStatus) -> bool:
    """Whether every service of a release is baking."""
    return all(one.phase is CanaryPhase.BAKING for one in status.services)


def described(size: int, folder: Path, ports: parts.Ports) -> dict[str, Any]:
    """A catalog of so many services that bake for hours, the victims, and one behind Envoy."""
    names = [f"many-{n}" for n in range(size)] + [f"victim-{n}" for n in range(VICTIMS)]
    names += [f"old-{one}-{n}" for one in SIZES for n in range(OLD)]
    query = 'harm{service="{{service}}",version="{{version}}"}'
    harm = {"kind": "threshold", "name": "harm", "value": query, "limit": 1}
    described = testbed.catalog(
        dict.fromkeys([*names, TARGET], ()),
        {"steps": [50], "bake": "10h"},
        defaults={
            "metrics": [harm],
            "judge": {"method": "threshold", "interval": f"{INTERVAL_S:g}s"},
        },
        max_parallel=PER_RELEASE,
    )
    described["services"][TARGET]["router"] = testbed.envoy_spec(ports, folder)
    return described


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """More and more canaries in one worker; rollbacks before the first of them are the floor."""
    sizes: Sequence[int] = SIZES if long else SIZES[:1]
    async with (
        testbed.started(folder, lambda ports: described(sizes[-1], folder, ports)) as here,
        testbed.routed(here) as envoy,
        Counted() as evidence,
    ):
        worker = await here.start(
            "worker",
            AVIARY_PROMETHEUS_URL=f"http://127.0.0.1:{evidence.port}",
            AVIARY_JUDGING_SLOTS=str(sizes[-1] + VICTIMS + OLD * len(SIZES) + 1),
        )
        async with restoring(here, envoy) as posting:
            many = Many(here, evidence, worker, posting)
            await many.back("warm")
            await many.restored("warm")
            idle, idle_restored = await many.back("idle"), await many.restored("idle")
            figures: list[Figure] = []
            for size in sizes:
                await many.grow_old(size)
            for size in sizes:
                await many.bake(size)
                held = await many.held(size)
                oldest = await many.oldest(size)
                evidence.answering.clear()
                await asyncio.sleep(_HANG_S)
                hanging = await many.back(f"hanging-{size}")
                restored = await many.restored(f"hanging-{size}")
                evidence.answering.set()
                figures += [
                    MEMORY[size].figure([held.kib]),
                    CPU[size].figure([held.cpu_ms]),
                    ASKED[size].figure([held.asked]),
                    BACK[size].figure(held.back, idle),
                    OLDEST[size].figure(oldest, idle),
                    HANGING[size].figure(hanging, idle),
                    RESTORED[size].figure(restored, idle_restored),
                ]
            return figures
