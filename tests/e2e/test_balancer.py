"""The balancer of the engine `cluster`, and Envoys that share a port: one of two dies, or hangs."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from aviary.local import balancer, probes
from aviary.local.fronts.envoy import EnvoyFront
from aviary.local.http1 import Client, fetch
from aviary.local.parts import Ports
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, Supervisor
from tests.contract.routers.wire import Instances

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

_SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(sys.argv[1])))
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Answer).serve_forever()
"""


def _server(name: str, port: int) -> ChildSpec:
    argv = (sys.executable, "-c", _SERVER, name, str(port))
    return ChildSpec(name, argv, probe=probes.http(port, "/"), essential=False)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_client_meets_the_other_one(how: signal.Signals, tmp_path: Path) -> None:
    free = FreePorts()
    port, admin, *behind = (free.take() for _ in range(4))
    shared = {"pair": balancer.Shared(port, behind, balancer.ready("/"))}
    async with Supervisor(tmp_path) as supervisor:
        for name, own in zip(("one", "two"), behind, strict=True):
            await supervisor.start(_server(name, own))
        await supervisor.start(balancer.spec(tmp_path / "balancer", admin, shared))
        client = Client(LOOPBACK, port, timeout=30.0)
        answer = await client.request("GET", "/")
        ill, well = answer.body.decode(), {"one": "two", "two": "one"}[answer.body.decode()]

        supervisor.children[ill].signal(how)
        async with asyncio.timeout(60):
            while True:  # at first the same one hangs, or its connection ends
                try:
                    answer = await client.request("GET", "/")
                except OSError:
                    continue
                if answer.body.decode() == well:
                    break
        served = {(await fetch(port, "/")).body.decode() for _ in range(10)}
        assert served == {well}
        client.close()
        await supervisor.stop(ill, grace=0)


async def test_two_envoys_share_a_port_and_one_of_them_dies(tmp_path: Path) -> None:
    free = FreePorts()
    ports, other = Ports.choose(free), free.take()
    front = EnvoyFront(tmp_path / "fleet", ports, further_admins=(other,))
    assert len(front.addresses) == 2
    with Instances() as versions:
        first = {("cart", "1.0.0"): versions.port("1.0.0")}
        async with Supervisor(tmp_path) as supervisor:
            specs = await front.prepare(first)
            assert [spec.name for spec in specs] == ["envoy", "envoy-2"]
            for spec in specs:
                await supervisor.start(spec)
            await front.begin(first)
            for _ in range(40):  # a connection each: the kernel gives them to either
                await fetch(ports.envoy, "/", headers={"host": "cart", "x-user-id": "a"})
            shares = [await _completed(admin) for admin in (ports.envoy_admin, other)]
            assert min(shares) > 0
            assert (await front.counts())["cart@1~0~0"].completed == sum(shares) == 40

            await supervisor.stop("envoy-2", grace=0)
            for _ in range(20):
                answer = await fetch(ports.envoy, "/", headers={"host": "cart", "x-user-id": "a"})
                assert (answer.status, answer.body.decode()) == (200, "1.0.0")


async def _completed(admin: int) -> int:
    path = "/stats?filter=^cluster\\.cart@1~0~0\\.upstream_rq_completed$"
    return int((await fetch(admin, path)).body.decode().rpartition(":")[2])
