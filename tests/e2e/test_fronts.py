"""Each router that the stack's users can come through: it serves, and tells what it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import Terminal
from aviary.local.debian import DebianError
from aviary.local.fronts.front import ALL, PoolCount
from aviary.local.http1 import fetch
from aviary.local.parts import Ports
from aviary.local.ports import FreePorts
from aviary.local.process import Supervisor
from aviary.local.stack import FRONTS
from tests.contract.routers.wire import Instances

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

OLD, NEW = "1.0.0", "1.1.0"


@pytest.mark.parametrize("name", FRONTS)
async def test_a_front_serves_and_tells_what_it_does(name: str, tmp_path: Path) -> None:
    ports = Ports.choose(FreePorts())
    front = FRONTS[name](tmp_path, ports)
    with Instances() as versions:
        first = {("cart", OLD): versions.port(OLD)}
        async with Supervisor(tmp_path) as supervisor:
            try:
                specs = await front.prepare(first)
            except DebianError as error:
                pytest.skip(str(error))
            for spec in specs:
                await supervisor.start(spec)
            await front.begin(first)

            answer = await fetch(ports.envoy, "/", headers={"host": "cart", "x-user-id": "a"})
            assert (answer.status, answer.body.decode()) == (200, OLD)
            assert await front.routed("cart") == {"cart@1~0~0": ALL}
            assert (await front.counts())["cart@1~0~0"] == PoolCount(completed=1, failed=0)
            assert (await front.counts())["cart@9"] == PoolCount(completed=0, failed=0)

            await front.put_up("cart", NEW, versions.port(NEW))
            await front.take_down("cart", NEW)
            with pytest.raises(Terminal, match="names"):
                await front.take_down("cart", OLD)
