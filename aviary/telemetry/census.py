"""How many releases are in which state, and how many rollbacks are stuck, by Temporal's own word.

Counted by search attributes, in a handful of requests however many releases run. Every worker says
the same, so dashboards and alerts take the largest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge
from temporalio.client import Client
from temporalio.service import RPCError

from schemas import attributes, ids
from schemas.release import CanaryPhase, ReleasePhase

EVERY_S: Final = 10.0
_RPC: Final = timedelta(seconds=5)
_log = structlog.get_logger("aviary.telemetry")


class Census:
    """Asks Temporal every few seconds; what it can't learn it does not show."""

    def __init__(
        self,
        client: Client,
        registry: CollectorRegistry,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        cell: ids.Cell = ids.NO_CELL,
    ) -> None:
        """Register the gauges; nothing is asked yet."""
        self._client = client
        self._begins = {
            ids.RELEASE_WORKFLOW: ids.release_workflow_id("", cell),
            ids.CANARY_WORKFLOW: ids.canary_workflow_id("", cell),
        }
        self._sleep = sleep
        self._running = Gauge(
            "aviary_releases_running",
            "Releases that have not ended, by state; the same from every worker.",
            ["state"],
            registry=registry,
        )
        self._stuck = Gauge(
            "aviary_rollbacks_stuck",
            "Canaries whose rollback is stuck now; the same from every worker.",
            [],
            registry=registry,
        )
        self._stuck.set(float("nan"))

    async def run(self) -> None:
        """Ask for ever."""
        failing = False
        while True:
            try:
                await self.ask()
            except RPCError as error:
                if not failing:
                    _log.warning("census_failed", error=f"{error.status.name}: {error.message}")
                failing = True
                self._running.clear()
                self._stuck.set(float("nan"))
            else:
                failing = False
            await self._sleep(EVERY_S)

    async def ask(self) -> None:
        """Ask once.

        Raises:
            RPCError: Temporal did not answer, or does not know the search attributes.
        """
        for phase in ReleasePhase:
            if not phase.closed:
                count = await self._count(ids.RELEASE_WORKFLOW, phase)
                self._running.labels(phase.value).set(count)
        self._stuck.set(await self._count(ids.CANARY_WORKFLOW, CanaryPhase.STUCK))

    async def _count(self, kind: str, state: str) -> int:
        query = (
            f"WorkflowType = '{kind}' AND ExecutionStatus = 'Running' "
            f"AND {attributes.STATE} = '{state}' AND WorkflowId STARTS_WITH '{self._begins[kind]}'"
        )
        return (await self._client.count_workflows(query, rpc_timeout=_RPC)).count
