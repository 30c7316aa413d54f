"""Routers side by side: a change of weight through each, beside the platform's own command (15).

A site is one router's server with a service in versions `a` and `b`; another is a class here and
a line in `SITES`.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

import httpx

from adapters.ports import Router
from adapters.routers.caddy.router import Pace as CaddyPace
from adapters.routers.caddy.values import value_of as caddy_value
from adapters.routers.envoy.names import resource_file
from adapters.routers.envoy.router import EnvoyRouter
from adapters.routers.envoy.routes import local_domains, virtual_host
from adapters.routers.files import read_document
from adapters.routers.haproxy.map_file import MAP
from adapters.routers.haproxy.router import HaproxyRouter
from adapters.routers.haproxy.values import value_of
from adapters.routers.nginx.router import NginxRouter
from adapters.routers.traefik.capabilities import FILE, Sticky
from adapters.routers.traefik.document import Entrance, document
from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.router import TraefikRouter
from aviary.local.parts import caddy_program, envoy_program, traefik_program
from bench.figures import Figure, Goal, Spec
from schemas.route import Route
from tests.contract.routers.live import LiveEnvoy, free_port
from tests.contract.routers.live_caddy import LiveCaddy
from tests.contract.routers.live_haproxy import LiveHaproxy, haproxy_root
from tests.contract.routers.live_nginx import LiveNginx, nginx_root
from tests.contract.routers.live_traefik import FilePools, LiveTraefik
from tests.contract.routers.wire import Caller, Instances, Load

SERVICE: Final = "bench"
OLD: Final = "a"
NEW: Final = "b"
QUICK: Final = 20
LONG: Final = 100
FEW: Final = 10
THROTTLE: Final = "10ms"
"""What the how-to says."""
_CALLERS: Final = 4
_BETWEEN_S: Final = 0.002
_STEADY_S: Final = 0.1
_SETTLED: Final = 40
"""Requests of the new split in a row, after which none of the old one is to come."""
_WITHIN_S: Final = 30.0
_USERS: Final = 300
_KEPT: Final = 16
"""Connections that are kept, by as many callers."""
RELOADS: Final = 20
_BY_ADDRESS: Final = Entrance(sticky=Sticky.ADDRESS)
"""Without, Traefik draws each request anew, and nobody is on a version."""


class Site(Protocol):
    """A router with its server, and one service in two versions."""

    @property
    def router(self) -> Router: ...

    @property
    def port(self) -> int:
        """Where users send their requests."""

    async def bare(self, weight: int, generation: int) -> None:
        """Change the weight by the platform's own command alone, confirmed by nobody."""

    async def restart(self) -> None:
        """Kill the server, and start it on what it kept."""


class NginxSite:
    """nginx; its own command is a write to the internal server with curl."""

    def __init__(self, live: LiveNginx, router: NginxRouter, client: httpx.AsyncClient) -> None:
        self._live = live
        self._client = client
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One request."""
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        content = route.model_dump_json(exclude_none=True)
        answer = await self._client.put(f"/routes/{SERVICE}", content=content)
        answer.raise_for_status()

    async def restart(self) -> None:
        """Kill it, and start it on the same state."""
        await asyncio.to_thread(self._live.restart)


@asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[Site]:
    """A running nginx."""
    with Instances() as instances:
        root = await asyncio.to_thread(nginx_root)
        live = LiveNginx(root, folder / "nginx", instances)
        await asyncio.to_thread(live.start)
        router = NginxRouter([live.control])
        transport = httpx.AsyncHTTPTransport(uds=live.control.removeprefix("unix:"))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://nginx") as client:
                for version in (OLD, NEW):
                    address = f"127.0.0.1:{live.port_of(version)}"
                    names = {"service": SERVICE, "version": version}
                    pool = {**names, "endpoints": [address], "generation": 0}
                    await client.put(f"/pools/{SERVICE}/{version}", content=json.dumps(pool))
                await router.register(SERVICE, OLD)
                yield NginxSite(live, router, client)
        finally:
            await router.aclose()
            await asyncio.to_thread(live.stop)


class CaddySite:
    """Caddy; its own command is the rename of a prepared file."""

    def __init__(self, live: LiveCaddy, router: Router) -> None:
        self._live = live
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One line."""
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        _rename(self._live.folder.routes.folder / SERVICE, caddy_value(route))

    async def restart(self) -> None:
        """Kill it, and start it on the same files."""
        await asyncio.to_thread(self._live.restart)


