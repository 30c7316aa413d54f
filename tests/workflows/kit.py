"""Given, when, then for workflow tests: real workflows and activities over in-memory adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkerDeploymentVersion, WorkflowIDReusePolicy
from temporalio.worker import Interceptor, Worker

from activities.admission import AdmissionActivities
from activities.announce import AnnounceActivities
from activities.decided import DecidedActivities, went_final
from activities.drift import DriftActivities, Known
from activities.judge import JUDGE, JudgeRequest, JudgeResult
from activities.observe import ObserveActivities
from activities.preflight import PreflightActivities
from activities.ramp import BEGIN_RAMP, BeginRamp, RampState
from activities.readiness import ReadinessActivities
from activities.report import ReportActivities
from activities.report_delivery import ReportSender
from activities.standing import StandingActivities
from activities.traffic import TrafficActivities
from adapters.connections import Connection
from adapters.errors import Retryable, UnknownRoute
from adapters.memory import MemoryAlertSource, MemoryEventLog, MemoryNotifier
from adapters.ports import Routing
from adapters.routers.memory.trial import FIRST_STABLE, TrialRouter
from aviary.queues import STICKY_TIMEOUT, WORKFLOWS, deployed
from aviary.sandbox import sandbox
from aviary.schedules import is_running, plan_back
from schemas.alert import Alert, AlertStatus
from schemas.catalog import Catalog
from schemas.deploy import DeployRequested
from schemas.ids import (
    CANARY_WORKFLOW,
    QUERY_STATUS,
    RELEASE_WORKFLOW,
    SIGNAL_ALERT,
    canary_workflow_id,
    effects_queue,
    judging_queue,
    release_workflow_id,
    waiting_queue,
)
from schemas.release import (
    CanaryInput,
    CanaryOutcome,
    CanaryState,
    CanaryStatus,
    ReleaseInput,
    ReleaseStatus,
    ServicePlan,
    Tuning,
)
from schemas.route import Confirmation, Health, Route
from schemas.router_spec import RouterSpec
from schemas.stages import Stage
from schemas.verdict import Reason, Verdict, VerdictKind
from tests.catalogs import make
from workflows.guard import GuardInterceptor
from workflows.planning import plan_release

METRIC = {"kind": "threshold", "name": "errors", "value": "vector(0)", "limit": 1}
QUICK = Tuning(
    stuck_after=timedelta(seconds=1),
    retry_cap=timedelta(milliseconds=100),
    preflight_poll=timedelta(milliseconds=50),
    judge_late=timedelta(seconds=1),
    see_quiet=timedelta(milliseconds=50),
    see_within=timedelta(milliseconds=200),
    admission_poll=timedelta(milliseconds=200),
    stands_within=timedelta(milliseconds=100),
    absent_for=timedelta(milliseconds=300),
    report=False,
    ready_within=timedelta(milliseconds=200),
)

PATIENCE_S = 120.0
"""On a busy machine a process takes half a minute to begin."""
FOREIGN = "somebody else changed its route"

Canary = WorkflowHandle[Any, CanaryOutcome]
Reshape = Callable[[tuple[Stage, ...]], tuple[Stage, ...]]


def reshaped(plan: ServicePlan, reshape: Reshape) -> ServicePlan:
    """The plan with other stages than those of its strategy."""
    return plan.model_copy(update={"stages": reshape(plan.stages)})


class RecordingRouter(TrialRouter):
    """A trial router that remembers what it was told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[Route] = []
        self.broken: set[str] = set()
        self.kept_back: set[str] = set()
        """Services that can't be finalized now."""
        self.gone: set[str] = set()
        """Services of which it knows nothing just now."""
        self.missed: list[str] = []
        """Those that were asked for meanwhile."""
        self.unhealthy: set[tuple[str, str]] = set()
        """Services and versions without a healthy instance."""
        self.dies_under_load: set[tuple[str, str]] = set()
        """Those that have one until they get all requests and are looked at."""
        self.looked_back = False
        self.blind = False
        """Whether it can't say which instances are healthy."""
        self.unrouted: set[str] = set()
        """Services that have no route yet."""

    def forget(self, service: str) -> None:
        """Lose the route of a service, as if it never had one."""
        self._routes.pop(service, None)
        self.unrouted.add(service)

    async def register(self, service: str, stable: str) -> Route:
        self.add_pool(service, stable)
        self.unrouted.discard(service)
        return await super().register(service, stable)

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        if self.blind:
            raise Retryable("the router does not say what is healthy")
        route = await self.read(service) if service not in self.unrouted else None
        if route is not None and route.canary is None and self.looked_back:
            self.unhealthy |= {(service, route.stable)} & self.dies_under_load
        self.looked_back = route is not None and route.canary is None
        versions = {FIRST_STABLE, "1", "2", "3"} | ({route.stable} if route else set())
        return {
            one: Health(known=2, healthy=0 if (service, one) in self.unhealthy else 2)
            for one in versions
        }

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        if route.service in self.broken:
            raise Retryable(f"the router of {route.service} is away")
        self._look_for(route.service)
        if (
            route.service in self.kept_back
            and route.stable != (await self.read(route.service)).stable
        ):
            raise Retryable(f"the router of {route.service} does not finalize now")
        confirmation = await super().apply(route, over)
        if route not in self.applied:
            self.applied.append(route)
        return confirmation

    async def read(self, service: str) -> Route:
        self._look_for(service)
        return await super().read(service)

    def _look_for(self, service: str) -> None:
        if service in self.gone | self.unrouted:
            self.missed.append(service)
            raise UnknownRoute(f"{service}: the router has no such service")

    def weights(self, service: str) -> list[float]:
        return [route.weight for route in self.applied if route.service == service]

    def last_back(self) -> list[str]:
        """Services in the order in which they went back to stable alone."""
        return [route.service for route in self.applied if route.canary is None]


