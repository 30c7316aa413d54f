"""From settings to adapters to activities: the only place that knows them all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry
from temporalio.client import Client

from activities.admission import AdmissionActivities
from activities.announce import AnnounceActivities
from activities.decided import DecidedActivities, went_final
from activities.drift import DriftActivities, Known
from activities.judge import JudgeActivities
from activities.observe import ObserveActivities
from activities.preflight import PreflightActivities
from activities.ramp import RampActivities
from activities.readiness import ReadinessActivities
from activities.report import ReportActivities
from activities.report_delivery import ReportSender
from activities.standing import StandingActivities
from activities.traffic import TrafficActivities
from adapters.alertmanager import AlertmanagerAlerts
from adapters.errors import Retryable
from adapters.http_access import open_client
from adapters.kafka import KafkaEventLog, Sender
from adapters.memory import MemoryAlertSource
from adapters.metrics.batching import BatchedMetrics
from adapters.metrics.packs import resolve_metric
from adapters.metrics.prometheus import PrometheusMetrics
from adapters.ports import AlertSource, MetricsSource, ReportWriter, Routing
from adapters.routers import envoy, memory
from adapters.routers.envoy import EnvoyRouter
from adapters.routers.trial import TrialRouter
from aviary.access_settings import http_access
from aviary.catalog_watch import CatalogWatch
from aviary.channels import make_notifier
from aviary.connect import kafka_options
from aviary.history.fetch import fetch_timeline
from aviary.plugins import make_router, make_source
from aviary.queues import ActivitySet
from aviary.report.folder import ReportFolder
from aviary.schedules import is_running, plan_back
from aviary.settings import Settings
from aviary.telemetry.ports import (
    MeasuredLog,
    MeasuredRouter,
    MeasuredSource,
    TracedWriter,
    WorkerMetrics,
)
from schemas import ids
from schemas.catalog import (
    Catalog,
    EnvoyRouterSpec,
    MemoryRouterSpec,
    PluginRouterSpec,
    RouterSpec,
)
from schemas.catalog_file import CatalogError


class Routers:
    """One router per specification, made when it is first asked for, with what is beside it."""

    def __init__(self, client: httpx.AsyncClient, metrics: WorkerMetrics) -> None:
        self._client = client
        self._metrics = metrics
        self._made: dict[RouterSpec, Routing] = {}

    def __call__(self, spec: RouterSpec) -> Routing:
        """The router of a specification; its writes are measured."""
        if spec not in self._made:
            made = self._make(spec)
            measured = MeasuredRouter(made.router, spec.kind, self._metrics)
            self._made[spec] = replace(made, router=measured)
        return self._made[spec]

    async def aclose(self) -> None:
        """Close all that were made."""
        for made in self._made.values():
            await made.router.aclose()

    def _make(self, spec: RouterSpec) -> Routing:
        match spec:
            case EnvoyRouterSpec(directory=directory, admin=admin):
                router = EnvoyRouter(Path(directory), admin, client=self._client)
                return Routing.of(router, envoy.CAPABILITIES)
            case MemoryRouterSpec():
                return Routing.of(TrialRouter(), memory.CAPABILITIES)
            case PluginRouterSpec():
                return make_router(spec)


class LateCatalog:
    """The catalog, read when it is first asked for: no rollback must wait for a valid file."""

    def __init__(self, path: Path, registry: CollectorRegistry) -> None:
        self._path = path
        self._registry = registry
        self._watch: CatalogWatch | None = None

    def __call__(self) -> Catalog:
        """The newest valid catalog.

        Raises:
            Retryable: there never was one.
        """
        try:
            self._watch = self._watch or CatalogWatch(self._path, self._registry)
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
        routers = Routers(http, counts)
        stack.push_async_callback(routers.aclose)
        metrics = _metrics(settings, counts, stack)
        sender = Sender(kafka_options(settings), (ids.TOPIC_EVENTS,))
        sender.start()
        stack.push_async_callback(sender.close)
        traffic = TrafficActivities(routers)
        observe = ObserveActivities(routers)
        standing = StandingActivities(routers)
        judge = JudgeActivities(
            metrics, routers, resolve_metric, ReportSender(client), missed=counts.missed
        )
        ramp = RampActivities(metrics, routers, resolve_metric)
        catalog = LateCatalog(settings.catalog, registry)
        notifier = make_notifier(settings, catalog)
        log = MeasuredLog(KafkaEventLog(TracedWriter(sender)), counts)
        announce = AnnounceActivities(log, notifier, cdevents=settings.cdevents)
        preflight = PreflightActivities(await _alerts(settings, stack))
        readiness = ReadinessActivities(routers)
        known = Known(partial(is_running, client), partial(went_final, client))
        drift = DriftActivities(routers, catalog, plan_back, known)
        admission = AdmissionActivities(client)
        decided = DecidedActivities(client)
        report = ReportActivities(_reports(settings, client))
        yield ActivitySet(
            routers=[traffic.read, traffic.apply, standing.register],
            judging=[
                judge.judge,
                observe.see_back,
                standing.stand,
                standing.first,
                ramp.begin,
                drift.look,
            ],
            effects=[
                announce.publish,
                announce.notify,
                admission.ask,
                admission.resync,
                admission.deliver,
                admission.wait_for_end,
                report.write,
                decided.decided,
            ],
            waiting=[admission.wait_for_end, preflight.preflight, readiness.ready],
        )


def _metrics(settings: Settings, counts: WorkerMetrics, stack: AsyncExitStack) -> MetricsSource:
    source = make_source(settings)
    stack.callback(source.close)
    measured = MeasuredSource(source, counts)
    if not isinstance(source, PrometheusMetrics):
        return measured  # it may not speak the language in which queries are joined
    batched = BatchedMetrics(measured)
    stack.push_async_callback(batched.close)
    return batched


def _reports(settings: Settings, client: Client) -> ReportWriter | None:
    if settings.report_dir is None:
        return None
    return ReportFolder(settings.report_dir, partial(fetch_timeline, client))


async def _alerts(settings: Settings, stack: AsyncExitStack) -> AlertSource:
    if settings.alertmanager_url is None:
        return MemoryAlertSource()  # nothing to ask: nothing fires
    access = http_access(settings, "alertmanager")
    client = await stack.enter_async_context(open_client(access, timeout_s=5.0))
    return AlertmanagerAlerts(settings.alertmanager_url, client)