@asynccontextmanager
async def caddy(folder: Path) -> AsyncIterator[Site]:
    """A running Caddy."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    with Instances() as instances:
        live = LiveCaddy(caddy_program(), folder, instances)
        for version in (OLD, NEW):
            live.folder.put_pool(live.pool(SERVICE, version))
        router = live.router(CaddyPace(confirm_within=_WITHIN_S, answer_within=_WITHIN_S))
        try:
            await asyncio.to_thread(live.start)
            await router.apply(await router.register(SERVICE, OLD))
            yield CaddySite(live, router)
        finally:
            await router.aclose()
            await asyncio.to_thread(live.stop)
            live.clean()


class HaproxySite:
    """HAProxy; its own command is `set map` on the stats socket."""

    def __init__(self, live: LiveHaproxy, router: HaproxyRouter) -> None:
        self._live = live
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One line, and its answer."""
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        command = f"set map {self._live.folder.directory / MAP} {SERVICE} {value_of(route)}\n"
        reader, writer = await asyncio.open_unix_connection(self._live.stats)
        writer.write(command.encode())
        await reader.read()
        writer.close()

    async def restart(self) -> None:
        """Kill it, and start it on the same files."""
        await asyncio.to_thread(self._live.restart)
        for version in (OLD, NEW):
            await asyncio.to_thread(self._live.wait_until_up, SERVICE, version)


@asynccontextmanager
async def haproxy(folder: Path) -> AsyncIterator[Site]:
    """A running HAProxy."""
    with Instances() as instances:
        root = await asyncio.to_thread(haproxy_root)
        live = LiveHaproxy(root, folder / "haproxy", instances)
        for version in (OLD, NEW):
            live.folder.put_pool(live.pool(SERVICE, version))
        router = HaproxyRouter(live.folder.directory, [live.master])
        try:
            await asyncio.to_thread(live.start)
            for version in (OLD, NEW):
                await asyncio.to_thread(live.wait_until_up, SERVICE, version)
            await router.apply(await router.register(SERVICE, OLD))
            yield HaproxySite(live, router)
        finally:
            await asyncio.to_thread(live.stop)


class EnvoySite:
    """Envoy; its own command is the rename of a prepared file."""

    def __init__(self, live: LiveEnvoy, router: EnvoyRouter, instances: Instances) -> None:
        self._live = live
        self._instances = instances
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One file."""
        path = self._live.fleet.routes_path
        (config,) = read_document(path)["resources"]
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        hosts = [virtual_host(route, local_domains)]
        _rename(path, json.dumps(resource_file([{**config, "virtual_hosts": hosts}])))

    async def restart(self) -> None:
        """Kill it, and start it on the same files."""
        await asyncio.to_thread(self._live.restart)
        for version in (OLD, NEW):
            port = self._instances.port(version)
            await asyncio.to_thread(self._live.add_version, SERVICE, version, port)


@asynccontextmanager
async def envoy(folder: Path) -> AsyncIterator[Site]:
    """A running Envoy."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    with Instances() as instances:
        live = LiveEnvoy(envoy_program(), folder, instances)
        try:
            await asyncio.to_thread(live.start)
            for version in (OLD, NEW):
                port = instances.port(version)
                await asyncio.to_thread(live.add_version, SERVICE, version, port)
            async with httpx.AsyncClient() as client:
                router = EnvoyRouter(live.fleet.directory, [live.admin_url], client=client)
                await router.apply(await router.register(SERVICE, OLD))
                yield EnvoySite(live, router, instances)
        finally:
            await asyncio.to_thread(live.stop)


