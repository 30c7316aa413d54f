"""Whether all services of a release may be touched: asked before any is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.readiness import MOST_SERVICES, READY, READY_POLICY, Lacking, Ready
    from schemas.base import format_duration
    from schemas.ids import waiting_queue
    from schemas.outside import TEXT_MOST, cut
    from schemas.release import Cause, CauseKind, ReleasePlan, Tuning
    from schemas.router_spec import RouterSpec

_NAMED = 5
_NOT_THERE = "NotFoundError"
"""The SDK's word for an activity that a worker does not have: an older one."""
_AT_ONCE = 10


class Readiness:
    """What is known of the services before the release begins."""

    def __init__(self, plan: ReleasePlan, tuning: Tuning) -> None:
        self._plan = plan
        self._within = tuning.ready_within
        self.done = False
        self.routed: set[str] = set()
        """Services that had a route when they were looked at."""
        self.waits_for = ""
        """What is missing, in words."""
        self.cause: Cause | None = None
        """Why the release ends before it began."""

    async def come(self, changed: Callable[[], None]) -> None:
        """Look once, and where something is missing wait for it as long as it may take."""
        missing = await self._ask(timedelta(0))
        if missing and self._within:
            self.waits_for = f"{_said(missing)} (for at most {format_duration(self._within)})"
            changed()
            missing = await self._ask(self._within)
        self.waits_for = ""
        if missing:
            service = next(iter(missing))
            text = f"nothing was touched: {_said(missing)}"
            self.cause = Cause(
                kind=CauseKind.NOT_READY, service=service, text=text, at=workflow.now()
            )
        else:
            self.done = True
        changed()

    async def _ask(self, within: timedelta) -> dict[str, str]:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(router: RouterSpec, services: dict[str, str]) -> Lacking:
            async with limit:
                deployed = tuple(one for one in services if self._plan.services[one].deploy)
                return await _look(
                    Ready(router=router, services=services, within=within, deployed=deployed)
                )

        found = await asyncio.gather(*(one(*each) for each in self._parts()))
        self.routed.update(service for each in found for service in each.routed)
        return {service: text for each in found for service, text in sorted(each.services.items())}

    def _parts(self) -> Iterator[tuple[RouterSpec, dict[str, str]]]:
        """The services of each router, so many at a time."""
        routers: dict[RouterSpec, list[str]] = {}
        for name, planned in self._plan.services.items():
            routers.setdefault(planned.router, []).append(name)
        for router, names in routers.items():
            for at in range(0, len(names), MOST_SERVICES):
                some = names[at : at + MOST_SERVICES]
                yield router, {name: self._plan.services[name].version for name in some}


async def _look(request: Ready) -> Lacking:
    retry = replace(READY_POLICY.retry, non_retryable_error_types=[_NOT_THERE])
    try:
        found: Lacking = await workflow.execute_activity(
            READY,
            request,
            result_type=Lacking,
            task_queue=waiting_queue(workflow.info().task_queue),
            summary=cut(f"may be touched? {', '.join(request.services)}", 200),
            **replace(READY_POLICY, retry=retry).options,
        )
    except ActivityError as error:
        cause = error.cause
        if not (isinstance(cause, ApplicationError) and cause.type == _NOT_THERE):
            raise
        workflow.logger.warning("this worker is older: nothing is looked at before the release")
        return Lacking()
    return found


def _said(missing: dict[str, str]) -> str:
    some = [f"{service}: {text}" for service, text in list(missing.items())[:_NAMED]]
    more = len(missing) - len(some)
    text = "; ".join(some) + (f"; and {more:,} more services" if more else "")
    return cut(text, TEXT_MOST)
