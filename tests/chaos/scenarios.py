"""The releases, and what their histories tell while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError

from aviary.catalogs import make_catalog
from schemas import ids
from schemas.alert import Alert, AlertStatus
from schemas.catalog import Catalog
from schemas.deploy import DeployRequested
from schemas.deploy_spec import DeploySpec
from schemas.release import (
    CanaryReport,
    Command,
    ReleaseInput,
    ReleasePhase,
    ReleasePlan,
    ReleaseStatus,
    ServicePlan,
    Tuning,
)
from schemas.stages import stages_of
from schemas.strategy import Strategy
from schemas.waits import asks_people, ends
from tests.chaos.points import RELEASE
from tests.chaos.testbed import FLAG, VERSIONS, Slot
from tests.workflows.kit.world import NEED_DEPLOYER
from tests.workflows.stage_examples import unmet, with_stage
from workflows.planning import plan_release

_STARTED = EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
_SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
TUNING = Tuning(
    stuck_after=timedelta(seconds=20),
    retry_cap=timedelta(milliseconds=200),
    see_quiet=timedelta(milliseconds=200),
    see_within=timedelta(seconds=1),
    preflight_poll=timedelta(milliseconds=100),
)
HARM = 'harm{service="{{service}}",version="{{version}}"}'


@dataclass(frozen=True)
class Scenario:
    """One release, and how it must end whatever happens to the worker."""

    name: str
    ends: ReleasePhase
    bakes: tuple[str, str] = ("300ms", "300ms")
    """Of ledger, and of payments, which depends on it."""
    soak: str = "200ms"
    bad: str | None = None
    """A service whose new version does harm."""
    alert_on: str | None = None
    alert_when: tuple[str, str] = ("", "")
    """Service and phase at which the alert fires."""
    stage: str | None = None
    """A kind of stage that its canaries have as well."""


STEPS = {"steps": [50], "bake": "300ms"}
DEPLOY = {"kind": "memory", "instances": 2, "keep_old": "0s", "progress_deadline": "1m"}
NOT_HERE = {
    "ramp": "failed requests are counted by no metric of the testbed",
    "first_deployment": "each service of the testbed has a route",
}
"""Kinds of stages that these releases can't come to, and why; `rollback_order` does."""
_BY_THEMSELVES = (
    Scenario("healthy", ReleasePhase.FINALIZED),
    Scenario("judged bad", ReleasePhase.ROLLED_BACK, bad="payments", bakes=("300ms", "10s")),
    Scenario(
        "alert in a bake",
        ReleasePhase.ROLLED_BACK,
        bakes=("300ms", "10m"),
        alert_on="payments",
        alert_when=("payments", "baking"),
    ),
    Scenario(
        "alert while holding",
        ReleasePhase.ROLLED_BACK,
        soak="10m",
        alert_on="ledger",
        alert_when=("payments", "holding"),
    ),
    Scenario(
        "alert below a flag",
        ReleasePhase.ROLLED_BACK,
        soak="10m",
        alert_on="ledger",
        alert_when=(FLAG, "holding"),
        stage="flags",
    ),
    Scenario("with retire", ReleasePhase.FINALIZED, stage="retire"),
    Scenario(
        "with deploy",
        ReleasePhase.ROLLED_BACK,
        bad="payments",
        bakes=("300ms", "10s"),
        stage="deploy",
    ),
)
SCENARIOS = (
    *_BY_THEMSELVES,
    *(
        Scenario(f"with {kind}", ReleasePhase.FINALIZED, stage=kind)
        for kind in unmet(stages_of(Strategy.model_validate(STEPS)))
        if kind not in {*NOT_HERE, *NEED_DEPLOYER}
    ),
)
"""Seven, and one for each kind of stage that none of those comes to."""