class TraefikSite:
    """Traefik on files; its own command is the rename of a prepared file."""

    def __init__(self, live: LiveTraefik, store: FileStore, router: TraefikRouter) -> None:
        self._live = live
        self._store = store
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One file."""
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        _rename(self._store.path(SERVICE), json.dumps(document(route, _BY_ADDRESS)))

    async def restart(self) -> None:
        """Kill it, and start it on the same files."""
        await asyncio.to_thread(self._live.restart)
        await self.router.apply(await self.router.read(SERVICE))


@asynccontextmanager
async def traefik(folder: Path, throttle: str = THROTTLE) -> AsyncIterator[Site]:
    """A running Traefik with routes in files."""
    watched = folder / "watched"
    await asyncio.to_thread(watched.mkdir, parents=True)
    store = FileStore(watched)
    with Instances() as instances:
        live = LiveTraefik(
            traefik_program(),
            folder,
            instances,
            provider=store.provider,
            flags=[f"--providers.file.directory={watched}", "--providers.file.watch=true"],
            pools=FilePools(watched),
            throttle=throttle,
        )
        try:
            await asyncio.to_thread(live.start)
            for version in (OLD, NEW):
                await asyncio.to_thread(live.add_version, SERVICE, version)
            async with httpx.AsyncClient() as client:
                router = TraefikRouter(
                    store,
                    [live.api_url],
                    client=client,
                    can=FILE,
                    entrance=_BY_ADDRESS,
                    pace=Pace(confirm_within=_WITHIN_S),
                )
                await router.apply(await router.register(SERVICE, OLD))
                yield TraefikSite(live, store, router)
        finally:
            await asyncio.to_thread(live.stop)


def _rename(path: Path, text: str) -> None:
    fresh = path.with_name(".bare.tmp")
    fresh.write_text(text)
    fresh.rename(path)


SITES: Final[Mapping[str, Callable[[Path], AbstractAsyncContextManager[Site]]]] = {
    "caddy": caddy,
    "envoy": envoy,
    "haproxy": haproxy,
    "nginx": nginx,
    "traefik": traefik,
    "traefik throttled": partial(traefik, throttle="2s"),
}
"""The last is Traefik with its own default, 2 s between two configurations."""
SLOW: Final = frozenset({"traefik throttled"})
"""Whose changes take seconds: a few of each way are enough."""


class Specs(NamedTuple):
    """What is measured of each router."""

    first: Spec
    last: Spec
    confirmed: Spec
    failed: Spec
    moved: Spec

    @classmethod
    def names(cls, name: str) -> list[str]:
        """Names of those of one router."""
        return [spec.name for spec in cls.of(name)]

    @classmethod
    def of(cls, name: str) -> Self:
        """Those of one router."""
        bare, none = "its own command", Goal(median_at_most=0)
        return cls(
            Spec(f"{name}: weight change → first request on the new split", "ms", bare),
            Spec(f"{name}: weight change → last request on the old split", "ms", bare),
            Spec(f"{name}: weight change → confirmed by the router", "ms"),
            Spec(f"{name}: requests failed while shifting", "requests", goal=none),
            Spec(f"{name}: users on another version after a restart", "users", goal=none),
        )


RELOADED: Final = Spec("nginx by reload: requests failed while shifting", "requests")
SPECS: Final = [*(spec for name in SITES for spec in Specs.of(name)), RELOADED]


class _Users:
    """Requests that go on until the block ends; each with when it was sent and what it got."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._going = True
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = asyncio.Condition()
        self.calls: list[tuple[float, str]] = []
        self.sent = self.failed = 0

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(_CALLERS)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)

    async def settled(self, version: str) -> None:
        """Wait until a row of requests has got this version."""
        async with asyncio.timeout(_WITHIN_S), self._answered:
            await self._answered.wait_for(
                lambda: [got for _, got in self.calls[-_SETTLED:]] == [version] * _SETTLED
            )

    async def _run(self, number: int) -> None:
        async with Caller(self._port, SERVICE) as caller:
            while self._going:
                at = time.perf_counter()
                answer = await caller.get(x_user_id=f"{number}-{self.sent}")
                self.calls.append((at, answer.version))
                self.sent += 1
                self.failed += answer.status != 200
                async with self._answered:
                    self._answered.notify_all()
                await asyncio.sleep(_BETWEEN_S)


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Each router in turn, ten changes at a time by Aviary and ten by the platform's command."""
    figures = []
    for name, opened in SITES.items():
        runs = LONG if long else QUICK
        async with opened(folder / name.replace(" ", "-")) as site:
            figures += await _measure(Specs.of(name), site, FEW if name in SLOW else runs)
    return [*figures, await _reloaded(folder / "by-hand")]


