"""From an alert's POST to the last request that starts on the canary, hop by hop (item 1)."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from activities.traffic import APPLY
from adapters.routers.envoy.names import pool_name
from aviary.local import parts
from bench import bare, testbed
from bench.figures import Figure, Goal, Spec
from bench.floor import BareRoutes, bare_process
from bench.seen import Call
from bench.testbed import BARE_TOPIC, FLOOR, TARGET, Routed, Testbed
from schemas import ids
from schemas.release import CanaryPhase, ReleaseStatus

RESTORED: Final = Spec(
    "alert → traffic restored",
    "ms",
    "produce, consume, signal, one activity, rename",
    Goal(ratio_at_most=1.5, p99_at_most=250),
)
FAILED: Final = Spec("requests failed while going back", "requests", goal=Goal(median_at_most=0))
SPECS: Final = (RESTORED, FAILED)
HOPS: Final = (
    "webhook, Kafka's write",
    "Kafka's delivery, bridge, signal",
    "workflow task",
    "activity begins",
    "router write",
)
CONFIRMED: Final = "router confirmation (after)"
DELIVERED: Final = "Kafka's delivery to another consumer (beside)"
_STARTED = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
_SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
_STEADY_S: Final = 0.3
CALLERS: Final = 2
"""Users that ask every 2 ms: more of them would take the machine from what is measured."""
QUICK: Final = 16
LONG: Final = 150


@dataclass
class Moments:
    """When what happened in one run, seconds since 1970."""

    posted: float
    recorded: float
    delivered: float
    signalled: float
    scheduled: float
    begun: float
    last: float
    completed: float

    def hops(self) -> dict[str, float]:
        """Milliseconds of each hop."""
        at = (
            self.posted,
            self.recorded,
            self.signalled,
            self.scheduled,
            self.begun,
            self.last,
        )
        took = [1000 * (b - a) for a, b in pairwise(at)]
        return dict(zip(HOPS, took, strict=True)) | {
            CONFIRMED: 1000 * (self.completed - self.last),
            DELIVERED: 1000 * (self.delivered - self.recorded),
        }

    @property
    def restored(self) -> float:
        """Milliseconds from the POST to the last request that started on the canary."""
        return 1000 * (self.last - self.posted)


@dataclass
class Runs:
    """All runs of one kind."""

    took: list[float] = field(default_factory=list)
    hops: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, moments: Moments) -> None:
        """Keep one run."""
        self.took.append(moments.restored)
        for hop, took in moments.hops().items():
            self.hops[hop].append(took)


class Listener:
    """Notes when records of some topics come, beside those who act on them."""

    def __init__(self, bootstrap: str, *topics: str) -> None:
        self._consumer: Any = AIOKafkaConsumer(
            *topics, bootstrap_servers=bootstrap, auto_offset_reset="latest", fetch_max_wait_ms=100
        )
        self._seen: asyncio.Queue[tuple[float, float]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._consumer.stop()

    async def _listen(self) -> None:
        async for record in self._consumer:
            self._seen.put_nowait((record.timestamp / 1000, time.time()))

    async def next(self) -> tuple[float, float]:
        """When the next record was written, and when it came."""
        return await asyncio.wait_for(self._seen.get(), 30)


class Restoring:
    """Takes turns: a release goes back for an alert; a bare route goes back for a record."""

    def __init__(self, here: Testbed, envoy: Routed, listener: Listener, producer: Any) -> None:
        self._testbed = here
        self._envoy = envoy
        self._listener = listener
        self._producer = producer
        self._bare = BareRoutes(envoy.fleet)
        self._dice = random.Random(7)

    async def aviary(self, number: int | str) -> Moments:
        """One release that goes back."""
        envoy, here = self._envoy, self._testbed
        await envoy.traffic.start(envoy.port, TARGET, CALLERS)
        release = await testbed.begin(here, f"restore-{number}", {TARGET: "b"})
        await testbed.until(release, _bakes)
        envoy.seen.forget()
        await envoy.seen.until(lambda call: call.version == "b")
        await asyncio.sleep(_STEADY_S + self._dice.random() / 10)
        posted = await self._post(uuid4().hex)
        recorded, delivered = await self._listener.next()
        await release.result()
        calls = await envoy.seen.settled()
        self.sent, self.failed = await envoy.traffic.stop()
        history = await testbed.events(here.client, ids.canary_workflow_id(TARGET))
        return moments(history, APPLY, calls, posted, recorded, delivered)

    async def floor(self, number: int) -> Moments:
        """One bare route that goes back."""
        envoy, here = self._envoy, self._testbed
        source, target = self._bare.prepare(50)
        source.rename(target)
        await envoy.traffic.start(envoy.port, FLOOR, CALLERS)
        source, target = self._bare.prepare(0)
        envoy.seen.forget()
        workflow = await here.client.start_workflow(
            bare.Once.run,
            [str(source), str(target)],
            id=f"bare-{number}",
            task_queue=bare.QUEUE,
            task_timeout=bare.TASK_TIMEOUT,
        )
        await envoy.seen.until(lambda call: call.version == "b")
        await asyncio.sleep(_STEADY_S + self._dice.random() / 10)
        posted = time.time()
        await self._producer.send_and_wait(BARE_TOPIC, workflow.id.encode())
        recorded, delivered = await self._listener.next()
        await workflow.result()
        calls = await envoy.seen.settled()
        await envoy.traffic.stop()
        history = await testbed.events(here.client, workflow.id)
        return moments(history, "bare.rename", calls, posted, recorded, delivered)

    async def _post(self, fingerprint: str) -> float:
        """Post an alert; when its first byte left. What a client takes before that is not timed."""
        url = urlsplit(self._testbed.ports.addresses()["webhook"])
        body = json.dumps(payload([alert(TARGET, fingerprint)])).encode()
        head = (
            f"POST {url.path} HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {self._testbed.token}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        posted = time.time()
        writer.write(head.encode() + body)
        status = await reader.readline()
        writer.close()
        if b" 200 " not in status:
            raise RuntimeError(f"webhook: expected 200, got {status!r}")
        return posted


def alert(service: str, fingerprint: str) -> dict[str, Any]:
    """A firing alert as Alertmanager sends it."""
    return {
        "status": "firing",
        "labels": {"alertname": "Errors", "service": service, "severity": "critical"},
        "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090",
        "fingerprint": fingerprint,
    }


def payload(alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A notification of Alertmanager."""
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "status": "firing",
        "receiver": "aviary",
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    }


