"""What the contract suite needs of a member of the port: services to route, and users."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx

from adapters.ports import Part, Routing
from adapters.routers.alb.capabilities import kept
from adapters.routers.alb.router import AlbRouter
from adapters.routers.caddy.capabilities import CAPABILITIES as CADDY_CAPABILITIES
from adapters.routers.caddy.router import CaddyRouter
from adapters.routers.caddy.values import threshold
from adapters.routers.envoy.capabilities import CAPABILITIES as ENVOY_CAPABILITIES
from adapters.routers.envoy.fleet import Pool
from adapters.routers.envoy.names import resource_file
from adapters.routers.envoy.router import EnvoyRouter
from adapters.routers.files import read_document, write_whole
from adapters.routers.flagd import FLAGD
from adapters.routers.flagd.evaluation import Evaluation as FlagdEvaluation
from adapters.routers.flagd.router import FlagdRouter
from adapters.routers.gateway_api import GATEWAY_API
from adapters.routers.haproxy.capabilities import CAPABILITIES as HAPROXY_CAPABILITIES
from adapters.routers.haproxy.map_file import MAP, map_text, parse
from adapters.routers.haproxy.router import HaproxyRouter
from adapters.routers.istio import ISTIO
from adapters.routers.memory.router import NOTHING, Asks, MemoryRouter
from adapters.routers.nginx.capabilities import CAPABILITIES as NGINX_CAPABILITIES
from adapters.routers.nginx.router import NginxRouter
from adapters.routers.several.router import several
from adapters.routers.traefik import TRAEFIK_ETCD, TRAEFIK_FILE
from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.names import APART
from adapters.routers.traefik.router import TraefikRouter
from adapters.routers.traefik.store import Store
from adapters.routers.unleash import UNLEASH
from adapters.routers.unleash.definitions import OFF, strategy_for, variant_name
from adapters.routers.unleash.evaluation import Evaluation
from adapters.routers.unleash.router import UnleashRouter
from schemas.audience import TARGETING_KEY
from schemas.capabilities import Capabilities
from schemas.deployment import Endpoint
from schemas.joint_capabilities import joint
from schemas.route import AudienceBy, Route
from tests.contract.routers.coarse import CAPABILITIES, TOTAL, CoarseGateway, CoarseRouter
from tests.contract.routers.example import FOLDER, FolderProxy, FolderRouter
from tests.contract.routers.fake_mesh import FakeMesh
from tests.contract.routers.live import LiveEnvoy, free_port
from tests.contract.routers.live_alb import LiveAlb
from tests.contract.routers.live_caddy import LiveCaddy
from tests.contract.routers.live_haproxy import LiveHaproxy
from tests.contract.routers.live_nginx import LiveNginx
from tests.contract.routers.live_traefik import LiveTraefik
from tests.contract.routers.live_unleash import LiveUnleash
from tests.contract.routers.names import new_name
from tests.contract.routers.wire import Caller

ALB_CAPABILITIES: Final = kept(0, forced=(AudienceBy.HEADER,))
_ports = itertools.count(20_000)


class Subject(Protocol):
    """One member of the port, under test."""

    @property
    def routing(self) -> Routing: ...

    def put_up(self, *versions: str, length: int = 0) -> str:
        """Start a new service in these versions; return its name, which has at least that length.

        It has a route, all to the first version, unless the router can be given one.
        """

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        """Send one request of each user, with a header or cookie; return the version of each."""

    async def change_by_hand(self, service: str, weight: float) -> None:
        """Give the canary another weight as somebody else would, in the platform's own terms."""


class Mortal(Subject, Protocol):
    """One whose router knows instances."""

    async def take_down(self, service: str, version: str) -> None:
        """Have all instances of a version die."""


class WithEndpoints(Subject, Protocol):
    """One whose router can be told endpoints, and can give a service its first route."""

    def name(self) -> str:
        """Of a service that the router does not know."""

    def instances_of(self, version: str, count: int) -> tuple[Endpoint, ...]:
        """Start so many instances that answer with this version; the router is not told."""


class Copying(Subject, Protocol):
    """One whose router copies requests."""

    async def copies(self, service: str) -> Mapping[str, int]:
        """How many copies each version has got."""


