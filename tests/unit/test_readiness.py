"""Whether a part can work is a metric as well."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from adapters.errors import Retryable
from aviary.telemetry.readiness import is_ready, told


async def test_a_part_tells_whether_it_is_ready_each_time_it_is_asked() -> None:
    registry, away = CollectorRegistry(), True
    asked, go = asyncio.Event(), asyncio.Event()

    async def ready() -> None:
        if away:
            raise Retryable("Kafka is away")

    async def pause() -> None:
        asked.set()
        await go.wait()
        go.clear()

    def value() -> float | None:
        return registry.get_sample_value("aviary_ready", {"role": "bridge"})

    async with told(ready, registry, "bridge", pause):
        for away, expected in ((True, 0), (False, 1), (True, 0), (True, 0), (False, 1)):  # noqa: B007
            go.set()
            asked.clear()
            await asked.wait()
            # The question before may have been under way: the next is of now.
            go.set()
            asked.clear()
            await asked.wait()
            assert value() == expected


async def test_who_does_not_answer_is_not_ready() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    assert await is_ready(never, 0.01) == "no answer within 0.01 s"


async def test_a_fault_of_the_question_is_no_readiness() -> None:
    async def broken() -> None:
        raise ZeroDivisionError("x")

    assert await is_ready(broken) == "ZeroDivisionError: x"
