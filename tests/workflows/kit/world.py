"""Shipped workers over adapters in memory, and the releases that a test starts on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import WorkerDeploymentVersion, WorkflowIDReusePolicy
from temporalio.service import RPCError

from activities.hooks import no_door
from adapters.connections import Connection
from adapters.deployers.memory.deployer import MemoryDeployer
from adapters.deployers.memory.platform import MemoryPlatform
from adapters.errors import Retryable
from adapters.memory import MemoryAlertSource, MemoryEventLog, MemoryNotifier
from adapters.ports import HookCaller, Routing
from aviary.activity_set import Outside, activity_set
from aviary.queues import WorkerOptions, build_workers
from aviary.schedules import is_running
from aviary.settings import load_settings
from schemas.alert import Alert, AlertStatus
from schemas.catalog import Catalog
from schemas.deploy import DeployRequested
from schemas.deploy_spec import DeploySpec
from schemas.hooks import HookCall, HookEvent
from schemas.ids import (
    CANARY_WORKFLOW,
    NO_CELL,
    QUERY_STATUS,
    RELEASE_WORKFLOW,
    SIGNAL_ALERT,
    SIGNAL_RESUME,
    Cell,
    canary_workflow_id,
    main_queue,
    release_workflow_id,
)
from schemas.release import (
    CanaryInput,
    CanaryOutcome,
    CanaryState,
    CanaryStatus,
    Command,
    ReleaseInput,
    ReleaseStatus,
    ServicePlan,
    Tuning,
)
from schemas.router_spec import RouterSpec
from schemas.stages import Stage
from tests.catalogs import make
from tests.workflows.kit.failures import ScriptedFailures
from tests.workflows.kit.hook import ScriptedHook
from tests.workflows.kit.judge import ScriptedJudge
from tests.workflows.kit.router import RecordingRouter
from workflows.planning import plan_release

NEED_DEPLOYER = {"deploy", "retire"}
"""Kinds of stages that only a service has whose versions are put up here."""
DEPLOY = {"kind": "memory", "instances": 2, "keep_old": "0s"}
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

Canary = WorkflowHandle[Any, CanaryOutcome]
Reshape = Callable[[tuple[Stage, ...]], tuple[Stage, ...]]


def with_deployer(**terms: Any) -> dict[str, Any]:
    """The defaults of a catalog whose versions are put up here."""
    return {"defaults": {"deploy": {**DEPLOY, **terms}}}


def reshaped(plan: ServicePlan, reshape: Reshape) -> ServicePlan:
    """The plan with other stages than those of its strategy, and a deployer where they need one."""
    stages = reshape(plan.stages)
    needed = any(one.kind in NEED_DEPLOYER for one in stages)
    deploy = plan.deploy or (DeploySpec.model_validate(DEPLOY) if needed else None)
    return plan.model_copy(update={"stages": stages, "deploy": deploy})


class MemoryReports:
    """Remembers whose report was written."""

    def __init__(self) -> None:
        self.written: list[str] = []

    async def write(self, release: str) -> None:
        self.written.append(release)


class World:
    """A worker with everything in memory, and words to use it."""

    def __init__(self, client: Client, cell: Cell = NO_CELL) -> None:
        self.client = client
        self.cell = cell
        self.queue = main_queue(f"test-{uuid4()}", cell)
        self.router = RecordingRouter()
        self.connections: Mapping[str, Connection] = {}
        self.router_for: Callable[[RouterSpec], Routing] = lambda _: self.router.routing
        self.hook = ScriptedHook()
        self.hook_for: Callable[[HookCall], HookCaller] = lambda _: self.hook
        self.with_door: Callable[[HookEvent], HookEvent] = no_door
        self.platform = self.router.platform = MemoryPlatform()
        self.deployer = MemoryDeployer(self.platform)
        self.judge = ScriptedJudge(client)
        self.failures = ScriptedFailures()
        self.log = MemoryEventLog()
        self.notifier = MemoryNotifier()
        self.alerts = MemoryAlertSource()
        self.reports = MemoryReports()
        self.catalog: Catalog | None = None
        self.tuning = QUICK
        self.heals_within = timedelta(seconds=30)
        self.settings: dict[str, Any] = {}
        """Those of its workers that are not the defaults."""
        self._suffix = uuid4().hex[:8]

    @asynccontextmanager
    async def working(self, version: WorkerDeploymentVersion | None = None) -> AsyncIterator[None]:
        """Run the workers of all queues; with a `version`, as that build."""
        outside = Outside(
            routers=self.router_for,
            hooks=self._caller,
            deployers=lambda _: self.deployer,
            catalog=self.known_catalog,
            log=self.log,
            notifier=self.notifier,
            alerts=self.alerts,
            reports=self.reports,
            runs=self.runs,
            judge=self.judge.judge,
            begin_ramp=self.judge.begin_ramp,
            failures=self.failures,
            with_door=self.with_door,
            heals_within=self.heals_within,
        )
        queue = self.queue.removeprefix(str(self.cell))
        given = {"task_queue": queue, "cell": self.cell.name, **self.settings}
        settings = load_settings().model_copy(update=given)
        options = WorkerOptions(
            version=version, grace=timedelta(0), heartbeats_every=timedelta(milliseconds=50)
        )
        activities = activity_set(self.client, outside)
        async with AsyncExitStack() as stack:
            for worker in build_workers(self.client, settings, activities, options):
                await stack.enter_async_context(worker)
            yield

    def _caller(self, call: HookCall) -> HookCaller:
        """As a test says by now."""
        return self.hook_for(call)

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
            id=release_workflow_id(release, self.cell),
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
            id=canary_workflow_id(service, self.cell),
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
            canary_workflow_id(self.world.service(service), self.world.cell)
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

    async def is_paused(self, service: str = "a") -> bool:
        """Whether the canary itself is paused."""
        return (await self.canary_status(service)).paused

    async def waits_for(self, text: str) -> bool:
        """Whether the release shows that its first service waits for something with this text."""
        return text in (await self.status()).services[0].waits_for

    async def resumes(self, command: Command) -> bool:
        """Resume it; False where it has not heard from its canary yet that it pauses."""
        try:
            await self.handle.execute_update(SIGNAL_RESUME, command)
        except WorkflowUpdateFailedError:
            return False
        return True

    async def result(self, within: float = PATIENCE_S) -> ReleaseStatus:
        async with asyncio.timeout(within):
            return await self.handle.result()


async def eventually(condition: Callable[[], Any], within: float = PATIENCE_S) -> None:
    """Wait for a condition, which may be a coroutine function.

    What Temporal can't answer is not so yet: on a busy machine nobody polls for a while, and a task
    that took too long is done again.
    """
    refused: RPCError | None = None
    pause_s = 0.02
    try:
        async with asyncio.timeout(within):
            while True:
                try:
                    answer = condition()
                    if asyncio.iscoroutine(answer):
                        answer = await answer
                except RPCError as error:
                    answer, refused = None, error
                if answer:
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.4, 0.25)
    except TimeoutError:
        if refused is None:
            raise
        raise TimeoutError(f"after {within:g} s; last refused: {refused}") from refused
