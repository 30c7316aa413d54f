"""What deployers have put up for a stack, and how it ends."""

from __future__ import annotations

import httpx

from aviary.catalogs import make_catalog
from aviary.local.deployed import Deployed
from schemas.deployment import InstanceState


def _deployed(http: httpx.AsyncClient) -> Deployed:
    document = {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}, "deploy": {"kind": "memory"}},
        "services": {"one": None, "two": {"deploy": {"kind": "memory", "instances": 3}}},
    }
    return Deployed(make_catalog(document), {}, http)


async def test_versions_are_put_up_and_taken_down_at_the_end() -> None:
    async with httpx.AsyncClient() as http:
        deployed = _deployed(http)
        await deployed.put_up({"two": "1.0.0"})
        (state,) = await deployed.up("two")
        assert (state.version, state.ready) == ("1.0.0", 3)
        assert {one.state for one in state.instances} == {InstanceState.READY}
        assert await deployed.up("one") == []
        await deployed.end()
        assert await deployed.up("two") == []
        await deployed.aclose()
