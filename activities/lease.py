"""Keep the lease of a canary: leave signs of life beside its route, while its release lives.

It is alive while its workflow answers a question: for that Temporal and a worker that runs
workflows are needed, and nothing else of what it waits for. So a canary that waits for a person is
alive, and one whose workflow hangs on a fault of ours is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.client import Client, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.policy import Policy, forever
from activities.shared_heartbeat import SharedHeartbeat
from adapters.errors import AdapterError, Retryable
from adapters.ports import Routing
from schemas.base import Duration, Model, ReleaseId, ServiceName
from schemas.ids import QUERY_STATUS
from schemas.lease import RENEWALS
from schemas.route import Route
from schemas.router_spec import RouterSpec

KEEP_LEASE: Final = "aviary.lease.keep"
_SOONEST: Final = timedelta(seconds=2)
_LATEST: Final = timedelta(seconds=30)
_ANSWER_MOST: Final = timedelta(seconds=10)


class KeepLease(Model):
    """Keep the lease of a service's canary."""

    router: RouterSpec
    service: ServiceName
    release: ReleaseId
    generation: int
    """Of the newest write; what is older says nothing of it."""
    lease: Duration


def lease_policy(lease: timedelta) -> Policy:
    """For ever, on another worker when one is lost: in time for the next renewal.

    Args:
        lease: its length.
    """
    return Policy(
        start_to_close=timedelta(days=367),
        retry=forever(timedelta(seconds=5)),
        heartbeat=min(max(lease / 4, _SOONEST), _LATEST),
    )


class LeaseActivities:
    """Activities over the leases of routes.

    Args:
        router_for: finds the router of a specification.
        answers: asks the workflow of an activity whether it lives, for at most so long.
        sleep: waits for seconds.
        shared_heartbeat: paces the heartbeats of all of them.
    """

    def __init__(
        self,
        router_for: Callable[[RouterSpec], Routing],
        answers: Callable[[timedelta], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        shared_heartbeat: SharedHeartbeat | None = None,
    ) -> None:
        self._router_for = router_for
        self._answers = answers
        self._sleep = sleep
        self._shared_heartbeat = shared_heartbeat or SharedHeartbeat()

    @activity.defn(name=KEEP_LEASE)
    async def keep(self, request: KeepLease) -> Route:
        """Renew until it is cancelled, or the canary was taken back; the route that says so.

        What keeps it from renewing is logged, and tried again a third of the lease later.
        """
        with self._shared_heartbeat.counted():
            while True:
                taken = await self._look(request)
                if taken is not None:
                    return taken
                await self._rest(request.lease)

    async def _look(self, request: KeepLease) -> Route | None:
        """Leave a sign of life, where the route is its release's; the route that was taken back."""
        activity.heartbeat()
        try:
            routing = self._router_for(request.router)
            route = await routing.router.read(request.service)
            if route.owner != request.release:
                return None
            if route.taken_back and route.generation >= request.generation:
                return route
            if route.lease is None or routing.leases is None:
                return None
            await self._answers(min(request.lease / (2 * RENEWALS), _ANSWER_MOST))
            activity.heartbeat()
            await routing.leases.renew(request.service)
        except AdapterError as error:  # of any kind: given up, it would take a canary back
            extra = {"service": request.service, "error": str(error)}
            activity.logger.warning("no sign of life can be left", extra=extra)
        return None

    async def _rest(self, lease: timedelta) -> None:
        """Until the next renewal, with heartbeats."""
        left = (lease / RENEWALS).total_seconds()
        timeout = activity.info().heartbeat_timeout or lease_policy(lease).heartbeat or lease
        while left > 0:
            nap = min(left, self._shared_heartbeat.pause(timeout))
            await self._sleep(nap)
            activity.heartbeat()
            left -= nap


def asks(client: Client) -> Callable[[timedelta], Awaitable[None]]:
    """What asks the workflow of an activity whether it lives: by a query, which no history keeps.

    It raises `Retryable` while there is no answer.
    """

    async def ask(within: timedelta) -> None:
        info = activity.info()
        if info.workflow_id is None:
            raise ApplicationError("expected to be called by a workflow", non_retryable=True)
        handle = client.get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
        try:
            await asyncio.wait_for(
                handle.query(
                    QUERY_STATUS,
                    reject_condition=QueryRejectCondition.NOT_OPEN,
                    rpc_timeout=within,
                ),
                within.total_seconds(),
            )
        except (RPCError, WorkflowQueryRejectedError, TimeoutError) as error:
            raise Retryable(f"{info.workflow_id} does not answer: {error or 'in time'}") from error

    return ask