class MemorySubject:
    def __init__(self) -> None:
        self._router = MemoryRouter()
        self.routing = self._router.routing

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        for version in versions:
            self._router.add_pool(service, version)
        return service

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        return {user: self._router.send(service, user, asks) for user in users}

    async def change_by_hand(self, service: str, weight: float) -> None:
        now = await self._router.read(service)
        self._router.change(_with_weight(now, weight))

    async def take_down(self, service: str, version: str) -> None:
        self._router.take_down(service, version)

    def name(self) -> str:
        return new_name()

    def instances_of(self, version: str, count: int) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(host="127.0.0.1", port=next(_ports)) for _ in range(count))

    async def copies(self, service: str) -> Mapping[str, int]:
        return self._router.copies[service]


class SeveralSubject:
    """Two routers in memory as one; each user comes in through one of them."""

    def __init__(self) -> None:
        self.routers = (MemoryRouter(), MemoryRouter())
        parts = [Part(f"memory-{at}", one.routing) for at, one in enumerate(self.routers)]
        can = joint([one.capabilities for one in self.routers])
        self.routing = several(parts, can, judged=0, owns=True)

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        for router in self.routers:
            for version in versions:
                router.add_pool(service, version)
        return service

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        return {user: self._door(user).send(service, user, asks) for user in users}

    def _door(self, user: str) -> MemoryRouter:
        return self.routers[sum(user.encode()) % len(self.routers)]

    async def change_by_hand(self, service: str, weight: float) -> None:
        """On all of them, so that users see it; `test_several` has one that is changed alone."""
        for router in self.routers:
            router.change(_with_weight(await router.read(service), weight))

    async def take_down(self, service: str, version: str) -> None:
        """On one: whoever comes in there gets nothing."""
        self.routers[1].take_down(service, version)

    def name(self) -> str:
        return new_name()

    def instances_of(self, version: str, count: int) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(host="127.0.0.1", port=next(_ports)) for _ in range(count))

    async def copies(self, service: str) -> Mapping[str, int]:
        total: dict[str, int] = {}
        for router in self.routers:
            for version, count in router.copies[service].items():
                total[version] = total.get(version, 0) + count
        return total


class EnvoySubject:
    def __init__(self, live: LiveEnvoy, router: EnvoyRouter) -> None:
        self.envoy = live
        self.router = router
        self.routing = Routing.of(router, ENVOY_CAPABILITIES)

    def put_up(self, *versions: str, length: int = 0) -> str:
        return self.envoy.add_service(*versions, length=length)

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        async with Caller(self.envoy.port, service, _source(asks)) as caller:
            return await caller.users(users, **_request(asks))

    async def change_by_hand(self, service: str, weight: float) -> None:
        path = self.envoy.fleet.routes_path
        (config,) = read_document(path)["resources"]
        (host,) = [one for one in config["virtual_hosts"] if one["name"] == service]
        canary = round(weight * 100)
        for entry in host["routes"]:
            weighted = entry["route"].get("weighted_clusters", {}).get("clusters", ())
            for cluster, parts in zip(weighted, (10_000 - canary, canary), strict=False):
                cluster["weight"] = parts
        write_whole(path, resource_file([config]))

    async def copies(self, service: str) -> Mapping[str, int]:
        pattern = f"^cluster.{service}@.*/apart.upstream_rq_total"
        answer = self.envoy.ask(f"/stats?format=json&type=Counters&filter={pattern}")
        stats = json.loads(answer)["stats"]
        return {
            one["name"].split("@")[1].split("/")[0].replace("~", "."): one["value"]
            for one in stats
            if one
        }

    def name(self) -> str:
        return self.envoy.add_service()

    def instances_of(self, version: str, count: int) -> tuple[Endpoint, ...]:
        ports = self.envoy.instance_ports(version, count)
        return tuple(Endpoint(host="127.0.0.1", port=port) for port in ports)

    async def take_down(self, service: str, version: str) -> None:
        self.envoy.fleet.put_pool(
            Pool(service=service, version=version, endpoints=(("127.0.0.1", free_port()),))
        )


class AlbSubject:
    """moto's server, and requests that are drawn from what it shows."""

    def __init__(self, live: LiveAlb, router: AlbRouter) -> None:
        self.alb = live
        self.router = router
        self.routing = Routing.of(router, ALB_CAPABILITIES)

    def put_up(self, *versions: str, length: int = 0) -> str:
        return self.alb.add_service(*versions, length=length)

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        wish = asks.get((AudienceBy.HEADER, "x-canary"), "")
        return await asyncio.to_thread(self.alb.draw, service, users, wish)

    async def change_by_hand(self, service: str, weight: float) -> None:
        now = await self.router.read(service)
        parts = ALB_CAPABILITIES.weights.nearest(weight)
        assert now.canary is not None
        weights = {now.stable: parts.stable, now.canary: parts.canary}
        await asyncio.to_thread(self.alb.set_weights, service, weights)

    async def take_down(self, service: str, version: str) -> None:
        await asyncio.to_thread(self.alb.take_down, service, version)