class ScriptedJudge:
    """Says what the test wants; PASS where it says nothing."""

    def __init__(self, client: Client) -> None:
        self._send_report = ReportSender(client)
        self.says: dict[tuple[str, float], VerdictKind] = {}
        self.blocked: set[tuple[str, float]] = set()
        self.failing: set[str] = set()
        self.foreign: set[tuple[str, float]] = set()
        """Where it finds that somebody else has changed the route."""
        self.requests: list[JudgeRequest] = []
        self.ramp_weights: list[float] = []

    @activity.defn(name=BEGIN_RAMP)
    async def begin_ramp(self, request: BeginRamp) -> RampState:
        return self._ramp(
            RampState(
                spec=request.ramp, spent={}, counts={}, counted_at=datetime.now(UTC), weight=0
            )
        )

    def _ramp(self, state: RampState) -> RampState:
        """The weights that the test wrote down, then everything."""
        if not self.ramp_weights:
            return state.model_copy(update={"full": True})
        weight = self.ramp_weights.pop(0)
        return state.model_copy(update={"weight": weight, "sentence": f"next {weight:g} %"})

    @activity.defn(name=JUDGE)
    async def judge(self, request: JudgeRequest) -> JudgeResult:
        self.requests.append(request)
        place = (request.service, request.weight)
        async with self._send_report(request.report):
            return await self._judge(request, place)

    async def _judge(self, request: JudgeRequest, place: tuple[str, float]) -> JudgeResult:
        try:
            while request.service not in self.failing and (
                request.bake is None or place in self.blocked
            ):
                activity.heartbeat()
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            if activity.is_worker_shutdown():
                raise
            return self._result(request, VerdictKind.INCONCLUSIVE, final=False)
        if request.service in self.failing:
            return self._result(request, VerdictKind.FAIL)
        if place in self.foreign and not request.overruled:
            result = self._result(request, VerdictKind.INCONCLUSIVE)
            found = {"reason": Reason.FOREIGN_CHANGE, "sentence": FOREIGN}
            return result.model_copy(update={"verdict": result.verdict.model_copy(update=found)})
        return self._result(request, self.says.get(place, VerdictKind.PASS))

    def _result(
        self, request: JudgeRequest, kind: VerdictKind, *, final: bool = True
    ) -> JudgeResult:
        reasons = {
            VerdictKind.PASS: Reason.GOOD_ENOUGH,
            VerdictKind.FAIL: Reason.WORSE_THAN_STABLE,
            VerdictKind.INCONCLUSIVE: Reason.NO_DATA,
        }
        verdict = Verdict(
            kind=kind,
            reason=reasons[kind],
            sentence=f"{request.service} at {request.weight:g} %: {kind}",
            at=datetime.now(UTC),
            final=final,
        )
        steps = (request.evidence or {}).get("steps", 0)
        ramp = self._ramp(request.ramp) if request.ramp else None
        return JudgeResult(verdict=verdict, evidence={"steps": steps + 1}, ramp=ramp)


