"""What deployers have put up for a stack, and how it ends."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx

from adapters.deployers.process import ProcessConnection
from aviary.catalogs import make_catalog
from aviary.local import instances
from aviary.local.deployed import Deployed
from aviary.local.ports import FreePorts
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


async def test_processes_of_somebody_s_own_connection_end_with_it_as_well(tmp_path: Path) -> None:
    block = FreePorts().block()
    own, stack_s = (instances.connection(tmp_path / name, block) for name in ("own", "stack"))
    command = [sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
    recipe = {"kind": "process", "command": command, "cwd": str(tmp_path)}
    connections: dict[str, ProcessConnection] = {"own": own, instances.CONNECTION: stack_s}
    document = {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}},
        "services": {
            name: {"deploy": {**recipe, "connection": connection}}
            for name, connection in (("one", "own"), ("two", instances.CONNECTION))
        },
    }
    async with httpx.AsyncClient() as http:
        deployed = Deployed(make_catalog(document, connections), connections, http)
        try:
            await deployed.put_up({"one": "1.0.0", "two": "1.0.0"})
            await deployed.end()
            assert await deployed.up("one") == []
            assert [state.version for state in await deployed.up("two")] == ["1.0.0"]
        finally:
            instances.end_all(tmp_path / "own")
            assert len(instances.end_all(tmp_path / "stack")) == 1
            await deployed.aclose()
            block.close()