class NginxSubject:
    def __init__(self, live: LiveNginx, router: NginxRouter) -> None:
        self.nginx = live
        self.router = router
        self.routing = Routing.of(router, NGINX_CAPABILITIES)

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        for version in versions:
            self.put_pool(service, version, f"127.0.0.1:{self.nginx.port_of(version)}")
        return service

    def name(self) -> str:
        return new_name()

    def instances_of(self, version: str, count: int) -> tuple[Endpoint, ...]:
        ports = self.nginx.instance_ports(version, count)
        return tuple(Endpoint(host="127.0.0.1", port=port) for port in ports)

    def put_pool(self, service: str, version: str, *addresses: str) -> httpx.Response:
        """Give a version instances."""
        names = {"service": service, "version": version}
        pool = {**names, "endpoints": addresses, "generation": 0}
        return self.ask("PUT", f"/pools/{service}/{quote(version)}", pool)

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        async with Caller(self.nginx.port, service, _source(asks)) as caller:
            return await caller.users(users, **_request(asks))

    async def change_by_hand(self, service: str, weight: float) -> None:
        """As a person does with an editor, who then has the files read."""
        path = self.nginx.state / "routes.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        (route,) = [one for one in lines if one["service"] == service]
        for arm, share in zip(route["arms"], (100 - weight, weight), strict=True):
            arm["weight"] = share
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        self.nginx.reload()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Ask the internal server, as a person does with curl."""
        transport = httpx.HTTPTransport(uds=self.nginx.control.removeprefix("unix:"))
        with httpx.Client(transport=transport, base_url="http://nginx") as client:
            return client.request(method, path, json=body, headers=headers)


class CaddySubject:
    def __init__(self, live: LiveCaddy, router: CaddyRouter) -> None:
        self.caddy = live
        self.router = router
        self.routing = Routing.of(router, CADDY_CAPABILITIES)

    def put_up(self, *versions: str, length: int = 0) -> str:
        return self.caddy.add_service(*versions, length=length)

    def name(self) -> str:
        return new_name()

    def instances_of(self, version: str, count: int) -> tuple[Endpoint, ...]:
        ports = self.caddy.instance_ports(version, count)
        return tuple(Endpoint(host="127.0.0.1", port=port) for port in ports)

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        async with Caller(self.caddy.port, service) as caller:
            return await caller.users(users, **_request(asks))

    async def change_by_hand(self, service: str, weight: float) -> None:
        path = self.caddy.folder.routes.folder / service
        fields = path.read_text().split("|")
        path.write_text("|".join([*fields[:2], threshold(round(weight * 100)), *fields[3:]]))


class HaproxySubject:
    def __init__(self, live: LiveHaproxy, router: HaproxyRouter) -> None:
        self.haproxy = live
        self.router = router
        self.routing = Routing.of(router, HAPROXY_CAPABILITIES)

    def put_up(self, *versions: str, length: int = 0) -> str:
        return self.haproxy.add_service(*versions, length=length)

    def name(self) -> str:
        return new_name()

    def instances_of(self, version: str, count: int) -> tuple[Endpoint, ...]:
        ports = self.haproxy.instance_ports(version, count)
        return tuple(Endpoint(host="127.0.0.1", port=port) for port in ports)

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        async with Caller(self.haproxy.port, service, _source(asks)) as caller:
            return await caller.users(users, **_request(asks))

    async def change_by_hand(self, service: str, weight: float) -> None:
        """In the file, and at run time."""
        path = self.haproxy.folder.directory / MAP
        values = parse(path.read_text())
        fields = values[service].split("|")
        values[service] = "|".join([*fields[:2], str(round(weight * 100)), *fields[3:]])
        path.write_text(map_text(values))
        self.haproxy.ask(f"set map {path} {service} {values[service]}")

    async def take_down(self, service: str, version: str) -> None:
        self.haproxy.folder.put_pool(self.haproxy.pool(service, version, free_port()))
        self.haproxy.reload()


class TraefikSubject:
    """A Traefik and a store that it watches; `by_hand` changes the weights there."""

    def __init__(self, live: LiveTraefik, store: Store, router: TraefikRouter) -> None:
        self.traefik = live
        self.store = store
        self.router = router
        on_files = store.provider == "file"
        can = TRAEFIK_FILE.capabilities if on_files else TRAEFIK_ETCD.capabilities
        self.routing = Routing.of(router, can)

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        for version in versions:
            self.traefik.add_version(service, version)
        return service

    def name(self) -> str:
        return new_name()

    def instances_of(self, version: str, count: int) -> tuple[Endpoint, ...]:
        ports = self.traefik.instance_ports(version, count)
        return tuple(Endpoint(host="127.0.0.1", port=port) for port in ports)

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        async with Caller(self.traefik.port, service, _source(asks)) as caller:
            return await caller.users(users, **_request(asks))

    async def change_by_hand(self, service: str, weight: float) -> None:
        found = await self.store.read(service)
        changed = found.document
        assert changed is not None
        canary = round(weight * 100)
        parts = (10_000 - canary, canary)
        if isinstance(self.store, FileStore):
            weighted = changed["http"]["services"][service]["weighted"]["services"]
            for one, part in zip(weighted, parts, strict=True):
                one["weight"] = part
        else:
            path = f"http/services/{service}/weighted/services"
            weights = {f"{path}/{n}/weight": str(part) for n, part in enumerate(parts)}
            changed = {**changed, **weights}
        assert await self.store.write(service, changed, found)
        # The next request shall find it, as it would for anybody who changes it and then looks.
        self.traefik.wait_for(f"/api/http/services/{service}@{self.store.provider}", f"{canary}")

    async def copies(self, service: str) -> Mapping[str, int]:
        counts = self.traefik.counted(service)
        return {
            name.removeprefix(f"{service}_").removesuffix(APART): count
            for name, count in counts.items()
            if name.endswith(APART)
        }

    async def take_down(self, service: str, version: str) -> None:
        self.traefik.put(service, version, free_port())


class CoarseSubject:
    def __init__(self, gateway: CoarseGateway, client: httpx.AsyncClient) -> None:
        self._gateway = gateway
        self._client = client
        self._router = CoarseRouter(gateway.port, client)
        self.routing = Routing.of(self._router, CAPABILITIES)

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        self._gateway.add(service, *versions)
        return service

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        async with Caller(self._gateway.port, service) as caller:
            return await caller.users(users, **{name: value for (_, name), value in asks.items()})

    async def change_by_hand(self, service: str, weight: float) -> None:
        url = f"http://127.0.0.1:{self._gateway.port}/admin/{service}"
        now: dict[str, Any] = (await self._client.get(url)).json()
        canary = round(weight * TOTAL / 100)
        parts = zip(now["weights"], (TOTAL - canary, canary), strict=True)
        answer = await self._client.put(url, json={"weights": dict(parts)})
        assert answer.status_code == 200


def _said(asks: Asks) -> dict[str, str]:
    """The fields of an evaluation context."""
    return {name: value for (by, name), value in asks.items() if by is AudienceBy.CONTEXT}


class FlagdSubject:
    """Flag definitions in a file, and users whose flag OpenFeature evaluates."""

    USERS: Final = 100

    def __init__(self, folder: Path) -> None:
        self._file = folder / "flags.json"
        self._file.write_text('{"flags": {}}')
        router = FlagdRouter(self._file, users=self.USERS)
        self.routing = Routing.of(router, FLAGD.capabilities)

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        variants = {version: f"value of {version}" for version in versions}
        flag = {"state": "ENABLED", "variants": variants, "defaultVariant": versions[0]}
        self._edit(lambda flags: flags.update({service: flag}))
        return service

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        found = FlagdEvaluation(self._file.read_text())
        return {
            user: found.variant(service, "", {TARGETING_KEY: user, **_said(asks)}) for user in users
        }

    async def change_by_hand(self, service: str, weight: float) -> None:
        def change(flags: dict[str, Any]) -> None:
            (new, _), (old, _) = flags[service]["targeting"]["fractional"]
            parts = FLAGD.capabilities.weights.nearest(weight)
            flags[service]["targeting"] = {"fractional": [[new, parts.canary], [old, parts.stable]]}

        self._edit(change)

    def _edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        document = json.loads(self._file.read_text())
        change(document["flags"])
        write_whole(self._file, document)


class UnleashSubject:
    """Flags of a real Unleash, and users whose flag the engine of its SDKs evaluates."""

    USERS: Final = 100

    def __init__(self, live: LiveUnleash) -> None:
        self.unleash = live
        self._api = live.api()
        self._versions: dict[str, str] = {}
        router = UnleashRouter(self._api, users=self.USERS)
        self.routing = Routing.of(router, UNLEASH.capabilities)

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        names = {variant_name(version): version for version in versions}
        self._versions |= names
        of_flag = [name for name in names if name != OFF]
        rollout = "100" if len(of_flag) == len(names) else "0"
        self.unleash.make_flag(service, self.unleash.strategy(service, rollout, *of_flag))
        return service

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        flag = await self._api.flag(service)
        assert flag is not None
        found = Evaluation([flag.definition(flag.evaluated)])
        variants = {user: found.variant(service, {"userId": user, **_said(asks)}) for user in users}
        return {user: self._versions[name] for user, name in variants.items()}

    async def change_by_hand(self, service: str, weight: float) -> None:
        """In the form of the strategy: it is sent as a whole, with all its parameters."""
        flag = await self._api.flag(service)
        assert flag is not None
        route = flag.marked(service)
        assert route.canary is not None
        changed = Route.split(service, route.stable, route.canary, weight)
        body = strategy_for(changed, ("default", service), flag.variants)
        parameters = flag.ours.parameters if flag.ours else {}
        await self._api.put(flag, {**body, "parameters": parameters})


class ExampleSubject:
    def __init__(self, folder: Path) -> None:
        self._proxy = FolderProxy(folder)
        router = FolderRouter(str(folder))
        self.routing = Routing.of(router, FOLDER.capabilities)

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        self._proxy.add(service, *versions)
        return service

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        return {user: self._proxy.send(service) for user in users}

    async def change_by_hand(self, service: str, weight: float) -> None:
        now = await self.routing.router.read(service)
        self._proxy.write(_with_weight(now, weight))


class MeshSubject:
    """Objects of Kubernetes in memory, and what a data plane would do with them."""

    def __init__(self, kind: str, can: Capabilities) -> None:
        self._mesh = FakeMesh(kind, can)
        self.routing = Routing.of(self._mesh.router, can, self._mesh)

    def put_up(self, *versions: str, length: int = 0) -> str:
        return self._mesh.put_up(*versions, length=length)

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        return {user: self._mesh.send(service, asks) for user in users}

    async def change_by_hand(self, service: str, weight: float) -> None:
        self._mesh.change(service, weight)

    async def copies(self, service: str) -> Mapping[str, int]:
        return self._mesh.copied(service)

    async def take_down(self, service: str, version: str) -> None:
        name = self._mesh.backends(service).of(version)
        about = self._mesh.cluster.objects["services", name]["metadata"]
        kept = {part: about[part] for part in ("labels", "annotations")}
        self._mesh.cluster.put_service(name, ready=0, **kept)


def _source(asks: Asks) -> str | None:
    """The address that a caller has."""
    return asks.get((AudienceBy.NETWORK, ""))


def _request(asks: Asks) -> dict[str, str]:
    """What a caller is told to send: its method, target and host, and headers by their names."""
    of = {
        by: {name: value for (one, name), value in asks.items() if one is by} for by in AudienceBy
    }
    request = dict(of[AudienceBy.HEADER])
    if of[AudienceBy.COOKIE]:
        cookies = of[AudienceBy.COOKIE].items()
        request["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies)
    query = "&".join(f"{name}={value}" for name, value in of[AudienceBy.QUERY].items())
    path = of[AudienceBy.PATH].get("", "/")
    request["target"] = f"{path}?{query}" if query else path
    for by in (AudienceBy.METHOD, AudienceBy.HOST):
        request |= dict.fromkeys([by.value] if of[by] else [], of[by].get("", ""))
    return request


def _with_weight(now: Route, weight: float) -> Route:
    return Route.split(
        now.service, now.stable, now.canary, weight, generation=now.generation, owner=now.owner
    )


SUBJECTS: Final[dict[str, Capabilities]] = {
    "memory": MemoryRouter().capabilities,
    "several": joint([MemoryRouter().capabilities] * 2),
    "envoy": ENVOY_CAPABILITIES,
    "envoy-ads": ENVOY_CAPABILITIES,
    "flagd": FLAGD.capabilities,
    "caddy": CADDY_CAPABILITIES,
    "gateway_api": GATEWAY_API.capabilities,
    "haproxy": HAPROXY_CAPABILITIES,
    "istio": ISTIO.capabilities,
    "nginx": NGINX_CAPABILITIES,
    "alb": ALB_CAPABILITIES,
    "coarse": CAPABILITIES,
    "example": FOLDER.capabilities,
    "traefik-file": TRAEFIK_FILE.capabilities,
    "traefik-etcd": TRAEFIK_ETCD.capabilities,
    "unleash": UNLEASH.capabilities,
}
"""Every router there is, two as one, one with coarse weights, and the one of the documentation."""
