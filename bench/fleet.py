"""A fleet of Envoys without a shared disk: a change of weight until all of them have it (15).

A hundred clients of the control plane stand for Envoys, each with a stream of its own, and two real
Envoys are among them. The floor is one client alone: what the file's write and one answer take.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc.aio
import httpx

from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.names import ROUTES_NAME, ROUTES_TYPE
from adapters.routers.envoy.router import EnvoyRouter, Pace
from adapters.routers.envoy.xds.messages import new
from adapters.routers.envoy.xds.server import CLUSTER, SERVICE, ControlPlane
from aviary.local.parts import envoy_program
from bench.figures import Figure, Goal, Spec
from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.live_ads import AdsEnvoy
from tests.contract.routers.wire import Instances

CLIENTS: Final = 100
REAL: Final = 2
QUICK: Final = 20
LONG: Final = 100
NAME: Final = "bench"
_PATH: Final = f"/{SERVICE}/DeltaAggregatedResources"
_WITHIN_S: Final = 60.0

ALL: Final = Spec(
    f"fleet: weight change → {CLIENTS} Envoys have it",
    "ms",
    "one Envoy has it",
    goal=Goal(p99_at_most=1_000),
)
REAL_ONES: Final = Spec(f"fleet: weight change → confirmed by {REAL} real Envoys among them", "ms")
SPECS: Final = [ALL, REAL_ONES]


class _Client:
    """One stream that acknowledges what it is sent, as an Envoy does."""

    def __init__(self, call: Any, number: int) -> None:
        self._call = call
        self._number = number
        self.generation = -1
        self.at = 0.0

    async def run(self) -> None:
        """Take what comes, until cancelled."""
        await self._say("")
        while True:
            content = await self._call.read()
            self.at = time.perf_counter()
            answer = new("envoy.service.discovery.v3.DeltaDiscoveryResponse")
            answer.ParseFromString(content)
            self.generation += 1
            await self._say(answer.nonce)

    async def _say(self, nonce: str) -> None:
        request = new("envoy.service.discovery.v3.DeltaDiscoveryRequest")
        request.type_url, request.response_nonce = ROUTES_TYPE, nonce
        if not nonce:
            request.node.id, request.node.cluster = f"client-{self._number}", CLUSTER
            request.resource_names_subscribe.append(ROUTES_NAME)
        await self._call.write(request.SerializeToString())


@asynccontextmanager
async def _clients(port: int, count: int) -> AsyncIterator[list[_Client]]:
    async with AsyncExitStack() as stack:
        found = []
        for number in range(count):
            options = [("grpc.use_local_subchannel_pool", 1)]  # a connection each, as Envoys have
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
            await stack.enter_async_context(channel)
            client = _Client(channel.stream_stream(_PATH)(), number)
            task = asyncio.create_task(client.run())
            stack.callback(task.cancel)
            found.append(client)
        await _until(found, 0)
        yield found


async def _until(clients: list[_Client], generation: int) -> None:
    async with asyncio.timeout(_WITHIN_S):
        while any(client.generation < generation for client in clients):  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Changes with all clients, and as many with one."""
    runs = LONG if long else QUICK
    directory = folder / "fleet"
    fleet, port = EnvoyFleet(directory), free_port()
    await asyncio.to_thread(fleet.bootstrap, free_port(), port)
    with Instances() as instances:
        for version in ("a", "b"):
            endpoints = (("127.0.0.1", instances.port(version)),)
            fleet.put_pool(Pool(service=NAME, version=version, endpoints=endpoints))
        plane = ControlPlane(directory)
        async with plane.serving("127.0.0.1:0") as control, httpx.AsyncClient() as http:
            lives = [
                AdsEnvoy(envoy_program(), directory, instances, control, node=f"real-{number}")
                for number in range(REAL)
            ]
            await asyncio.to_thread(fleet.bootstrap, free_port(), port)
            try:
                for live in lives:
                    await asyncio.to_thread(live.start)
                urls = [live.admin_url for live in lives]
                pace = Pace(confirm_within=_WITHIN_S)
                router = EnvoyRouter(directory, urls, client=http, pace=pace)
                await router.apply(await router.register(NAME, "a"))
                alone = await _changes(router, control, 1, 1, runs)
                together = await _changes(router, control, CLIENTS - REAL, 1 + runs, runs)
            finally:
                for live in lives:
                    await asyncio.to_thread(live.stop)
    return [
        ALL.figure(together["all"], alone["all"]),
        REAL_ONES.figure(together["real"]),
    ]


async def _changes(
    router: EnvoyRouter, control: int, count: int, first: int, runs: int
) -> Mapping[str, list[float]]:
    """Milliseconds of each change, until the last client and until the real ones have it."""
    found: dict[str, list[float]] = {"all": [], "real": []}
    async with _clients(control, count) as clients:
        for number in range(runs):
            weight = (100, 0)[number % 2]
            route = Route.split(NAME, "a", "b", weight, generation=first + number)
            at = time.perf_counter()
            await router.apply(route)
            confirmed = time.perf_counter()
            await _until(clients, number + 1)
            last = max(client.at for client in clients)
            found["real"].append(1000 * (confirmed - at))
            found["all"].append(1000 * (max(last, confirmed) - at))
    return found
