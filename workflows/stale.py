"""A feature flag that stays fully on is told once: its code should lose the other way.

A workflow of its own, `stale/<flag>`, for the months after a release. It moves nothing, and keeps
nobody's lock: the next release of the flag tells it what everybody has then.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.announce import NOTIFY, NOTIFY_POLICY
    from activities.flags import LOOK_AT_FLAG, LOOK_AT_FLAG_POLICY, FlagLook
    from schemas.base import format_duration
    from schemas.event_kinds import NoticeKind
    from schemas.ids import SIGNAL_STALE, STALE_WORKFLOW, effects_queue, judging_queue
    from schemas.notice import Notice
    from schemas.stale_flag import OFF, StaleEnded, StaleInput
    from workflows import describe


@workflow.defn(name=STALE_WORKFLOW, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class StaleWorkflow:
    """Waits until one flag has been fully on for too long."""

    @workflow.init
    def __init__(self, start: StaleInput) -> None:
        self._order = start

    @workflow.run
    async def run(self, _: StaleInput) -> StaleEnded:
        """Wait, look and tell once.

        Returns:
            How it ended. It raises only when cancelled.
        """
        while True:
            order = self._order
            if order.flag.variant == OFF:
                return StaleEnded(told=False, text=f"{order.flag.flag} is off")
            if not await self._waited(order):
                continue
            found = await self._look(order)
            if self._order is not order:
                continue
            if not found:
                return await self._tell(order)
            self._later(order, found)

    @workflow.signal(
        name=SIGNAL_STALE, description="Not for people: from a canary, what a flag is now."
    )
    def heed(self, order: StaleInput | None = None) -> None:
        """A newer release has given everybody a variant."""
        if order is not None and order.since > self._order.since:
            self._order = order

    async def _waited(self, order: StaleInput) -> bool:
        """Let the time pass; False when there is a newer order."""
        text = f"{_named(order)} since {order.since:%Y-%m-%d %H:%M} UTC"
        workflow.set_current_details(f"{text}; told at {order.look_at:%Y-%m-%d %H:%M} UTC")
        left = (order.look_at - workflow.now()).total_seconds()
        try:
            await workflow.wait_condition(
                lambda: self._order is not order,
                timeout=max(left, 0),
                timeout_summary=f"{_named(order)}: until it is stale",
            )
        except TimeoutError:
            return True
        return False

    async def _look(self, order: StaleInput) -> str:
        """What users have instead; empty while all have the variant."""
        policy = LOOK_AT_FLAG_POLICY
        try:
            look: FlagLook = await workflow.execute_activity(
                LOOK_AT_FLAG,
                order.flag,
                result_type=FlagLook,
                task_queue=judging_queue(workflow.info().task_queue),
                summary=f"{order.flag.flag}: is it {order.flag.variant} for everybody?",
                **policy.options,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return describe.failure(error)
        return look.found

    def _later(self, order: StaleInput, found: str) -> None:
        """Somebody else has changed it: it is looked at again as much later."""
        workflow.logger.info("a flag is not as released", extra={"found": found})
        self._order = later = order.model_copy(update={"look_at": workflow.now() + order.after})
        if workflow.info().is_continue_as_new_suggested():
            workflow.continue_as_new(later)

    async def _tell(self, order: StaleInput) -> StaleEnded:
        text = (
            f"{_named(order)} since {order.since:%Y-%m-%d}, for more than "
            f"{format_duration(order.after)}: take the flag out of the code, and then away"
        )
        notice = Notice(
            kind=NoticeKind.STALE,
            release=order.release,
            service=order.flag.flag,
            version=order.flag.variant,
            text=text,
            at=workflow.now(),
            environment=order.environment,
        )
        try:
            await workflow.execute_activity(
                NOTIFY,
                notice,
                task_queue=effects_queue(workflow.info().task_queue),
                summary="notice: stale",
                **NOTIFY_POLICY.options,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            text += f"; nobody could be told: {describe.failure(error)}"
        workflow.set_current_details(text)
        return StaleEnded(told=True, text=text)


def _named(order: StaleInput) -> str:
    return f"flag {order.flag.flag} is {order.flag.variant} for everybody"