class MemoryReports:
    """Remembers whose report was written."""

    def __init__(self) -> None:
        self.written: list[str] = []

    async def write(self, release: str) -> None:
        self.written.append(release)


class World:
    """A worker with everything in memory, and words to use it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.queue = f"test-{uuid4()}"
        self.router = RecordingRouter()
        self.connections: Mapping[str, Connection] = {}
        self.router_for: Callable[[RouterSpec], Routing] = lambda _: self.router.routing
        self.judge = ScriptedJudge(client)
        self.log = MemoryEventLog()
        self.notifier = MemoryNotifier()
        self.alerts = MemoryAlertSource()
        self.reports = MemoryReports()
        self.names: dict[str, str] = {}
        self.catalog: Catalog | None = None
        self.tuning = QUICK
        self.heals_within = timedelta(seconds=30)
        self._suffix = uuid4().hex[:8]

    @asynccontextmanager
    async def working(
        self,
        version: WorkerDeploymentVersion | None = None,
        interceptors: Sequence[Interceptor] = (GuardInterceptor(),),
    ) -> AsyncIterator[None]:
        """Run the workers of all queues; with a `version`, as that build."""
        traffic = TrafficActivities(self.router_for, self.heals_within)
        announce = AnnounceActivities(self.log, self.notifier)
        preflight = PreflightActivities(self.alerts)
        observe = ObserveActivities(self.router_for)
        standing = StandingActivities(self.router_for)
        known = Known(self.runs, partial(went_final, self.client))
        drift = DriftActivities(self.router_for, self.known_catalog, plan_back, known)
        admission = AdmissionActivities(self.client)
        quick: dict[str, Any] = {
            "max_heartbeat_throttle_interval": timedelta(milliseconds=50),
            "default_heartbeat_throttle_interval": timedelta(milliseconds=50),
            "deployment_config": deployed(version),
        }
        async with (
            Worker(
                self.client,
                task_queue=self.queue,
                workflows=WORKFLOWS,
                activities=[traffic.read, traffic.apply, standing.register],
                interceptors=interceptors,
                workflow_runner=sandbox(versioned=version is not None),
                sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
                deployment_config=deployed(version),
            ),
            Worker(
                self.client,
                task_queue=judging_queue(self.queue),
                activities=[
                    self.judge.judge,
                    self.judge.begin_ramp,
                    observe.see_back,
                    standing.stand,
                    standing.first,
                    drift.look,
                ],
                **quick,
            ),
            Worker(
                self.client,
                task_queue=effects_queue(self.queue),
                activities=[
                    announce.publish,
                    announce.notify,
                    ReportActivities(self.reports).write,
                    admission.ask,
                    admission.resync,
                    admission.deliver,
                    admission.wait_for_end,
                    DecidedActivities(self.client).decided,
                ],
                **quick,
            ),
            Worker(
                self.client,
                task_queue=waiting_queue(self.queue),
                activities=[
                    admission.wait_for_end,
                    preflight.preflight,
                    ReadinessActivities(self.router_for).ready,
                ],
                max_concurrent_activities=1000,
                **quick,
            ),
        ):
            yield

    def known_catalog(self) -> Catalog:
        """The catalog of the newest release; what the drift check goes by."""
        if self.catalog is None:
            raise Retryable("there is no catalog yet")
        return self.catalog

    async def runs(self, workflow_id: str) -> bool:
        """Whether a workflow runs; what the drift check asks."""
        return await is_running(self.client, workflow_id)

    def service(self, name: str) -> str:
        """A service name of this test alone: `canary/<service>` is a lock of the whole server."""
        return f"{name}-{self._suffix}"

    def short(self, names: Sequence[str]) -> list[str]:
        """The names as the test wrote them."""
        return [name.removesuffix(f"-{self._suffix}") for name in names]

    async def release(
        self,
        graph: Mapping[str, Sequence[str]],
        *,
        strategy: Mapping[str, Any] | None = None,
        metrics: bool = True,
        tuning: Tuning | None = None,
        name: str | None = None,
        version: str = "2",
        labels: Mapping[str, str] | None = None,
        versions: Mapping[str, str] | None = None,
        reshape: Reshape | None = None,
        **catalog: Any,
    ) -> Release:
        """Start a release of all services of a graph `{service: its dependencies}`."""
        document = {
            "version": 1,
            "defaults": {
                "router": {"kind": "counting" if "ramp" in (strategy or {}) else "memory"},
                "metrics": [METRIC] if metrics else [],
                "strategy": "test",
                **catalog.pop("defaults", {}),
            },
            "strategies": {"test": strategy or {"steps": [10, 50], "bake": "1m"}},
            "services": {
                self.service(one): {"depends_on": [self.service(need) for need in needs]}
                for one, needs in graph.items()
            },
            **catalog,
        }
        release = name or f"r-{uuid4().hex[:12]}"
        deploy = DeployRequested.model_validate(
            {
                "release": release,
                "services": [
                    {"service": self.service(one), "version": (versions or {}).get(one, version)}
                    for one in graph
                ],
                "labels": dict(labels or {}),
            }
        )
        self.catalog = make(document, self.connections)
        plan = plan_release(self.catalog, deploy)
        if reshape is not None:
            services = {name: reshaped(one, reshape) for name, one in plan.services.items()}
            plan = plan.model_copy(update={"services": services})
        handle = await self.client.start_workflow(
            RELEASE_WORKFLOW,
            ReleaseInput(plan=plan, tuning=tuning or self.tuning),
            id=release_workflow_id(release),
            task_queue=self.queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            result_type=ReleaseStatus,
        )
        return Release(self, handle)

    async def canary(
        self,
        strategy: Mapping[str, Any],
        first_word: str | None = None,
        resume: CanaryState | None = None,
        reshape: Reshape | None = None,
    ) -> Canary:
        """A canary by itself, without a release that orders it.

        Args:
            strategy: of the catalog.
            first_word: a signal that it hears before it does anything.
            resume: what an earlier run handed over.
            reshape: what makes other stages of those of the strategy.
        """
        service = self.service("ledger")
        catalog = make(
            {
                "version": 1,
                "defaults": {"router": {"kind": "memory"}, "metrics": [], "strategy": "test"},
                "strategies": {"test": strategy},
                "services": {service: {}},
            }
        )
        asked = {"release": "r", "services": [{"service": service, "version": "2"}]}
        plan = plan_release(catalog, DeployRequested.model_validate(asked)).services[service]
        plan = plan if reshape is None else reshaped(plan, reshape)
        return await self.client.start_workflow(
            CANARY_WORKFLOW,
            CanaryInput(release="r", plan=plan, tuning=self.tuning, resume=resume),
            id=canary_workflow_id(service),
            task_queue=self.queue,
            result_type=CanaryOutcome,
            start_signal=first_word,
        )


class Release:
    """A release under test."""

    def __init__(self, world: World, handle: WorkflowHandle[Any, ReleaseStatus]) -> None:
        self.world = world
        self.handle = handle

    def canary(self, service: str) -> WorkflowHandle[Any, Any]:
        """The canary of a service."""
        return self.world.client.get_workflow_handle(
            canary_workflow_id(self.world.service(service))
        )

    async def status(self) -> ReleaseStatus:
        status: ReleaseStatus = await self.handle.query(QUERY_STATUS, result_type=ReleaseStatus)
        return status

    async def canary_status(self, service: str) -> CanaryStatus:
        status: CanaryStatus = await self.canary(service).query(
            QUERY_STATUS, result_type=CanaryStatus
        )
        return status

    async def phases(self) -> dict[str, str]:
        status = await self.status()
        names = self.world.short([one.service for one in status.services])
        return dict(zip(names, (one.phase.value for one in status.services), strict=True))

    async def until(self, **phases: str) -> ReleaseStatus:
        """Wait until the named services are in the named phases."""

        async def there() -> bool:
            now = await self.phases()
            return all(now[service] == phase for service, phase in phases.items())

        await eventually(there)
        return await self.status()

    async def alert(self, service: str, **labels: str) -> None:
        """What the bridge does with an alert."""
        alert = Alert(
            status=AlertStatus.FIRING,
            fingerprint=uuid4().hex,
            labels={"alertname": "Errors", "severity": "critical", **labels},
            starts_at=datetime.now(UTC),
        )
        await self.canary(service).signal(SIGNAL_ALERT, alert)

    async def result(self) -> ReleaseStatus:
        async with asyncio.timeout(PATIENCE_S):
            return await self.handle.result()


async def eventually(condition: Callable[[], Any], within: float = PATIENCE_S) -> None:
    """Wait for a condition, which may be a coroutine function."""
    async with asyncio.timeout(within):
        while True:
            answer = condition()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.02)
