"""The drift check: finds canaries with traffic, and versions, that nobody looks after.

A canary is cleaned up by its release, and a release by its canaries. What both miss, because both
were terminated, this finds; a Temporal Schedule starts it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.drift import LOOK, LOOK_POLICY, Drift, DriftInput, DriftReport, Look
    from activities.leftover import Leftover
    from schemas.catalog_check import listed, many
    from schemas.event_kinds import EventType, NoticeKind
    from schemas.events import event
    from schemas.ids import (
        CANARY_WORKFLOW,
        RETIRE_WORKFLOW,
        canary_workflow_id,
        judging_queue,
        retire_workflow_id,
    )
    from schemas.notice import Notice
    from schemas.release import CanaryInput, Cause, CauseKind
    from schemas.retiring import RetireInput
    from workflows.cell import here
    from workflows.outbox import Announcer

DRIFT_WORKFLOW = "aviary.drift"
WATCH = timedelta(hours=1)
"""How long one check goes on looking: a list of workflows is not flooded with checks."""
TASK_TIMEOUT = timedelta(seconds=2)
"""As for releases: a killed worker keeps a task no longer than this."""


class _Told(NamedTuple):
    """What is told of one drift."""

    service: str
    release: str
    version: str
    weight: float
    stable: str | None
    text: str


@workflow.defn(
    name=DRIFT_WORKFLOW,
    versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    failure_exception_types=[Exception],
)
class DriftWorkflow:
    """Looks at all routes until something is found; eleven events when all is well.

    It goes on on the current build. Where that can't replay it, or read what an earlier one wrote,
    it fails, and the schedule starts the next one.
    """

    @workflow.run
    async def run(self, start: DriftInput | None = None) -> DriftReport:
        """Find drift, and start a canary for each that only takes its traffic back.

        The canary's id is the service's lock, so a release that begins meanwhile wins; the canary
        reads the route itself and its write is fenced, so nothing that was done since is undone.

        Returns:
            What was found, whether or not it could be taken on.
        """
        start = start or DriftInput()
        watch = WATCH if start.every else timedelta(0)
        report: DriftReport = await workflow.execute_activity(
            LOOK,
            Look(every=start.every, until=workflow.now() + watch, grace=start.grace),
            result_type=DriftReport,
            task_queue=judging_queue(workflow.info().task_queue),
            summary="routes that have a canary which nobody looks after",
            **LOOK_POLICY.longer(watch).options,
        )
        announcer = Announcer()
        if report.found or report.leftover:
            announcer.start()
        for number, drift in enumerate(report.found):
            if await self._take_back(start, report.environment, drift):
                told = _told_of(drift)
                self._tell(announcer, number, report.environment, told)
        for number, leftover in enumerate(report.leftover, len(report.found)):
            if await self._take_down(leftover):
                told = _told_of_version(leftover)
                self._tell(announcer, number, report.environment, told)
        await announcer.finish()
        return report

    async def _take_back(self, start: DriftInput, environment: str, drift: Drift) -> bool:
        """Start the canary that takes a route back; False when another canary has begun."""
        service = drift.route.service
        cause = Cause(
            kind=CauseKind.ERROR, service=service, text=_sentence(drift), at=workflow.now()
        )
        try:
            await workflow.start_child_workflow(
                CANARY_WORKFLOW,
                CanaryInput(
                    release=drift.route.owner,
                    plan=drift.plan,
                    tuning=start.tuning,
                    environment=environment,
                    restore=None if drift.forward else cause,
                    promote=drift.forward,
                ),
                id=canary_workflow_id(service, here()),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                task_timeout=TASK_TIMEOUT,
                static_summary=f"{service}: drift, {_way(drift)}",
                static_details=f"Release {drift.route.owner} left it behind",
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def _take_down(self, leftover: Leftover) -> bool:
        """Start the retirement of a version that is left; False when one runs already."""
        now = workflow.now()
        order = RetireInput(
            release=leftover.release,
            service=leftover.service,
            version=leftover.version,
            router=leftover.router,
            deploy=leftover.deploy,
            generation=max(leftover.generation + 1, int(now.timestamp() * 1000)),
            at=now,
            because="nothing needed it any more",
        )
        try:
            await workflow.start_child_workflow(
                RETIRE_WORKFLOW,
                order,
                id=retire_workflow_id(leftover.service, leftover.version, here()),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"{leftover.service} {leftover.version}: drift, taken down",
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    def _tell(self, announcer: Announcer, number: int, environment: str, told: _Told) -> None:
        workflow.logger.warning("drift", extra={"service": told.service, "release": told.release})
        announcer.publish(
            event(
                workflow.info().workflow_id,
                number,
                EventType.DRIFT_FOUND,
                release=told.release,
                subject=told.service,
                time=workflow.now(),
                data={
                    "release": told.release,
                    "environment": environment,
                    "version": told.version,
                    "weight": told.weight,
                    "stable": told.stable,
                    "text": told.text,
                },
            )
        )
        announcer.notify(
            Notice(
                kind=NoticeKind.DRIFT,
                release=told.release,
                service=told.service,
                text=told.text,
                at=workflow.now(),
            )
        )


def _told_of(drift: Drift) -> _Told:
    route = drift.route
    return _Told(
        route.service, route.owner, str(route.canary), route.weight, route.stable, _sentence(drift)
    )


def _told_of_version(left: Leftover) -> _Told:
    release = left.release or "unknown"
    text = (
        f"{left.service} {left.version} was up ({many(left.instances, 'instance')}) and nothing "
        f"needed it: no route names it, release {release} has ended; it is taken down"
    )
    return _Told(left.service, release, left.version, 0.0, None, text)


def _way(drift: Drift) -> str:
    return f"on to {drift.route.canary}" if drift.forward else f"back to {drift.route.stable}"


def _sentence(drift: Drift) -> str:
    route = drift.route
    what = "finalizing it, which it had begun" if drift.forward else "taking it back"
    where = f" by {listed(drift.routers)}" if drift.routers else ""
    where += f" ({listed(drift.away)}: no answer)" if drift.away else ""
    return (
        f"{route.service} {route.canary} had {route.weight:g} %{where} and nobody looked after it: "
        f"release {route.owner} and its canary have ended without {what}"
    )
