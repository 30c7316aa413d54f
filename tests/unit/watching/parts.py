"""A watcher without a cluster: templates, and an API server in memory that keeps ConfigMaps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from adapters.errors import Retryable
from adapters.kafka import Outgoing
from adapters.kubernetes.errors import Conflicted
from adapters.kubernetes.resources import Json, Resource
from aviary.catalogs import parse_catalog_text
from aviary.watching.journal import JournalStore
from aviary.watching.metrics import WatchMetrics
from aviary.watching.reporting import Written
from aviary.watching.status import Report
from aviary.watching.templates import Reference
from aviary.watching.watcher import Watcher, Watching
from schemas.catalog import Catalog

AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
NAMES = ("cart", "checkout", "ledger", "payments")


def catalog(services: Sequence[str] = NAMES) -> Catalog:
    lines = "".join(f"  {name}: {{}}\n" for name in services)
    return parse_catalog_text(
        "version: 1\n"
        "defaults: {router: {kind: memory}, metrics: [], deploy: {kind: kubernetes}}\n"
        f"services:\n{lines}",
        "catalog",
    )


CATALOG = catalog()


def deployment(
    name: str = "checkout",
    image: str = "registry.example/shop/checkout:1.4.2",
    *,
    generation: int = 1,
    replicas: int = 0,
    annotations: dict[str, str] | None = None,
    env: str = "",
) -> Json:
    container = {"name": "app", "image": image, "env": [{"name": "MODE", "value": env}]}
    pods = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "generation": generation,
            "annotations": annotations or {},
        },
        "spec": {"replicas": replicas, "template": pods},
    }


class ConfigMaps:
    """One ConfigMap, written only over what was read; it dies when told to."""

    def __init__(self) -> None:
        self.kept: Json | None = None
        self.writes = 0
        self.dies: list[str] = []
        """`before` and `after` of each write that is to fail, in order; `` for one that is not."""

    async def get(self, _resource: Resource, _name: str, _namespace: str) -> Json | None:
        return self.kept

    async def create(self, _resource: Resource, body: Json, _namespace: str) -> Json:
        if self.kept is not None:
            raise Conflicted("there is one", exists=True)
        return self._keep(body["data"])

    async def patch(self, _resource: Resource, _name: str, body: Json, _namespace: str) -> Json:
        assert self.kept is not None
        death = self.dies.pop(0) if self.dies else ""
        if death == "before":
            raise Retryable("the API server is away")
        await asyncio.sleep(0)
        if body["metadata"]["resourceVersion"] != self.kept["metadata"]["resourceVersion"]:
            raise Conflicted("somebody has written")
        kept = self._keep(body["data"])
        if death == "after":
            raise Retryable("no answer")
        return kept

    def _keep(self, data: Json) -> Json:
        self.writes += 1
        self.kept = {
            "metadata": {"uid": "journal", "resourceVersion": str(self.writes)},
            "data": data,
        }
        return self.kept


@dataclass
class Topic:
    """Keeps what is written; fails as often as told, before or after it has kept it."""

    records: list[Outgoing] = field(default_factory=list)
    dies: list[str] = field(default_factory=list)

    async def send(self, records: Sequence[Outgoing]) -> None:
        death = self.dies.pop(0) if self.dies else ""
        if death == "before":
            raise Retryable("Kafka is away")
        await asyncio.sleep(0)
        self.records.extend(records)
        if death == "after":
            raise Retryable("no answer")


@dataclass
class Told:
    """Keeps what templates are told."""

    states: dict[str, Written] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    events: list[tuple[str, Report]] = field(default_factory=list)

    def report(self, written: Written, once: str = "") -> None:
        self.states[written.of.name] = written

    def event(self, of: Reference, report: Report, once: str = "") -> None:
        self.events.append((of.name, report))

    def renumber(self, of: Reference) -> None:
        self.numbers[of.name] = of.generation

    def forget(self, uid: str) -> None:
        pass


class World:
    """A watcher, its time, and all that is around it."""

    def __init__(self, maps: ConfigMaps | None = None, topic: Topic | None = None) -> None:
        self.maps, self.topic, self.told = maps or ConfigMaps(), topic or Topic(), Told()
        self.seconds = 0.0
        self.catalog = CATALOG
        self.watcher = self.begin()

    def begin(self) -> Watcher:
        """Another watcher in place of the one before, which remembers nothing."""
        options = Watching("shop", 5.0, 60.0, ("aviary.dev/revision",))
        client: Any = self.maps
        self.watcher = Watcher(
            options,
            JournalStore(client, "shop"),
            self.topic,
            self.told,
            self._catalog,
            metrics=WatchMetrics(CollectorRegistry()),
            clock=lambda: self.seconds,
            now=lambda: AT,
        )
        return self.watcher

    async def _catalog(self) -> Catalog:
        return self.catalog

    async def step(self, after_s: float = 0.0) -> None:
        """Let time pass, and do what can be done."""
        self.seconds += after_s
        await self.watcher.step()

    async def settle(self) -> None:
        """Do all there is to do, however often it fails; time passes."""
        for _ in range(15):
            try:
                await self.step(10.0)
            except Retryable:
                continue
        await self.step(100.0)
