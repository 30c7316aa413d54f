"""A stand-in for the release and canary workflows: same names and handlers, no activities."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from schemas import ids
    from schemas.release import (
        CanaryPhase,
        CanaryStatus,
        Cause,
        CauseKind,
        Command,
        ReleaseInput,
        ReleasePhase,
        ReleaseStatus,
        ServiceStatus,
    )

START = datetime(2026, 1, 1, tzinfo=UTC)


@workflow.defn(name=ids.RELEASE_WORKFLOW)
class StandInRelease:
    """Runs until told `approve` (finalized) or `rollback` (rolled back)."""

    @workflow.init
    def __init__(self, given: ReleaseInput) -> None:
        self._plan = given.plan
        self._phase = ReleasePhase.RUNNING
        self._paused = False
        self._cause: Cause | None = None

    @workflow.run
    async def run(self, given: ReleaseInput) -> ReleaseStatus:
        await workflow.wait_condition(lambda: self._phase.closed)
        return self.status()

    @workflow.query(name=ids.QUERY_STATUS)
    def status(self) -> ReleaseStatus:
        holds = CanaryPhase.FINALIZED if self._phase is ReleasePhase.FINALIZED else None
        back = CanaryPhase.ROLLED_BACK if self._phase is ReleasePhase.ROLLED_BACK else None
        return ReleaseStatus(
            release=self._plan.release,
            phase=self._phase,
            paused=self._paused,
            services=tuple(
                ServiceStatus(
                    service=name,
                    version=service.version,
                    depends_on=service.depends_on,
                    phase=holds or back or CanaryPhase.BAKING,
                    weight=5,
                    step=0,
                    steps=4,
                )
                for name, service in self._plan.services.items()
            ),
            cause=self._cause,
            started_at=START,
            labels=self._plan.labels,
        )

    @workflow.update(name=ids.SIGNAL_PAUSE)
    async def pause(self, value: Any = None) -> str:
        self._paused = True
        command = Command.of(value)
        return f"paused by {command.by} for {command.reason} at {command.service}"

    @pause.validator
    def _not_paused(self, value: Any = None) -> None:
        if self._paused:
            raise ApplicationError("it is paused already")

    @workflow.update(name=ids.SIGNAL_APPROVE)
    async def approve(self, value: Any = None) -> str:
        self._phase = ReleasePhase.FINALIZED
        return "approved"

    @workflow.update(name=ids.SIGNAL_ROLLBACK)
    async def rollback(self, value: Any = None) -> str:
        self.go_back(value)
        return "going back"

    @workflow.signal(name=ids.SIGNAL_ROLLBACK)
    def go_back(self, value: Any = None) -> None:
        by = Command.of(value).by
        self._cause = Cause(kind=CauseKind.COMMAND, text="ann said so", at=START, by=by)
        self._phase = ReleasePhase.ROLLED_BACK


@workflow.defn(name=ids.CANARY_WORKFLOW)
class StandInCanary:
    """Answers for one service of one release until cancelled."""

    @workflow.init
    def __init__(self, service: str, release: str) -> None:
        self._service, self._release = service, release

    @workflow.run
    async def run(self, service: str, release: str) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query(name=ids.QUERY_STATUS)
    def status(self) -> CanaryStatus:
        return CanaryStatus(
            sequence=0,
            at=START,
            release=self._release,
            service=self._service,
            version="2.0",
            phase=CanaryPhase.GATED,
            weight=25,
            step=1,
            steps=4,
            stable="1.0",
            waits_for="approval of ann",
            verdict=None,
            cause=None,
            paused=False,
            route=None,
            alerts_seen=0,
        )


@workflow.defn(name=ids.RELEASE_WORKFLOW)
class BrokenRelease:
    """A release whose workflow task fails, as after a bad deployment of Aviary itself."""

    @workflow.run
    async def run(self, given: ReleaseInput) -> ReleaseStatus:
        raise RuntimeError("broken")
