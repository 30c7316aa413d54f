"""After a rollback: whether requests still start on the version that was taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.observe import ObserveActivities, SeeBack, TrafficWindow
from adapters.errors import UnknownRoute
from adapters.ports import Part, Routing
from adapters.routers.memory.router import CAPABILITIES
from adapters.routers.memory.trial import TrialRouter
from adapters.routers.several.router import several
from schemas.verdict import SampleRatio
from tests.catalogs import MEMORY


class Leaky(TrialRouter):
    """A router that knows nothing of the service at first, and sends requests where it should not.

    Args:
        away: so many questions.
        strays: requests of the version taken back from one question to the next.
    """

    def __init__(self, away: int, strays: int = 0) -> None:
        super().__init__()
        self._away = away
        self._strays = strays
        self.asked = 0

    async def requests(self, service: str) -> Mapping[str, int]:
        self.asked += 1
        if self.asked <= self._away:
            raise UnknownRoute(f"{service}: the router has no such service")
        return {"1": 1000 * self.asked, "2": self._strays * self.asked}


async def _see(*routers: Leaky) -> TrafficWindow:
    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    request = SeeBack(
        router=MEMORY,
        service="payments",
        version="2",
        quiet=timedelta(seconds=1),
        within=timedelta(seconds=15),
    )
    parts = [Part(f"router-{at}", one.routing) for at, one in enumerate(routers)]
    together = parts[0].routing if len(parts) == 1 else as_one(parts)
    activities = ObserveActivities(lambda _: together, at_once)
    return await ActivityEnvironment().run(activities.see_back, request)


def as_one(parts: Sequence[Part]) -> Routing:
    return several(parts, CAPABILITIES, judged=0, owns=True)


@pytest.mark.parametrize("away", [0, 1, 7, 14])
async def test_a_route_that_is_away_for_a_moment_is_looked_at_when_it_is_back(away: int) -> None:
    assert (await _see(Leaky(away))).sample_ratio is SampleRatio.MATCH
    assert (await _see(Leaky(away, strays=500))).sample_ratio is SampleRatio.MISMATCH


async def test_a_route_that_stays_away_can_t_be_seen() -> None:
    with pytest.raises(ApplicationError, match="no such service") as caught:
        await _see(Leaky(1000))
    assert caught.value.type == "UnknownRoute"
    assert caught.value.non_retryable


async def test_of_several_routers_one_with_strays_is_not_hidden_by_the_others() -> None:
    assert (await _see(Leaky(0), Leaky(0))).sample_ratio is SampleRatio.MATCH
    seen = await _see(Leaky(0), Leaky(0, strays=500))
    assert (seen.sample_ratio, seen.strays) == (SampleRatio.MISMATCH, 500)
