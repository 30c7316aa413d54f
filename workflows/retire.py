"""A retirement: takes a version down that nothing needs any more, once it was kept long enough.

It is a workflow of its own so that nobody's lock is kept meanwhile: the next release of the service
begins at once. If that needs the version again it orders so with a larger generation, and this
order is refused.
"""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow
from temporalio.common import RetryPolicy, VersioningBehavior
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.deploy import TAKE_DOWN, TAKE_DOWN_POLICY, TakeDown
    from schemas.ids import RETIRE_WORKFLOW, SIGNAL_RETIRE, deploying_queue
    from schemas.retiring import Retired, RetireInput
    from workflows import describe
    from workflows.calls import type_of
    from workflows.instances import LEFT
    from workflows.trying import for_ever


@workflow.defn(name=RETIRE_WORKFLOW, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class RetireWorkflow:
    """Waits, and takes one version of one service down; never given up."""

    @workflow.init
    def __init__(self, start: RetireInput) -> None:
        self._order = start

    @workflow.run
    async def run(self, _: RetireInput) -> Retired:
        """Take the version down when its time has come.

        Returns:
            What became of it: that it is needed again is no failure.
        """
        while True:
            order = await self._due()
            self._show(f"Taking {order.service} {order.version} down: {order.because}.")
            failed = await self._take_down(order)
            if order is not self._order:
                continue  # a newer one came meanwhile
            if failed is None:
                return Retired(
                    gone=True, text=f"{order.service} {order.version} is gone: {order.because}"
                )
            if failed:
                return Retired(gone=False, text=failed)
            await workflow.sleep(order.retry_cap, summary="before it is tried again")

    async def _due(self) -> RetireInput:
        while (left := (self._order.at - workflow.now()).total_seconds()) > 0:
            order = self._order
            self._show(
                f"{order.service} {order.version} stays up until {order.at:%H:%M:%S} UTC: "
                f"{order.because}. Then it is taken down, unless a release needs it again."
            )
            try:
                await workflow.wait_condition(
                    lambda: self._order.generation > order.generation,  # noqa: B023 - read at once
                    timeout=left,
                    timeout_summary=f"{order.service} {order.version} is kept",
                )
            except TimeoutError:
                break
        return self._order

    async def _take_down(self, order: RetireInput) -> str | None:
        """None: it is gone; else why it is left, or nothing where it is to be tried again."""
        asked = TakeDown(
            router=order.router,
            deploy=order.deploy,
            service=order.service,
            version=order.version,
            generation=order.generation,
        )

        async def once(retry: RetryPolicy) -> None:
            await workflow.execute_activity(
                TAKE_DOWN,
                asked,
                task_queue=deploying_queue(workflow.info().task_queue),
                summary=f"{order.service}: take {order.version} down",
                **replace(TAKE_DOWN_POLICY, retry=retry).options,
            )

        try:
            await for_ever(once, TAKE_DOWN_POLICY.retry, self._told)
        except ActivityError as error:
            text = describe.failure(error)
            if type_of(error) in LEFT:
                return text
            self._told(text)
            return ""
        return None

    def _told(self, failure: str) -> None:
        if failure:
            self._show(f"It is tried again; last failure: {failure}")
            workflow.logger.warning("a version is not taken down", extra={"error": failure})

    @staticmethod
    def _show(text: str) -> None:
        workflow.set_current_details(text)

    @workflow.signal(
        name=SIGNAL_RETIRE, description="Not for people: from a canary, the newest order."
    )
    def retire(self, order: RetireInput | None = None) -> None:
        """Take a newer order in place of the one that waits."""
        if order is not None and order.generation > self._order.generation:
            self._order = order