async def _reloaded(folder: Path) -> Figure:
    """What nginx' users lose where each weight is a reload, as without Lua: a split by hand."""
    with Instances() as instances:
        root = await asyncio.to_thread(nginx_root)
        live, port = LiveNginx(root, folder, instances), free_port()
        ports = {version: live.port_of(version) for version in (OLD, NEW)}
        live.more = _split_by_hand(port, ports, 0)
        try:
            await asyncio.to_thread(live.start)
            async with Load(port, SERVICE, _KEPT) as load:
                for number in range(RELOADS):
                    await load.until(_KEPT)
                    live.more = _split_by_hand(port, ports, (100, 0)[number % 2])
                    await asyncio.to_thread(live.reload)
                await load.until(_KEPT)
        finally:
            await asyncio.to_thread(live.stop)
    failed, sent = sum(load.failed.values()), load.outcomes.total()
    return RELOADED.figure([failed], note=f"of {sent:,} in {RELOADS} changes")


def _split_by_hand(port: int, ports: Mapping[str, int], weight: int) -> str:
    part = f"{weight}% by_hand_{NEW};" if weight else ""
    pools = "".join(
        f"upstream by_hand_{version} {{ server 127.0.0.1:{at}; keepalive 16; }}\n"
        for version, at in ports.items()
    )
    return f"""{pools}
split_clients "$http_x_user_id" $by_hand {{ {part} * by_hand_{OLD}; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_pass http://$by_hand;
    }}
}}
"""


async def _measure(specs: Specs, site: Site, runs: int) -> list[Figure]:
    dice = random.Random(15)
    ours: dict[Spec, list[float]] = {spec: [] for spec in specs}
    floor: dict[Spec, list[float]] = {spec: [] for spec in specs}
    generation = 0
    async with _Users(site.port) as users:
        while len(ours[specs.last]) < runs:
            for found in (ours, floor):
                for number in range(10):
                    generation += 1
                    weight, to = (0, OLD) if number % 2 else (100, NEW)
                    await asyncio.sleep(_STEADY_S + dice.random() / 20)
                    users.calls.clear()
                    at = time.perf_counter()
                    if found is ours:
                        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
                        await site.router.apply(route)
                        ours[specs.confirmed].append(1000 * (time.perf_counter() - at))
                    else:
                        await site.bare(weight, generation)
                    await users.settled(to)
                    _note(specs, found, users.calls, at, to)
    moved = await _moved(site, generation + 1)
    return [
        specs.first.figure(ours[specs.first], floor[specs.first]),
        specs.last.figure(ours[specs.last], floor[specs.last]),
        specs.confirmed.figure(ours[specs.confirmed]),
        specs.failed.figure([users.failed], note=f"of {users.sent:,}"),
        specs.moved.figure([moved], note=f"of {_USERS}"),
    ]


def _note(
    specs: Specs,
    found: dict[Spec, list[float]],
    calls: list[tuple[float, str]],
    at: float,
    to: str,
) -> None:
    new = [sent for sent, version in calls if version == to and sent >= at]
    old = [sent for sent, version in calls if version != to]
    found[specs.first].append(1000 * (min(new) - at))
    found[specs.last].append(1000 * (max([*old, at]) - at))


async def _moved(site: Site, generation: int) -> int:
    """How many users have another version once the server was killed and started again."""
    await site.router.apply(Route.split(SERVICE, OLD, NEW, 30, generation=generation))
    names = [f"user-{number}" for number in range(_USERS)]
    got = []
    for again in (False, True):
        if again:
            await site.restart()
        async with Caller(site.port, SERVICE) as caller:
            got.append(await caller.users(names))
    return sum(got[0][name] != got[1][name] for name in names)
