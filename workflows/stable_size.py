"""Stable's instances during a canary whose strategy has it keep only those of its share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.deploy import Asked, Order
    from schemas.deploy_spec import needed
    from schemas.deployment import WantedVersion
    from schemas.release import CanaryInput, CanaryState
    from workflows.calls import Call, Calls, Stop, never, not_yet
    from workflows.instances import Instances
    from workflows.outcomes import Failed, Stopped
    from workflows.reset import resets


class StableSize:
    """How many instances stable has; without effect where it keeps its size.

    Stable is of an earlier release, whose recipe only its platform remembers. Where that does not,
    stable keeps its size.

    Args:
        start: of the canary.
        calls: makes the calls.
        instances: of the canary's own version.
    """

    def __init__(self, start: CanaryInput, calls: Calls, instances: Instances) -> None:
        self._plan = start.plan
        self._restores = start.restore is not None
        self._calls = calls
        self._instances = instances
        self.order: WantedVersion | None = None
        """By which stable is up, with all of its instances; None: not known."""
        self.ordered: int | None = None
        """Instances that it is to have now; None: not known."""

    def take_over(self, state: CanaryState) -> None:
        """Go on where an earlier run of this canary was."""
        self.order = state.stable_order
        self.ordered = state.stable_ordered

    @property
    def within(self) -> timedelta | None:
        """How long going back waits for it; None: it keeps its size."""
        if self._plan.deploy is None:
            return None
        found = (one.regrow_within for one in self._plan.stages if one.kind == "shift")
        return next((one for one in found if one is not None), None)

    @property
    def lacks(self) -> int:
        """The instances that it is to have for all requests, where it has fewer; else 0."""
        if self.order is None or self.ordered is None or self.ordered >= self.order.instances:
            return 0
        return self.order.instances

    async def look(self, stable: str | None, stop: Stop) -> Stopped | None:
        """Learn by which order stable is up, before the canary gets any request."""
        if self.within is None or stable is None or self.order is not None:
            return None
        answer = await self._recall(stable, stop=stop)
        return answer if isinstance(answer, Stopped) and not isinstance(answer, Failed) else None

    async def look_again(self, stable: str | None) -> None:
        """Where this run can't know what was ordered of stable, ask, for at most `within`."""
        if stable is not None and (self.order is None or resets()):
            await self._recall(stable, within=self.within)

    async def shrink(self, weight: float, stop: Stop) -> Stopped | None:
        """Take away what stable does not need beside a canary of that weight.

        That it fails is no reason to go back.
        """
        if self.within is None or self.order is None:
            return None
        count = needed(self.order.instances, 100 - weight)
        if count >= (self.order.instances if self.ordered is None else self.ordered):
            return None
        self.ordered = count
        order = self._order(self.order, count, self._instances.terms.progress_deadline)
        answer = await self._calls.make(Call.SCALE, *order, stop=stop)
        if isinstance(answer, Failed):
            workflow.logger.warning("stable keeps its size", extra={"error": answer.cause.text})
            return None
        stopped: Stopped | None = answer
        return stopped

    async def grow(
        self, within: timedelta, *, stop: Stop = never, unless: Callable[[], bool] = not_yet
    ) -> Stopped | None:
        """Have all of its instances ready, where it has fewer; waits for at most `within`.

        That they are not ready by then is no reason to go back: `lacks` says so.
        """
        if self.order is None or not self.lacks:
            return None
        order = self._order(self.order, self.lacks, within)
        answer = await self._calls.make(Call.SCALE, *order, stop=stop, unless=unless, within=within)
        if isinstance(answer, Failed):
            workflow.logger.warning("stable is small", extra={"error": answer.cause.text})
        elif isinstance(answer, Stopped):
            return answer
        elif not unless():
            self.ordered = self.order.instances
        return None

    async def _recall(
        self, stable: str, *, stop: Stop = never, within: timedelta | None = None
    ) -> Any:
        plan, terms = self._plan, self._instances.terms
        asked = Asked(deploy=terms, service=plan.service, version=stable)
        summary = f"{plan.service}: by which order is {stable} up?"
        answer = await self._calls.make(Call.RECALL, asked, summary, stop=stop, within=within)
        if not isinstance(answer, WantedVersion):
            workflow.logger.warning("stable keeps its size: its order is not remembered")
            return answer
        full = answer.instances
        if resets() or self._restores:  # the run before this may have taken some away
            full = max(full, terms.instances, self.order.instances if self.order else 0)
        self.order = answer.model_copy(update={"instances": full})
        self.ordered = answer.instances
        return None

    def _order(self, order: WantedVersion, count: int, within: timedelta) -> tuple[Order, str]:
        update = {"generation": self._instances.next_order(), "instances": count}
        plan = self._plan
        made = Order(
            router=plan.router,
            deploy=self._instances.terms,
            wanted=order.model_copy(update=update),
            within=within,
        )
        return made, f"{plan.service}: {count} of {order.version} ready"
