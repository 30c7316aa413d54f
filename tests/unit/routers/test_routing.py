"""What a router claims is there, or it is not made; what it does not claim is not used."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from adapters.ports import Routing
from adapters.routers.memory.router import CAPABILITIES, MemoryRouter
from schemas.capabilities import Capabilities, Counting, TotalGrid
from schemas.route import Confirmation, Route

BARE = Capabilities(weights=TotalGrid(total=100))


class Plain:
    """A router and nothing else."""

    async def read(self, service: str) -> Route:
        return Route.split(service, "1")

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        return Confirmation(route=route, mark="")

    async def aclose(self) -> None:
        pass


class Named(Plain):
    """One that knows the names of versions."""

    async def locate(self, service: str, version: str) -> str:
        return f"{service}-{version}"

    async def exists(self, service: str, version: str) -> bool:
        return True


class Cloud:
    """Counts requests for a router that does not."""

    async def requests(self, service: str) -> Mapping[str, int]:
        return {"1": 7}


@pytest.mark.parametrize(
    ("claim", "port"),
    [
        ({"counts": Counting.ROUTER}, "RequestCounts"),
        ({"counts": Counting.METRICS}, "RequestCounts"),
        ({"users": True}, "UserCounts"),
        ({"instances": True}, "Instances"),
        ({"counters": ("rq",)}, "OwnCounters"),
        ({"registers": True}, "Registrar"),
    ],
)
def test_a_claim_without_the_methods_is_refused(claim: dict[str, object], port: str) -> None:
    with pytest.raises(TypeError, match=f"Named: its kind claims the methods of {port}"):
        Routing.of(Named(), BARE.model_copy(update=claim))


def test_a_router_that_names_no_versions_is_refused() -> None:
    with pytest.raises(TypeError, match="VersionLocator"):
        Routing.of(Plain(), BARE)


def test_what_is_not_claimed_is_not_used() -> None:
    routing = Routing.of(MemoryRouter(), BARE)
    found = (routing.counts, routing.users, routing.instances, routing.registrar)
    assert found == (None, None, None, None)
    whole = Routing.of(MemoryRouter(), CAPABILITIES)
    assert None not in {whole.counts, whole.users, whole.instances, whole.registrar}


def test_a_metrics_source_may_count_for_a_router() -> None:
    can = BARE.model_copy(update={"counts": Counting.METRICS})
    routing = Routing.of(Named(), can, counts=Cloud())
    assert routing.counts is not None
    assert asyncio.run(routing.counts.requests("cart")) == {"1": 7}
