"""Writers at the same moment: a router with a lock or a comparison lets one of them win."""

from __future__ import annotations

import asyncio

from adapters.errors import StaleGeneration
from tests.contract.routers.routes import NEW, OLD, on_stable, shifted
from tests.contract.routers.subjects import Subject

CLAIM = "fence"


async def test_of_two_writers_with_one_generation_exactly_one_wins(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    rivals = [shifted(subject, service, weight, 1, f"r-{weight}") for weight in (10, 20, 30, 40)]

    results = await asyncio.gather(
        *map(subject.routing.router.apply, rivals), return_exceptions=True
    )

    won = [result for result in results if not isinstance(result, BaseException)]
    lost = [result for result in results if isinstance(result, BaseException)]
    assert len(won) == 1
    assert all(isinstance(error, StaleGeneration) for error in lost)
    assert await subject.routing.router.read(service) == won[0].route