def _bakes(status: ReleaseStatus) -> bool:
    return status.services[0].phase is CanaryPhase.BAKING


def moments(  # noqa: PLR0913, PLR0917 - what one run left behind
    history: Sequence[HistoryEvent],
    activity: str,
    calls: Sequence[Call],
    posted: float,
    recorded: float,
    delivered: float,
) -> Moments:
    """Put together what Kafka, Temporal and Envoy say of one run."""
    signalled = next(
        testbed.moment(event)
        for event in history
        if event.event_type == _SIGNALED and testbed.moment(event) >= posted
    )
    scheduled = next(
        event
        for event in history
        if event.event_type == _SCHEDULED
        and testbed.moment(event) >= signalled
        and event.activity_task_scheduled_event_attributes.activity_type.name == activity
    )
    begun = next(
        event
        for event in history
        if event.event_type == _STARTED
        and event.activity_task_started_event_attributes.scheduled_event_id == scheduled.event_id
    )
    completed = next(
        event
        for event in history
        if event.event_type == _COMPLETED
        and event.activity_task_completed_event_attributes.scheduled_event_id == scheduled.event_id
    )
    return Moments(
        posted=posted,
        recorded=recorded,
        delivered=delivered,
        signalled=signalled,
        scheduled=testbed.moment(scheduled),
        begun=testbed.moment(begun),
        last=max(call.started for call in calls if call.version == "b"),
        completed=testbed.moment(completed),
    )


def described(folder: Path, ports: parts.Ports) -> dict[str, Any]:
    """A catalog with one service behind Envoy, which bakes until it is told to go back."""
    query = f'harm{{service="{TARGET}",version="{pool_name(TARGET, "b")}"}}'
    harm = {"kind": "threshold", "name": "harm", "value": query, "limit": 1}
    return testbed.catalog(
        {TARGET: ()},
        {"steps": [50], "bake": "1h"},
        defaults={
            "router": testbed.envoy_spec(ports, folder),
            "metrics": [harm],
            "judge": {"method": "threshold", "interval": "1s"},
        },
    )


@asynccontextmanager
async def restoring(here: Testbed, envoy: Routed) -> AsyncIterator[Restoring]:
    """All that takes part besides the worker, which must run already, and the floor's process."""
    async with (
        Listener(here.bootstrap, ids.TOPIC_ALERTS, BARE_TOPIC) as listener,
        _producer(here.bootstrap) as producer,
    ):
        for name in ("bridge", "webhook"):
            await here.start(name)
        yield Restoring(here, envoy, listener, producer)


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Run both in turn."""
    runs = LONG if long else QUICK
    ours, floor = Runs(), Runs()
    sent = failed = 0
    async with (
        testbed.started(folder, lambda ports: described(folder, ports)) as here,
        testbed.routed(here) as envoy,
    ):
        await here.start("worker")
        async with bare_process(here), restoring(here, envoy) as both:
            for number in range(-1, runs):  # the first warms up
                moments, bare_moments = await both.aviary(number), await both.floor(number)
                if number >= 0:
                    ours.add(moments)
                    floor.add(bare_moments)
                    sent, failed = sent + both.sent, failed + both.failed
    hops = dict(ours.hops)
    hops |= {f"floor: {name}": values for name, values in floor.hops.items()}
    return [
        RESTORED.figure(ours.took, floor.took, hops),
        FAILED.figure([failed], note=f"of {sent:,}"),
    ]


@asynccontextmanager
async def _producer(bootstrap: str) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
