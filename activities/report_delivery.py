"""Tell a release where its canary is, from inside the activity that the news is about.

A report sent by the canary's workflow costs its history five events. One that rides in the input of
an activity which starts anyway costs none, and arrives as soon as that activity runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.backoff import doubling
from schemas.base import Model
from schemas.ids import SIGNAL_REPORT
from schemas.release import CanaryReport

_RPC: Final = timedelta(seconds=5)
_FIRST_PAUSE_S: Final = 0.5
_CAP_PAUSE_S: Final = 10.0
_LAST_S: Final = 1.0
"""How long the end of the work waits for the delivery, which began with it."""

Sleep = Callable[[float], Awaitable[None]]
SendReport = Callable[["PendingReport | None"], AbstractAsyncContextManager[None]]
"""Delivers a report beside the work inside the context, which never waits for it."""


class PendingReport(Model):
    """A report, and the release that it is for, whichever run of it there is."""

    workflow_id: str
    report: CanaryReport


class ReportSender:
    """Delivers reports as signals.

    Args:
        client: of Temporal.
        sleep: waits that many seconds.
    """

    def __init__(self, client: Client, sleep: Sleep = asyncio.sleep) -> None:
        self._client = client
        self._sleep = sleep

    @asynccontextmanager
    async def __call__(self, pending: PendingReport | None) -> AsyncIterator[None]:
        """Deliver while the work inside runs, and a moment longer; then it is left.

        Nothing is lost by that: the next report of the canary says all that this one does.
        """
        if pending is None:
            yield
            return
        delivery = asyncio.create_task(self.deliver(pending))
        try:
            yield
            await asyncio.wait({delivery}, timeout=_LAST_S)
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)
        if not delivery.cancelled():
            delivery.result()

    async def deliver(self, pending: PendingReport) -> None:
        """Deliver, however often it has to be tried; not where nobody hears any more."""
        release = self._client.get_workflow_handle(pending.workflow_id)
        for pause in doubling(_FIRST_PAUSE_S, _CAP_PAUSE_S):
            try:
                await release.signal(SIGNAL_REPORT, pending.report, rpc_timeout=_RPC)
            except RPCError as error:
                extra = {"release": pending.workflow_id, "error": f"{error.status}: {error}"}
                if error.status is RPCStatusCode.NOT_FOUND:
                    activity.logger.warning("the release does not hear", extra=extra)
                    return
                activity.logger.warning("the release could not be told", extra=extra)
                await self._sleep(pause)
            else:
                return


@asynccontextmanager
async def send_nothing(pending: PendingReport | None) -> AsyncIterator[None]:  # noqa: ARG001 - a SendReport
    """Tell nobody."""
    yield