class Running:
    """A release that was begun, followed by its histories."""

    def __init__(self, slot: Slot, scenario: Scenario, versions: dict[str, str]) -> None:
        self.slot = slot
        self.scenario = scenario
        self.id = f"{scenario.name.replace(' ', '-')}-{uuid4().hex[:8]}"
        self.versions = versions
        """Before, by service."""
        self.names = slot.services | ({FLAG: slot.flag} if self.has_flag else {})
        """By the name in the scenario."""
        self.histories: dict[str, list[str]] = {RELEASE: []}
        """Types of the events seen so far: of the release, and of each canary."""
        self.grown = asyncio.Condition()
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._alerted = False

    @property
    def handle(self) -> WorkflowHandle[Any, ReleaseStatus]:
        return self.slot.client.get_workflow_handle(
            ids.release_workflow_id(self.id), result_type=ReleaseStatus
        )

    @property
    def deploys(self) -> bool:
        """Whether its versions are put up by a deployer."""
        return self.scenario.stage in NEED_DEPLOYER

    @property
    def has_flag(self) -> bool:
        """Whether it turns a feature flag on, beside which its first service is judged."""
        return self.scenario.stage == "flags"

    async def begin(self) -> None:
        """Start the release, and follow it."""
        self.slot.begin_looking()
        services = [
            {"service": self.slot.services[name], "version": other(version)}
            for name, version in self.versions.items()
        ]
        if self.has_flag:
            self.slot.new_flag()
            services.append({"flag": self.slot.flag, "to": "on"})
        deploy = DeployRequested.model_validate({"release": self.id, "services": services})
        plan = self._planned(deploy)
        if self.scenario.bad is not None:
            self.slot.testbed.evidence.bad = self.slot.testbed.evidence.bad | {self._harmful()}
        await self.slot.client.start_workflow(
            ids.RELEASE_WORKFLOW,
            ReleaseInput(plan=plan, tuning=TUNING),
            id=ids.release_workflow_id(self.id),
            task_queue="aviary",
            task_timeout=timedelta(seconds=2),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
        self._follow(RELEASE, ids.release_workflow_id(self.id), None)

    def _planned(self, deploy: DeployRequested) -> ReleasePlan:
        """What is released; with the stage that the scenario asks for."""
        plan, stage = plan_release(self._catalog(), deploy), self.scenario.stage
        if stage is None or self.has_flag:
            return plan
        if stage in NEED_DEPLOYER:
            return plan.model_copy(
                update={"services": {name: _put_up(one) for name, one in plan.services.items()}}
            )
        services = {
            name: one.model_copy(update={"stages": with_stage(one.stages, stage)})
            for name, one in plan.services.items()
        }
        return plan.model_copy(update={"services": services})

    async def finish(self) -> None:
        """Stop following."""
        for task in self._followed.values():
            task.cancel()
        await asyncio.gather(*self._followed.values(), return_exceptions=True)
        if self.scenario.bad is not None:
            self.slot.testbed.evidence.bad = self.slot.testbed.evidence.bad - {self._harmful()}

    async def until(self, so: Callable[[], bool]) -> None:
        """Wait until the histories are so."""
        async with self.grown:
            await self.grown.wait_for(so)

    def _harmful(self) -> tuple[str, str]:
        name = self.scenario.bad or ""
        return self.slot.services[name], other(self.versions[name])

    def _catalog(self) -> Catalog:
        names, envoy = self.slot.services, self.slot.testbed.envoy
        router = {
            "kind": "envoy",
            "directory": str(envoy.fleet.directory),
            "admin": [envoy.admin_url],
        }
        strategies = {
            name: {"steps": [50], "bake": bake, "soak": self.scenario.soak}
            for name, bake in zip(names, self.scenario.bakes, strict=True)
        }
        document = {
            "version": 1,
            "defaults": {
                "router": router,
                "metrics": [{"kind": "threshold", "name": "harm", "value": HARM, "limit": 1}],
                "judge": {"method": "threshold", "interval": "100ms"},
            },
            "strategies": strategies,
            "services": {
                names["ledger"]: {"strategy": "ledger"},
                names["payments"]: {"strategy": "payments", "depends_on": [names["ledger"]]},
            },
        }
        return make_catalog(self._with_flag(document) if self.has_flag else document)

    def _with_flag(self, document: dict[str, Any]) -> dict[str, Any]:
        flag, bake = self.slot.flag, self.scenario.bakes[0]
        dark = {"weight": 50, "bake": bake, "flags": {flag: "off"}}
        document["strategies"]["ledger"]["steps"] = [dark]
        document["strategies"][FLAG] = {"steps": [50], "bake": bake}
        document["services"][flag] = {
            "strategy": FLAG,
            "depends_on": [self.slot.services["payments"]],
            "router": {"kind": "flagd", "file": str(self.slot.flags)},
        }
        return document

    def _follow(self, history: str, workflow: str, run: str | None) -> None:
        if history not in self._followed:
            self.histories.setdefault(history, [])
            self._followed[history] = asyncio.create_task(self._read(history, workflow, run))

    async def _read(self, history: str, workflow: str, run: str | None) -> None:
        async for event in self._events(workflow, run):
            kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
            async with self.grown:
                self.histories[history].append(kind)
                self.grown.notify_all()
            if event.event_type == _STARTED:
                child = event.child_workflow_execution_started_event_attributes.workflow_execution
                self._follow(self._short(child.workflow_id), child.workflow_id, child.run_id)
            if history == RELEASE and event.event_type == _SIGNALED:
                await self._heard(event)

    async def _events(self, workflow: str, run: str | None) -> AsyncIterator[HistoryEvent]:
        handle = self.slot.client.get_workflow_handle(workflow, run_id=run)
        seen = 0
        while True:
            try:
                async for event in handle.fetch_history_events(wait_new_event=True):
                    if event.event_id > seen:
                        seen = event.event_id
                        yield event
            except RPCError:
                await asyncio.sleep(0.05)
            else:
                return

    def _short(self, workflow: str) -> str:
        service = workflow.removeprefix("canary/")
        return next(name for name, full in self.names.items() if full == service)

    async def _heard(self, event: HistoryEvent) -> None:
        """A canary has told its release where it is."""
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name != ids.SIGNAL_REPORT:
            return
        report = CanaryReport.model_validate_json(signal.input.payloads[0].data)
        if self.scenario.stage is not None and asks_people(report):
            canary = self.slot.client.get_workflow_handle(ids.canary_workflow_id(report.service))
            for kind in ends(report)[:1]:
                await canary.signal(kind, Command(by="ann"))
        await self._fire(report)

    async def _fire(self, report: CanaryReport) -> None:
        """The alert, once a canary has reported the phase that the scenario waits for."""
        alert_on = self.scenario.alert_on
        if self._alerted or alert_on is None:
            return
        service, phase = self.scenario.alert_when
        if (report.service, report.phase) != (self.names[service], phase):
            return
        self._alerted = True
        alert = Alert(
            status=AlertStatus.FIRING,
            fingerprint=uuid4().hex,
            labels={
                "alertname": "Errors",
                "severity": "critical",
                "service": self.slot.services[alert_on],
            },
            starts_at=datetime.now(UTC),
        )
        canary = ids.canary_workflow_id(self.slot.services[alert_on])
        await self.slot.client.get_workflow_handle(canary).signal(ids.SIGNAL_ALERT, alert)


def _put_up(plan: ServicePlan) -> ServicePlan:
    """The plan of a service whose versions are put up and taken down."""
    stages = stages_of(plan.strategy, deploys=True)
    deploy = DeploySpec.model_validate(DEPLOY)
    return plan.model_copy(update={"stages": stages, "deploy": deploy})


def other(version: str) -> str:
    """The version to release."""
    return VERSIONS[1 - VERSIONS.index(version)]
