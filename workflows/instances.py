"""The instances of one canary's version: orders to its deployer, each with a larger generation."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.deploy import Asked, Order, TakeDown
    from activities.report_delivery import PendingReport
    from schemas.base import format_duration
    from schemas.deploy_spec import DeploySpec, Scale
    from schemas.deployment import WantedVersion
    from schemas.ids import RETIRE_WORKFLOW, SIGNAL_RETIRE, retire_workflow_id
    from schemas.release import CanaryState, ServicePlan, Tuning
    from schemas.retiring import RetireInput
    from workflows.calls import Call, Calls, Stop
    from workflows.cell import here
    from workflows.outcomes import Failed, Stopped

LEFT = frozenset({"StillInUse", "StaleGeneration"})
"""Types of the failures of a take-down whose version is needed again: it is somebody else's now."""
_REMEMBERED_WITHIN: Final = timedelta(seconds=10)


class Instances:
    """What one canary has its deployer do.

    A generation is the time in milliseconds, and larger than the one before: an order overrules all
    that went before it, by whichever release, and no late one overrules it.

    Args:
        release: that orders.
        plan: of the service.
        tuning: its times.
        calls: makes the calls.
    """

    def __init__(self, release: str, plan: ServicePlan, tuning: Tuning, calls: Calls) -> None:
        self._release = release
        self._plan = plan
        self._tuning = tuning
        self._calls = calls
        self.orders = 0
        """Generation of the last order."""
        self.ready = 0
        """Instances of the canary that were ready when last ordered."""
        self.stable: int | None = None
        """Instances that stable had as this canary began, where that matters."""
        self.before: WantedVersion | None = None
        """By which the version before was up as it was retired; None: not known."""

    def take_over(self, state: CanaryState) -> None:
        """Go on where an earlier run of this canary was."""
        self.orders = state.orders
        self.ready = state.instances
        self.stable = state.stable_instances

    @property
    def terms(self) -> DeploySpec:
        """Who puts versions up, and how; ask for it only where they are `ours`."""
        if self._plan.deploy is None:
            raise RuntimeError("the pipeline puts versions up")
        return self._plan.deploy

    @property
    def ours(self) -> bool:
        """Whether versions are put up here, and not by a pipeline."""
        return self._plan.deploy is not None

    def size(self, weight: float) -> int:
        """The instances that the canary needs for a share of the requests, in percent."""
        return self.terms.size(weight, self.stable)

    # --- forward ---

    async def look(self, stable: str | None, stop: Stop) -> Stopped | None:
        """Find out how many instances stable has, where the canary is to have as many."""
        if self.terms.scale is not Scale.FULL or stable is None or self.stable is not None:
            return None
        plan = self._plan
        asked = Asked(deploy=self.terms, service=plan.service, version=stable)
        summary = f"{plan.service}: how many instances has {stable}?"
        answer = await self._calls.make(Call.COUNT, asked, summary, stop=stop)
        if isinstance(answer, Stopped):
            return answer
        self.stable = answer
        return None

    async def put_up(
        self, weight: float, stop: Stop, report: PendingReport | None
    ) -> Stopped | None:
        """Have what a weight needs ready, of a version that may not be up."""
        return await self._order(Call.PUT_UP, self.size(weight), stop, report)

    def lacks(self, weight: float) -> int:
        """The instances that the canary needs before it gets a weight; 0: it has enough."""
        needed = self.size(weight) if self.ours and self.ready and weight else 0
        return needed if needed > self.ready else 0

    async def grow(self, weight: float, stop: Stop, report: PendingReport | None) -> Stopped | None:
        """Have what a weight needs ready, of a version that is up."""
        return await self._order(Call.SCALE, self.size(weight), stop, report)

    async def _order(
        self, call: Call, count: int, stop: Stop, report: PendingReport | None
    ) -> Stopped | None:
        plan = self._plan
        order = Order(
            router=plan.router,
            deploy=self.terms,
            wanted=plan.wanted(self._release, self.next_order(), count),
            within=self.terms.progress_deadline,
            report=report,
        )
        summary = f"{plan.service}: {count} of {plan.version} ready"
        answer = await self._calls.make(call, order, summary, stop=stop)
        if isinstance(answer, Stopped):
            return answer
        self.ready = count
        return None

    # --- taken down ---

    async def take_down(self) -> Failed | None:
        """Take the canary's version away, unless it is needed again; why that failed."""
        plan = self._plan
        asked = TakeDown(
            router=plan.router,
            deploy=self.terms,
            service=plan.service,
            version=plan.version,
            generation=self.next_order(),
        )
        summary = f"{plan.service}: take {plan.version} down"
        answer = await self._calls.make(
            Call.TAKE_DOWN, asked, summary, within=self._tuning.retire_within
        )
        if isinstance(answer, Failed) and answer.error not in LEFT:
            return answer
        return None

    async def remember(self, version: str) -> None:
        """Learn by which order a version is up: it may have to be put up again once it is gone.

        Nothing waits for it for long, and nothing fails where that is not known.
        """
        plan = self._plan
        asked = Asked(deploy=self.terms, service=plan.service, version=version)
        summary = f"{plan.service}: by which order is {version} up?"
        answer = await self._calls.make(Call.RECALL, asked, summary, within=_REMEMBERED_WITHIN)
        self.before = answer if isinstance(answer, WantedVersion) else None

    async def retire(self, version: str, at: datetime, because: str) -> None:
        """Have a version taken down at that time, by a workflow of its own; never given up.

        One that waits already, because an earlier release needed the version no more, is given
        this order.
        """
        plan, told = self._plan, False
        order = RetireInput(
            release=self._release,
            service=plan.service,
            version=version,
            router=plan.router,
            deploy=self.terms,
            generation=self.next_order(),
            at=at,
            because=because,
        )
        workflow_id = retire_workflow_id(plan.service, version, here())
        while not told:
            try:
                await workflow.start_child_workflow(
                    RETIRE_WORKFLOW,
                    order,
                    id=workflow_id,
                    parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                    static_summary=f"{plan.service} {version}: taken down at {at:%H:%M:%S} UTC",
                    static_details=because,
                )
                told = True
            except WorkflowAlreadyStartedError:
                told = await self._signal(workflow_id, order)

    @staticmethod
    async def _signal(workflow_id: str, order: RetireInput) -> bool:
        handle = workflow.get_external_workflow_handle(workflow_id)
        try:
            await handle.signal(SIGNAL_RETIRE, order)
        except FailureError:
            return False  # it has ended meanwhile
        return True

    def next_order(self) -> int:
        """The generation of a new order, about whichever version of the service."""
        self.orders = max(self.orders + 1, int(workflow.now().timestamp() * 1000))
        return self.orders


def kept(length: Any) -> str:
    """`kept for 10m`, or nothing for no time."""
    return f", kept for {format_duration(length)}" if length else ""
