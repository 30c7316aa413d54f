"""The four releases that each fault meets, each at its own moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import KafkaError
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from adapters.errors import Retryable
from adapters.kafka import Outgoing, Sender
from aviary.local.shop import Fault as ShopFault
from schemas import ids
from schemas.release import CanaryPhase, ReleasePhase, ReleaseStatus
from tests.chaos.outages.site import Site

PATIENCE_S = 90.0
"""To get everything under way."""
GOING, BAD, ALERTED, LATE = "healthy", "judged bad", "alert while holding", "asked for meanwhile"
SERVICES = {
    GOING: ("ledger", "payments"),
    BAD: ("recommendations", "catalogue"),
    ALERTED: ("inventory", "cart"),
    LATE: ("checkout",),
}
ENDS = {
    GOING: ReleasePhase.FINALIZED,
    BAD: ReleasePhase.ROLLED_BACK,
    ALERTED: ReleasePhase.ROLLED_BACK,
    LATE: ReleasePhase.FINALIZED,
}
SICK = ShopFault(error_rate=0.3)


@dataclass
class Asked:
    """One release that was asked for."""

    scenario: str
    id: str
    version: str
    before: dict[str, str] = field(default_factory=dict)
    """What served before, by service."""

    @property
    def versions(self) -> dict[str, str]:
        return dict.fromkeys(SERVICES[self.scenario], self.version)

    def handle(self, site: Site) -> WorkflowHandle[Any, ReleaseStatus]:
        return site.client.get_workflow_handle(
            ids.release_workflow_id(self.id), result_type=ReleaseStatus
        )


class Round:
    """The four releases of one fault."""

    def __init__(self, site: Site, number: int) -> None:
        self.site = site
        self.junk = f"junk-{number}".encode()
        """The key of a deploy event that can't be read."""
        self.version = f"{number + 1}.0.0"
        self.asked = {
            scenario: Asked(scenario, f"{scenario.replace(' ', '-')}-{number}", self.version)
            for scenario in SERVICES
        }

    @property
    def bad(self) -> tuple[str, str]:
        """The service and version that is ill."""
        return SERVICES[BAD][-1], self.version

    async def begin(self) -> None:
        """Put every version up, and bring three releases to where the fault must find them."""
        site = self.site
        for one in self.asked.values():
            for service in one.versions:
                one.before[service] = (await site.route(service)).stable
        names = [name for one in self.asked.values() for name in one.versions]
        await asyncio.gather(*(site.deploy(name, self.version) for name in names))
        await site.reset_load()
        for scenario in (BAD, ALERTED):
            await site.pipeline.request(self.asked[scenario].id, self.asked[scenario].versions)
        for scenario in (BAD, ALERTED):
            await self._until(scenario, lambda phases: phases[-1] is CanaryPhase.BAKING)
        await site.pipeline.request(self.asked[GOING].id, self.asked[GOING].versions)
        await self._until(GOING, lambda phases: phases[0] is CanaryPhase.BAKING)

    async def trouble(self) -> None:
        """What happens while the fault lasts: a sick version, an alert, and deploy events."""
        site = self.site
        await site.set_fault(*self.bad, SICK)
        await site.fire(SERVICES[ALERTED][0], self.version)
        late = self.asked[LATE]
        sender = Sender(site.kafka, (ids.TOPIC_DEPLOYS,))
        sender.start()
        try:
            junk = Outgoing(ids.TOPIC_DEPLOYS, b"{", self.junk)
            await _retry_until_available(lambda: sender.send([junk]))
            for _ in range(2):
                await _retry_until_available(lambda: site.pipeline.request(late.id, late.versions))
        finally:
            await sender.close()

    async def clean(self) -> None:
        """The alert ends, and versions that nothing routes to are taken down."""
        site = self.site
        await site.fire(SERVICES[ALERTED][0], self.version, ended=True)
        for one in self.asked.values():
            for service, before in one.before.items():
                route = await site.route(service)
                gone = before if route.stable == self.version else self.version
                if gone not in {route.stable, route.canary}:
                    await site.retire(service, gone)

    async def _until(self, scenario: str, so: Callable[[list[CanaryPhase]], bool]) -> None:
        one = self.asked[scenario]
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status = await self._status(one)
                if status is not None:
                    phases = {each.service: each.phase for each in status.services}
                    if so([phases[name] for name in one.versions]):
                        return
                    if status.phase.closed:
                        raise AssertionError(f"{one.id} ended too soon: {status}")
                await asyncio.sleep(0.1)

    async def until_release(self, scenario: str, phase: ReleasePhase) -> None:
        """Wait until a release is in a phase, or past it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status = await self._status(self.asked[scenario])
                if status is not None and (status.phase is phase or status.phase.closed):
                    return
                await asyncio.sleep(0.05)

    async def _status(self, one: Asked) -> ReleaseStatus | None:
        try:
            status: ReleaseStatus = await one.handle(self.site).query(
                ids.QUERY_STATUS, result_type=ReleaseStatus
            )
        except RPCError:
            return None
        return status


async def _retry_until_available(attempt: Callable[[], Any]) -> None:
    """As a pipeline does: again until Kafka says that it has it."""
    while True:
        try:
            await attempt()
        except (Retryable, KafkaError, OSError, RuntimeError):
            await asyncio.sleep(0.5)
        else:
            return
