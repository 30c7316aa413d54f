"""Preflight: does an alert already fire on a service before its canary starts?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from temporalio import activity

from activities.policy import Policy, forever, terminal_errors
from adapters.ports import AlertSource
from schemas.base import Duration, Model, ServiceName

PREFLIGHT: Final = "aviary.preflight"

PREFLIGHT_POLICY = Policy(
    start_to_close=timedelta(days=1),
    retry=forever(timedelta(seconds=10)),
    heartbeat=timedelta(seconds=15),
)


class Preflight(Model):
    """Wait until the alerts that fire on a service are others than `known`."""

    service: ServiceName
    labels: tuple[str, ...]
    poll: Duration
    known: tuple[str, ...] | None = None
    """Names of the alerts seen last time; None to be answered at once."""


class PreflightActivities:
    """Activities over the source of firing alerts."""

    def __init__(
        self,
        alerts: AlertSource,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._alerts = alerts
        self._sleep = sleep

    @activity.defn(name=PREFLIGHT)
    async def preflight(self, request: Preflight) -> tuple[str, ...]:
        """Names of the alerts that fire on the service, sorted; empty means go."""
        while True:
            with terminal_errors():
                firing = await self._alerts.firing()
            names = tuple(
                sorted(
                    {
                        alert.name
                        for alert in firing
                        if request.service in (alert.labels.get(label) for label in request.labels)
                    }
                )
            )
            activity.heartbeat(names)
            if names != request.known:
                return names
            await self._sleep(request.poll.total_seconds())
