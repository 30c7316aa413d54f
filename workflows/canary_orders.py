"""A release's orders to its canaries: begin, go on, become stable, go back.

Here belongs how a canary is started and told, and that no order gets lost. When one is given, and
what the end of a canary means, is the release's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ChildWorkflowError, FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from schemas.deploy_spec import Prepare
    from schemas.ids import (
        CANARY_WORKFLOW,
        SIGNAL_BEGIN,
        SIGNAL_FINALIZE,
        SIGNAL_GO_ON,
        SIGNAL_ORDER_ROLLBACK,
        canary_workflow_id,
    )
    from schemas.release import (
        CanaryInput,
        CanaryOutcome,
        CanaryPhase,
        Cause,
        EndOrder,
        ReleaseInput,
    )
    from workflows import describe, pages
    from workflows.admission_client import AdmissionClient
    from workflows.attributes import of_canary
    from workflows.cell import here
    from workflows.outbox import Pace
    from workflows.readiness import Readiness
    from workflows.reset import Reset, order_end, resets
    from workflows.service_states import ServiceStates

TASK_TIMEOUT: Final = timedelta(seconds=2)
"""With the workers' short sticky time-out, a killed worker delays the next alert by 1 to 2 s."""


@dataclass(frozen=True)
class CanaryEvents:
    """What the release is told of its canaries."""

    begun: Callable[[], None]
    """One was started."""
    busy: Callable[[str], Awaitable[None]]
    """Another release's canary of the service is there."""
    closed: Callable[[str, CanaryOutcome], None]
    """A service's canary has ended, and how."""
    lost: Callable[[str, str], None]
    """A service's canary has ended without an outcome, and why."""


class CanaryOrders:
    """The canaries of one release that run, and what each was told.

    Args:
        start: of the release.
        states: of its services.
        readiness: which services had a route when the release began.
        admission: knows when other canaries end.
        reset: whether the release is the work of a reset.
        events: what is told.
    """

    def __init__(  # noqa: PLR0913 - the release's parts
        self,
        start: ReleaseInput,
        states: ServiceStates,
        *,
        readiness: Readiness,
        admission: AdmissionClient,
        reset: Reset,
        events: CanaryEvents,
    ) -> None:
        self._start = start
        self._plan = start.plan
        self._states = states
        self._readiness = readiness
        self._admission = admission
        self._reset = reset
        self._events = events
        self._pace = Pace()
        self._handles: dict[str, workflow.ChildWorkflowHandle[Any, CanaryOutcome]] = {}
        self.ordered: set[str] = set()
        """Services that were told to become stable or to go back."""
        self.let_on: dict[str, int] = {}
        """Per service, the last point of its group that it was told to go on from."""
        self.ahead = frozenset(
            name
            for name, one in start.plan.services.items()
            if one.deploy is not None and one.deploy.prepare is Prepare.AHEAD
        )
        """Services whose versions are put up before their turn."""
        self.told_begin: set[str] = set()
        """Those of them that were told that their turn has come."""

    @property
    def runs(self) -> dict[str, str]:
        """The first run of each canary, by service."""
        return {name: one.first_execution_run_id or "" for name, one in self._handles.items()}

    def knows(self, service: str) -> bool:
        """Whether a service's canary runs, and can be told."""
        return service in self._handles

    def order_anew(self, service: str) -> None:
        """A service's canary was reset, and may not know what it was told."""
        self.ordered.discard(service)

    def let_on_anew(self, service: str) -> None:
        """A service's canary tells of its wait once more, as one that was reset does."""
        self.let_on.pop(service, None)

    def forget(self, service: str) -> None:
        """A service's canary was lost sight of: another run of it must be ordered again."""
        self._handles.pop(service, None)
        self.ordered.discard(service)

    async def run(
        self, service: str, restore: Cause | None = None, *, promote: bool = False
    ) -> None:
        """Start a canary and see it to its end; `restore` and `promote` mend a lost one.

        One whose start is only confirmed after a reset is not this run's: Temporal takes another
        run for its parent, and the release, which begins anew, has it called in by name.
        """
        began = resets()
        start = CanaryInput(
            release=self._plan.release,
            plan=self._plan.services[service],
            tuning=self._start.tuning,
            environment=self._plan.environment,
            routed=service in self._readiness.routed,
            ahead=service in self.ahead,
            restore=restore,
            promote=promote,
        )
        try:
            async with self._pace.room(start):
                handle = await self._begin(service, start)
        except WorkflowAlreadyStartedError:
            if restore is not None or promote:
                await self._call_in(service, restore, promote=promote)
            elif resets() == began:
                await self._events.busy(service)
            return
        if resets() != began:
            return
        self._handles[service] = handle
        self._events.begun()
        try:
            self._events.closed(service, await handle)
        except ChildWorkflowError as error:
            self._events.lost(service, describe.failure(error))

    async def _begin(
        self, service: str, start: CanaryInput
    ) -> workflow.ChildWorkflowHandle[Any, CanaryOutcome]:
        return await workflow.start_child_workflow(
            CANARY_WORKFLOW,
            start,
            result_type=CanaryOutcome,
            id=canary_workflow_id(service, here()),
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            task_timeout=TASK_TIMEOUT,
            static_summary=f"{service} {self._plan.services[service].version}",
            static_details=pages.canary_details(self._plan, service, workflow.info().run_id),
            search_attributes=self._attributes(service),
        )

    def _attributes(self, service: str) -> TypedSearchAttributes | None:
        if not self._start.tuning.search_attributes:
            return None
        planned = self._plan.services[service]
        return of_canary(self._plan.release, self._plan.environment, planned)

    async def _call_in(self, service: str, restore: Cause | None, *, promote: bool) -> None:
        """End a canary from before a reset, of it or of this release, and see what it left."""
        order = EndOrder(release=self._plan.release, cause=restore)
        await order_end(service, order, self._admission)
        await self.run(service, restore, promote=promote)

    async def begin(self, service: str) -> None:
        """Its turn has come, before which its version was put up."""
        await self.signal(service, SIGNAL_BEGIN)

    async def go_on(self, service: str, point: int) -> None:
        """All of its group have come to a point."""
        await self.signal(service, SIGNAL_GO_ON, point)

    async def back(self, service: str, cause: Cause) -> None:
        """Go back; where its canary was lost, another run takes back what that left."""
        if service in self._handles:
            await self.signal(service, SIGNAL_ORDER_ROLLBACK, cause)
        elif self._states.phases[service] is CanaryPhase.HOLDING or self._reset.happened:
            self._states.set_phase(service, CanaryPhase.ROLLING_BACK)
            await self.run(service, restore=cause)
        else:
            self.ordered.discard(service)  # it is being started: asked again once it has

    async def final(self, service: str) -> None:
        """Become stable; where its canary was lost, another run does it."""
        if service in self._handles:
            await self.signal(service, SIGNAL_FINALIZE)
        else:
            await self.run(service, promote=True)

    async def signal(self, service: str, name: str, argument: Any = None) -> None:
        """Tell a canary; one that has closed meanwhile has its outcome already."""
        if service not in self._handles:
            return
        try:
            async with self._pace.room(argument):
                await self._handles[service].signal(name, argument)
        except FailureError as error:
            workflow.logger.warning(
                "a canary does not hear", extra={"service": service, "error": str(error)}
            )
