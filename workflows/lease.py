"""The lease of a canary: kept while its route has one, and what happens when it was lost."""

from __future__ import annotations

from collections.abc import Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.lease import KeepLease
    from schemas.base import format_duration
    from schemas.release import ServicePlan
    from schemas.route import Route
    from workflows import describe
    from workflows.calls import Call, Calls, failure_of
    from workflows.traffic import Traffic


class Lease:
    """Has an activity renew the lease of one canary, beside whatever its stages do.

    Args:
        release: that the canary is of.
        plan: of its service.
        traffic: its route.
        calls: makes the calls.
        lost: hears the route in which a sentinel gave stable everything.
    """

    def __init__(
        self,
        release: str,
        plan: ServicePlan,
        traffic: Traffic,
        calls: Calls,
        lost: Callable[[Route], None],
    ) -> None:
        self._release = release
        self._plan = plan
        self._traffic = traffic
        self._calls = calls
        self._lost = lost

    async def keep(self) -> None:
        """Renew whenever the route has a lease; returns when a sentinel has taken it back.

        It is never waited for, and ends with the run of its canary.
        """
        while True:
            await workflow.wait_condition(lambda: self._held is not None)
            route = self._held
            if route is None or route.lease is None:
                continue
            request = KeepLease(
                router=self._plan.router,
                service=self._plan.service,
                release=self._release,
                generation=route.generation,
                lease=route.lease,
            )
            summary = f"{self._plan.service}: keep the lease of {format_duration(route.lease)}"
            handle = self._calls.start(Call.KEEP_LEASE, request, summary)
            handle.add_done_callback(lambda done: done.cancelled() or done.exception())
            await workflow.wait_condition(lambda: handle.done() or self._held is None)  # noqa: B023
            if not handle.done():
                handle.cancel()
                continue
            error = failure_of(handle)
            if error is None:
                self._lost(handle.result())
                return
            extra = {"service": self._plan.service, "error": describe.failure(error)}
            workflow.logger.error("the lease can't be kept", extra=extra)
            written = route.generation
            await workflow.wait_condition(lambda: self._newer_than(written))  # noqa: B023

    @property
    def _held(self) -> Route | None:
        """The route, as last read, applied or meant, while it has a lease."""
        route = self._traffic.route
        return route if route is not None and route.lease is not None else None

    def _newer_than(self, generation: int) -> bool:
        """Whether there is another write than the one whose lease could not be kept."""
        held = self._held
        return held is None or held.generation > generation
