"""Stand-ins for Temporal and Kafka, and records as the consumer gives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.errors import AdapterError, Retryable
from adapters.kafka import Outgoing
from adapters.kafka_batches import Fault
from schemas import ids
from schemas.alert import Alert
from schemas.rejection import Rejected, RejectReason
from schemas.release import ReleasePlan

CATALOG = """\
version: 1
defaults: {router: {kind: memory}, metrics: []}
services:
  ledger: {}
  cart: {depends_on: [ledger]}
  checkout: {depends_on: [cart]}
"""


@dataclass(frozen=True)
class Record:
    """A consumed record."""

    value: bytes | None
    topic: str = ids.TOPIC_DEPLOYS
    partition: int = 2
    offset: int = 7
    key: bytes | None = b"key"
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 1_000_000
    fault: Fault | None = None

    @property
    def next_offset(self) -> int:
        return self.offset + 1

    @property
    def size(self) -> int:
        return len(self.value or b"")


@dataclass
class FakeWriter:
    """Keeps what is written; fails when told to."""

    written: list[Outgoing] = field(default_factory=list)
    failure: AdapterError | None = None

    async def send(self, records: Sequence[Outgoing]) -> None:
        if self.failure:
            raise self.failure
        self.written.extend(records)

    def to(self, topic: str) -> list[Outgoing]:
        """What was written to one topic."""
        return [record for record in self.written if record.topic == topic]

    async def check(self) -> None:
        if self.failure:
            raise self.failure


@dataclass
class FakeGateway:
    """Remembers releases and signals; the services with a canary are told beforehand."""

    canaries: set[str] = field(default_factory=lambda: {"checkout"})
    releases: dict[str, ReleasePlan] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    signals: dict[tuple[str, str], list[Alert]] = field(default_factory=dict)
    """By canary and request id; of one id only the first counts, as Temporal has it."""
    sent: int = 0
    asked: int = 0
    at_once: int = 0
    most_at_once: int = 0
    generation: int = 0
    away: bool = False
    away_for: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)

    async def start(self, plan: ReleasePlan, digest: str, request_id: str) -> bool:
        self._answer(request_id)
        new = plan.release not in self.releases
        self.releases.setdefault(plan.release, plan)
        if self.digests.setdefault(plan.release, digest) != digest:
            raise Rejected(RejectReason.CONFLICTING_RELEASE, f"{plan.release}: other content")
        return new

    async def canary(self, service: str) -> str | None:
        self._answer(service)
        self.asked += 1
        return f"{service}-{self.generation}" if service in self.canaries else None

    async def running(self) -> Sequence[str]:
        self._answer("running")
        return sorted(self.canaries)

    async def signal(self, service: str, alerts: Sequence[Alert], request_id: str) -> bool:
        self._answer(service)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if service in self.refuses:
            raise Rejected(RejectReason.REFUSED, f"{service}: never")
        if service not in self.canaries:
            return False
        self.sent += 1
        self.signals.setdefault((service, request_id), list(alerts))
        return True

    def told(self, service: str) -> list[str]:
        """The fingerprints of the alerts that a canary was told of, in their order."""
        return [
            alert.fingerprint
            for (to, _), alerts in self.signals.items()
            if to == service
            for alert in alerts
        ]

    def _answer(self, what: str) -> None:
        if self.away or what in self.away_for:
            raise Retryable(f"Temporal is away, {what}")


def deploy_value(release: str = "shop-1", service: str = "checkout", **changes: Any) -> bytes:
    """A deploy event, structured."""
    data = {"release": release, "services": [{"service": service, "version": "2"}]}
    event = {
        "specversion": "1.0",
        "type": "dev.aviary.release.requested.v1",
        "source": "/ci",
        "id": "1",
        "data": data,
    }
    return json.dumps(event | changes).encode()


def alert_value(*labels: dict[str, str], first: int = 0, **changes: str) -> bytes:
    """A notification with one alert for each set of labels; fingerprints count from `first`."""
    alerts = [
        {
            "status": "firing",
            "labels": each,
            "startsAt": "2026-01-01T10:00:00Z",
            "fingerprint": f"f{number}",
            **changes,
        }
        for number, each in enumerate(labels, start=first)
    ]
    return json.dumps({"version": "4", "alerts": alerts}).encode()
