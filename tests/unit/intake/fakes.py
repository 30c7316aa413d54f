"""Stand-ins for Temporal and Kafka, and records as the consumer gives them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.errors import AdapterError, Retryable
from adapters.kafka import Outgoing
from schemas import ids
from schemas.alert import Alert
from schemas.release import ReleasePlan

CATALOG = """\
version: 1
defaults: {router: {kind: memory}}
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


@dataclass
class FakeWriter:
    """Keeps what is written; fails when told to."""

    written: list[Outgoing] = field(default_factory=list)
    failure: AdapterError | None = None

    async def send(self, records: Sequence[Outgoing]) -> None:
        if self.failure:
            raise self.failure
        self.written.extend(records)

    async def check(self) -> None:
        if self.failure:
            raise self.failure


@dataclass
class FakeIntake:
    """Remembers releases and signals; the services with a canary are told beforehand."""

    canaries: set[str] = field(default_factory=lambda: {"checkout"})
    releases: dict[str, ReleasePlan] = field(default_factory=dict)
    signals: dict[str, tuple[str, Alert]] = field(default_factory=dict)
    away: bool = False

    async def start(self, plan: ReleasePlan, request_id: str) -> bool:
        self._answer(request_id)
        new = plan.release not in self.releases
        self.releases.setdefault(plan.release, plan)
        return new

    async def signal(self, service: str, alert: Alert, request_id: str) -> bool:
        self._answer(request_id)
        if service not in self.canaries:
            return False
        self.signals.setdefault(request_id, (service, alert))
        return True

    def _answer(self, request_id: str) -> None:
        if self.away:
            raise Retryable(f"Temporal is away, {request_id}")


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


def alert_value(*labels: dict[str, str]) -> bytes:
    """A notification with one alert for each set of labels."""
    alerts = [
        {
            "status": "firing",
            "labels": each,
            "startsAt": "2026-01-01T10:00:00Z",
            "fingerprint": f"f{number}",
        }
        for number, each in enumerate(labels)
    ]
    return json.dumps({"version": "4", "alerts": alerts}).encode()
