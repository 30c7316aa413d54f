"""From settings to adapters to activities: the only place that knows them all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry
from temporalio.client import Client

from activities.failures import ReadFailures
from activities.judge import JudgeActivities
from activities.ramp import RampActivities
from activities.report_delivery import ReportSender
from adapters.alertmanager import AlertmanagerAlerts
from adapters.connections import Connection
from adapters.errors import Retryable
from adapters.http_access import open_client
from adapters.kafka import KafkaEventLog, Sender
from adapters.kinds import Shared
from adapters.memory import MemoryAlertSource
from adapters.metrics.batching import BatchedMetrics
from adapters.ports import AlertSource, MetricsSource, ReportWriter, Routing
from aviary.access_settings import http_access
from aviary.activity_set import Outside, activity_set
from aviary.answer_door import with_door
from aviary.catalog_watch import CatalogWatch
from aviary.channels import make_notifier
from aviary.connect import kafka_options
from aviary.connections import read_connections
from aviary.deployers import Deployers, owner_of
from aviary.history.fetch import fetch_events, fetch_timeline
from aviary.hooks import HookCallers
from aviary.kinds import registry as known_kinds
from aviary.metrics_source import make_source
from aviary.queues import ActivitySet
from aviary.registry import Registry
from aviary.report.folder import ReportFolder
from aviary.routers import Metrics, join, make_router
from aviary.schedules import is_running
from aviary.settings import Settings
from aviary.telemetry.judging import JudgeMetrics
from aviary.telemetry.ports import (
    MeasuredLog,
    MeasuredRouter,
    MeasuredSource,
    TracedWriter,
    WorkerMetrics,
)
from schemas import ids
from schemas.catalog import Catalog
from schemas.catalog_file import CatalogError
from schemas.router_spec import RouterSpec


class Routers:
    """One router per specification, made when it is first asked for, with what is beside it.

    Args:
        registry: the kinds that there are.
        connections: of the settings, by name.
        shared: what all routers share.
        metrics: what is counted of them.
        counting: what counts requests for routers that don't.
    """

    def __init__(
        self,
        registry: Registry,
        connections: Mapping[str, Connection],
        shared: Shared,
        metrics: WorkerMetrics,
        counting: Metrics | None = None,
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._counting = counting
        self._shared = shared
        self._metrics = metrics
        self._made: dict[RouterSpec, Routing] = {}

    def __call__(self, spec: RouterSpec) -> Routing:
        """The router of a specification; its writes are measured, of several those of each."""
        if spec not in self._made and (found := spec.several) is not None:
            self._made[spec] = join(found, [self(one) for one in found.routers], owns=False)
        elif spec not in self._made:
            made = make_router(
                spec, self._registry, self._connections, self._shared, self._counting
            )
            measured = MeasuredRouter(made.router, spec.kind, self._metrics)
            self._made[spec] = replace(made, router=measured)
        return self._made[spec]

    async def aclose(self) -> None:
        """Close all that were made."""
        for made in self._made.values():
            await made.router.aclose()


class LateCatalog:
    """The catalog, read when it is first asked for: no rollback must wait for a valid file."""

    def __init__(
        self, path: Path, registry: CollectorRegistry, connections: Mapping[str, Connection]
    ) -> None:
        self._path = path
        self._registry = registry
        self._connections = connections
        self._watch: CatalogWatch | None = None

    def __call__(self) -> Catalog:
        """The newest valid catalog.

        Raises:
            Retryable: there never was one.
        """
        try:
            self._watch = self._watch or CatalogWatch(self._path, self._registry, self._connections)
        except CatalogError as error:
            raise Retryable(f"{self._path}: {error}") from error
        return self._watch.current()


@asynccontextmanager
async def wire(
    settings: Settings, client: Client, registry: CollectorRegistry
) -> AsyncIterator[ActivitySet]:
    """Build every adapter and the activities over them; close them at the end."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=5.0))
        counts = WorkerMetrics(registry)
        kinds = known_kinds()
        packs = kinds.packs()
        connections = read_connections(settings)
        metrics = _metrics(settings, kinds, connections, counts, stack)
        late = timedelta(seconds=settings.metrics_late_s)
        routers = Routers(kinds, connections, Shared(http), counts, Metrics(metrics, late))
        stack.push_async_callback(routers.aclose)
        deployers = Deployers(kinds, connections, owner_of(settings.in_cell), Shared(http))
        stack.push_async_callback(deployers.aclose)
        hooks = HookCallers(kinds, connections, Shared(http))
        stack.push_async_callback(hooks.aclose)
        sender = Sender(kafka_options(settings), (ids.TOPIC_EVENTS,))
        sender.start()
        stack.push_async_callback(sender.close)
        judge = JudgeActivities(
            metrics,
            routers,
            packs.resolve,
            ReportSender(client),
            missed=counts.missed,
            show_live=JudgeMetrics(registry).judging,
        )
        catalog = LateCatalog(settings.catalog, registry, connections)
        outside = Outside(
            routers=routers,
            deployers=deployers,
            hooks=hooks,
            catalog=catalog,
            log=MeasuredLog(KafkaEventLog(TracedWriter(sender)), counts),
            notifier=make_notifier(settings, catalog, connections),
            alerts=await _alerts(settings, stack),
            reports=_reports(settings, client),
            runs=partial(is_running, client),
            judge=judge.judge,
            begin_ramp=RampActivities(metrics, routers, packs.resolve).begin,
            failures=ReadFailures(metrics, routers, packs.resolve),
            with_door=with_door(settings),
            cdevents=settings.cdevents_version if settings.cdevents else None,
        )
        yield activity_set(client, outside)


def _metrics(
    settings: Settings,
    kinds: Registry,
    connections: Mapping[str, Connection],
    counts: WorkerMetrics,
    stack: AsyncExitStack,
) -> MetricsSource:
    kind, source = make_source(settings, kinds, connections)
    stack.callback(source.close)
    measured = MeasuredSource(source, counts)
    if not kind.joins:
        return measured
    batched = BatchedMetrics(measured)
    stack.push_async_callback(batched.close)
    return batched


def _reports(settings: Settings, client: Client) -> ReportWriter | None:
    if settings.report_dir is None:
        return None
    cell = settings.in_cell
    return ReportFolder(
        settings.report_dir,
        partial(fetch_timeline, client, cell=cell),
        events=partial(fetch_events, client, cell=cell),
    )


async def _alerts(settings: Settings, stack: AsyncExitStack) -> AlertSource:
    if settings.alertmanager_url is None:
        return MemoryAlertSource()  # nothing to ask: nothing fires
    access = http_access(settings, "alertmanager")
    client = await stack.enter_async_context(open_client(access, timeout_s=5.0))
    return AlertmanagerAlerts(settings.alertmanager_url, client)
