"""Ten thousand alerts about one service, through a real broker to a real canary's history."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from aviary.settings import Settings
from schemas import ids
from tests.contract.kafka.parts import (
    Broker,
    alert,
    alerts_signalled,
    open_canary,
    running,
    until,
)

ALERTS = 10_000


async def _signals(client: Client) -> int:
    history = await client.get_workflow_handle(ids.canary_workflow_id("checkout")).fetch_history()
    signalled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    return sum(event.event_type == signalled for event in history.events)


async def test_a_storm_reaches_the_canary_whole_and_in_few_signals(
    broker: Broker, client: Client, settings: Settings
) -> None:
    await open_canary(client)
    storm = [alert("checkout", f"f{n}") for n in range(ALERTS)]
    # The first of them three times, as Alertmanagers that don't know of each other send them.
    repeated = storm[:500]
    storm = [*repeated, *repeated, *storm]

    async def done() -> bool:
        return await broker.committed(ids.TOPIC_ALERTS) >= len(storm)

    async with running(settings):
        await broker.write(*storm)
        await until(done, "the storm is done")
    told = [each.fingerprint for each in await alerts_signalled(client)]
    assert set(told) == {f"f{n}" for n in range(ALERTS)}
    assert len(told) <= ALERTS + len(repeated), "a first repeat is told as well, and no other"
    assert await _signals(client) <= 400
