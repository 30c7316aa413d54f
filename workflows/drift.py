"""The drift check: finds traffic on canaries that nobody looks after, and has it taken back.

A canary is cleaned up by its release, and a release by its canaries. What both miss, because both
were terminated, this finds; a Temporal Schedule starts it.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.drift import LOOK, LOOK_POLICY, Drift, DriftInput, DriftReport, Look
    from schemas.event_kinds import EventType, NoticeKind
    from schemas.events import event
    from schemas.ids import CANARY_WORKFLOW, canary_workflow_id, judging_queue
    from schemas.notice import Notice
    from schemas.release import CanaryInput, Cause, CauseKind
    from workflows.cell import here
    from workflows.outbox import Announcer

DRIFT_WORKFLOW = "aviary.drift"
WATCH = timedelta(hours=1)
"""How long one check goes on looking: a list of workflows is not flooded with checks."""
TASK_TIMEOUT = timedelta(seconds=2)
"""As for releases: a killed worker keeps a task no longer than this."""


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
            Look(every=start.every, until=workflow.now() + watch),
            result_type=DriftReport,
            task_queue=judging_queue(workflow.info().task_queue),
            summary="routes that have a canary which nobody looks after",
            **LOOK_POLICY.longer(watch).options,
        )
        announcer = Announcer()
        if report.found:
            announcer.start()
        for number, drift in enumerate(report.found):
            if await self._take_back(start, report.environment, drift):
                self._tell(announcer, number, report.environment, drift)
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

    def _tell(self, announcer: Announcer, number: int, environment: str, drift: Drift) -> None:
        route, text = drift.route, _sentence(drift)
        workflow.logger.warning("drift", extra={"service": route.service, "release": route.owner})
        announcer.publish(
            event(
                workflow.info().workflow_id,
                number,
                EventType.DRIFT_FOUND,
                release=route.owner,
                subject=route.service,
                time=workflow.now(),
                data={
                    "release": route.owner,
                    "environment": environment,
                    "version": route.canary,
                    "weight": route.weight,
                    "stable": route.stable,
                    "text": text,
                },
            )
        )
        announcer.notify(
            Notice(
                kind=NoticeKind.DRIFT,
                release=route.owner,
                service=route.service,
                text=text,
                at=workflow.now(),
            )
        )


def _way(drift: Drift) -> str:
    return f"on to {drift.route.canary}" if drift.forward else f"back to {drift.route.stable}"


def _sentence(drift: Drift) -> str:
    route = drift.route
    what = "finalizing it, which it had begun" if drift.forward else "taking it back"
    return (
        f"{route.service} {route.canary} had {route.weight:g} % and nobody looked after it: "
        f"release {route.owner} and its canary have ended without {what}"
    )
