"""How a canary goes back: stable has everything again, and instances that can take it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.standing import Standing
    from schemas.release import CanaryPhase, Cause
    from schemas.verdict import SampleRatio
    from workflows.calls import see_back
    from workflows.commands import CommandKind
    from workflows.inbox import Inbox
    from workflows.standing import look_at, wait_until_healthy


class GoingBack(Inbox):
    """The way back of one canary, never given up."""

    _forward: asyncio.Task[None] | None = None
    _left: asyncio.Task[None] | None = None
    """A way forward that was left for a shorter one."""

    async def _go_back(self, cause: Cause) -> None:
        """Give stable everything again: never given up, however long it takes.

        Where a person keeps the new version, or there is none to go back to, it stays.
        """
        self._trouble = cause
        if self._traffic.suspect:
            await self._take_back()
        if self._kept is not None:
            self._enter(CanaryPhase.FINALIZING, f"the router to confirm {self._plan.version}")
            await self._traffic.keep()
        if self._traffic.first:
            service, version = self._plan.service, self._plan.version
            text = f"{version} stays, as the first version of {service}: nothing is to go back to"
            self._abort = self._trouble = cause.model_copy(update={"text": f"{cause.text}; {text}"})
        stays = self._traffic.first or self._kept is not None
        self._enter(CanaryPhase.FINALIZED if stays else CanaryPhase.ROLLED_BACK)

    async def _take_back(self) -> None:
        text = "the router to confirm that stable has all"
        self._enter(CanaryPhase.ROLLING_BACK, text, show_later=True)
        undo = asyncio.create_task(self._traffic.give_back())
        before = asyncio.create_task(self._standing(timedelta(0)))  # nothing waits for this
        try:
            await workflow.wait_condition(
                undo.done,
                timeout=self._start.tuning.stuck_after.total_seconds(),
                timeout_summary=f"stuck, when {self._plan.service} is not back by then",
            )
        except TimeoutError:
            self._enter(CanaryPhase.STUCK, "the router, still tried")
        await undo
        self._verify()  # by now: what it depends on waits for this, and for no look at instances
        await self._until_it_stands(await before)
        if self._kept is None:
            await self._see_back()
            await self._until_it_stands(await self._standing(self._start.tuning.stands_within))

    async def _standing(self, within: timedelta) -> Standing | None:
        """What stands behind stable; None while it is not known which version that is."""
        stable = self._traffic.stable
        return await look_at(self._plan, stable, within) if stable is not None else None

    async def _until_it_stands(self, standing: Standing | None) -> None:
        """Where stable has no healthy instance: say so, until it has, or a person decides."""
        while standing is not None and standing.down and self._kept is None:
            text = (
                f"{standing.target} to have a healthy instance, for users get errors "
                f"({standing.sentence}); `keep` gives {self._plan.version} all requests instead"
            )
            self._enter(CanaryPhase.STUCK, text, ends_by=(CommandKind.KEEP,))
            healthy = wait_until_healthy(self._plan, standing.target)
            try:
                await workflow.wait_condition(lambda: healthy.done() or self._kept is not None)  # noqa: B023
            finally:
                healthy.cancel()
            if self._kept is None:
                standing = await healthy
        self._ends_by = ()

    def _verify(self) -> None:
        """The router has confirmed: no traffic by its word."""
        if self._phase is not CanaryPhase.VERIFYING:
            text = f"requests to stop starting on {self._plan.version}"
            self._enter(CanaryPhase.VERIFYING, text)

    async def _see_back(self) -> None:
        """Believe the router only once no request starts on the canary any more."""
        version = self._plan.version
        self._verify()
        while True:
            try:
                seen = await see_back(self._plan, self._start.tuning, self._note_failure)
            except ActivityError as error:
                workflow.logger.error("traffic can't be seen", extra={"error": str(error.cause)})
                return
            if seen.sample_ratio is not SampleRatio.MISMATCH:
                return
            text = (
                f"the router: it confirmed stable, but {seen.strays} requests started on {version}"
            )
            self._enter(CanaryPhase.STUCK, text)
            await self._traffic.write_again()

    def _enter(
        self,
        phase: CanaryPhase,
        waits_for: str = "",
        *,
        by_judge: bool = False,
        show_later: bool = False,
        ends_by: tuple[CommandKind, ...] = (),
    ) -> None:
        self._stop_if_going_back()
        if phase is not CanaryPhase.STUCK:
            self._failure = ""  # of another wait
        self._phase = phase
        self._waits_for = waits_for
        self._ends_by = ends_by
        self._tell(by_judge=by_judge, show_later=show_later)

    def _stop_if_going_back(self) -> None:
        """Stop the way forward once there is a cause to go back, or another task goes forward.

        Cancelling it is not enough: a cancellation that comes together with the answer that the
        task waits for is dropped, and the task would go on beside the rollback.
        """
        final = self._phase in {CanaryPhase.FINALIZING, CanaryPhase.FINALIZED}
        if asyncio.current_task() is self._forward:
            stopped = self._abort is not None and not final
        else:
            stopped = asyncio.current_task() is self._left
        if stopped:
            raise asyncio.CancelledError
