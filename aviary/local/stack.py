"""The embedded stack: everything that a release needs, as real processes on one machine.

    async with Stack(folder, cache) as stack:
        await stack.start()
        await stack.request("shop-42", {"checkout": "1.4.2"})

The stack plays the pipeline: it says what shall go out. Putting versions up, shifting traffic and
taking versions down is Aviary's, by processes of this machine. Without `deploys` the stack puts
versions up and takes them down itself.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import httpx
import yaml
from temporalio.client import Client as TemporalClient

from aviary.catalogs import read_catalog
from aviary.connections import Written
from aviary.converter import DATA_CONVERTER
from aviary.local import catalogs, configs, debian, instances, parts
from aviary.local.cluster import Cluster
from aviary.local.deployed import Deployed
from aviary.local.engines import SERVICES, Development, Engine
from aviary.local.fronts.envoy import EnvoyFront
from aviary.local.fronts.front import Front
from aviary.local.fronts.haproxy import HaproxyFront
from aviary.local.fronts.nginx import NginxFront
from aviary.local.fronts.traefik import TraefikFront
from aviary.local.http1 import Client, Response, fetch
from aviary.local.pipeline import Pipeline
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, Supervisor
from aviary.local.shop import DEPENDENCIES, FAULT, Fault
from schemas.catalog_check import many

FIRST_VERSION: Final = "1.0.0"
DEFAULT_RPS: Final = 100.0
_GONE_WITHIN_S: Final = 90.0
_POLL_S: Final = 0.2
ENVOY: Final = "envoy"
FRONTS: Final[Mapping[str, Callable[[Path, parts.Ports], Front]]] = {
    ENVOY: EnvoyFront,
    "haproxy": HaproxyFront,
    "nginx": NginxFront,
    "traefik": TraefikFront,
}
"""The routers that users can come through, by name."""
DEVELOPMENT: Final = "development"
CLUSTER: Final = "cluster"
ENGINES: Final = (DEVELOPMENT, CLUSTER)
"""What releases run on, by name."""

Say = Callable[[str], None]


class Stack:
    """One embedded stack below one folder. Use it as an async context manager.

    Attributes:
        deployer: what puts versions up when an event asks for them, for people; empty where the
            pipeline does.

    Args:
        folder: for configuration, data and logs; a new one for each run.
        cache: where Debian's programs are kept between runs.
        catalog: the document to use, of the shop's services; what only the stack knows is filled
            in. The shop's own if None.
        rps: users' requests per second.
        router: what users come through.
        deploys: whether Aviary puts versions up, as processes.
        engine: what releases run on: one of `ENGINES`. That of a cluster needs Envoy.
    """

    deployer = ""

    def __init__(  # noqa: PLR0913 - what tests and benchmarks vary
        self,
        folder: Path,
        cache: Path,
        *,
        catalog: Path | None = None,
        rps: float = DEFAULT_RPS,
        router: str = ENVOY,
        deploys: bool = True,
        engine: str = DEVELOPMENT,
    ) -> None:
        self.folder = folder.absolute()
        self.supervisor = Supervisor(self.folder)
        self.deploys = deploys
        self.deployer = "Processes" if self.deploys else self.deployer
        self._cache = cache
        self._catalog = catalog or catalogs.SHOP
        self._rps = rps
        self._free = FreePorts()
        self.ports = parts.Ports.choose(self._free)
        self._token, self._deploy_token = (secrets.token_urlsafe(24) for _ in range(2))
        self._instances: dict[tuple[str, str], int] = {}
        self._deployed: Deployed | None = None
        self._further = Written({}, {})
        self.first: Mapping[str, str] = dict.fromkeys(DEPENDENCIES, FIRST_VERSION)
        """Versions that are up, and have all requests, when it has started; by service."""
        self._parts_up = AsyncExitStack()
        self.engine = self._engine(engine)
        self.front: Front = self._front(router)
        self.pipeline = Pipeline(self.engine.addresses["kafka"])

    async def __aenter__(self) -> Self:
        self._block = self._free.block()
        self._connection = instances.connection(self.folder, self._block)
        await self.supervisor.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self.pipeline.close()
            # First what speaks to the others, so that it can end in order.
            for names in (("load",), self._processes()):
                await asyncio.gather(*(self.supervisor.stop(name) for name in names))
            await asyncio.to_thread(instances.end_all, self.folder)
            if self._deployed is not None:
                await self._deployed.end()
        finally:
            await self._parts_up.aclose()
            await self.supervisor.__aexit__(*exc)
            self._block.close()

    @property
    def addresses(self) -> dict[str, str]:
        """Where everything listens, by name."""
        return {**self.ports.addresses(), **self.engine.addresses, **self.front.addresses}

    @property
    def settings(self) -> dict[str, str]:
        """The environment under which Aviary's command line works on this stack."""
        found = parts.settings(self.ports, self.folder, self._token, self._deploy_token)
        found |= self.engine.settings
        if not self.deploys:
            return found
        return {**found, "AVIARY_CONNECTIONS_FILE": str(self.folder / "connections.yaml")}

    async def start(self, say: Say = lambda _: None) -> None:
        """Start every part and wait until each is ready.

        Raises:
            debian.DebianError: Prometheus or Alertmanager could not be had.
            engines.EngineError: what releases run on could not be had.
            ChildFailedError: a part did not come up; the text has the end of its log.
        """
        try:
            await self._start_all(say)
        except ExceptionGroup as group:
            raise _first(group) from group

    async def request(
        self,
        release: str,
        versions: Mapping[str, str],
        strategy: str | None = None,
        faults: Mapping[str, Fault] | None = None,
    ) -> None:
        """Ask for a release as a pipeline does, which first does what nobody else does.

        Args:
            release: its id.
            versions: by service.
            strategy: of all services; None: as the catalog says.
            faults: what is wrong with the new versions of some services.

        Raises:
            ChildFailedError: a version that the stack put up did not start.
        """
        faults = faults or {}
        await self.build(versions, faults)
        config: dict[str, dict[str, str]] = {}
        if self.deploys:
            config = {name: {FAULT: json.dumps(asdict(one))} for name, one in faults.items()}
        await self.pipeline.request(release, versions, strategy, config)

    async def build(self, versions: Mapping[str, str], faults: Mapping[str, Fault]) -> None:
        """What a pipeline does before it asks for a release of these versions, by service.

        Args:
            versions: by service.
            faults: what is wrong with some of them.

        Raises:
            ChildFailedError: as `deploy`.
        """
        for service, version in {} if self.deploys else versions.items():
            if (service, version) not in self._instances:
                await self.deploy(service, version, faults.get(service))

    async def clear(self, versions: Mapping[str, str]) -> bool:
        """See to it that versions that no route names go, and say whether they have."""
        if not self.deploys:
            for service, version in versions.items():
                await self.retire(service, version)
            return True
        try:
            async with asyncio.timeout(_GONE_WITHIN_S):
                for service, version in versions.items():
                    while version in await self.up(service):  # noqa: ASYNC110 - others are asked
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            return False
        return True

    async def up(self, service: str) -> list[str]:
        """The versions of a service that are up, whatever state their instances are in."""
        if self._deployed is not None:
            return sorted(state.version for state in await self._deployed.up(service))
        return sorted(version for name, version in self._instances if name == service)

    async def deploy(self, service: str, version: str, fault: Fault | None = None) -> None:
        """Put a version up, without traffic, where Aviary does not; return once the router sees it.

        Raises:
            ChildFailedError: it did not start, or the router did not see it in time.
            ValueError: it is up already.
        """
        if (service, version) in self._instances:
            raise ValueError(f"{service} {version}: is up already")
        port = self._free.take()
        await self.supervisor.start(self._shop(service, version, port, fault or Fault()))
        self._instances[service, version] = port
        await self.front.put_up(service, version, port)

    async def retire(self, service: str, version: str) -> None:
        """Take a version down that `deploy` put up, and that no route names any more.

        Raises:
            adapters.errors.Terminal: a route still names it.
        """
        await self.front.take_down(service, version)
        self._instances.pop((service, version), None)
        await self.supervisor.stop(f"shop/{service}/{version}")

    async def set_fault(self, service: str, version: str, fault: Fault) -> float:
        """Switch what is wrong with a running version; returns when, as seconds since 1970.

        Raises:
            KeyError: no such version is up.
            OSError: it does not answer (a crash is meant not to).
        """
        ports = await self._ports_of(service, version)
        at = time.time()
        body = json.dumps(asdict(fault)).encode()
        for port in ports:
            try:
                response = await fetch(port, "/fault", method="POST", body=body)
            except OSError:
                if not fault.crash:
                    raise
                continue
            if response.status != httpx.codes.OK:
                raise OSError(f"{service} {version}: {response.body.decode()}")
        return at

    async def temporal(self) -> TemporalClient:
        """A Temporal client of this stack, with the data converter that Aviary uses."""
        return await TemporalClient.connect(
            self.addresses["temporal"],
            namespace=parts.NAMESPACE,
            data_converter=DATA_CONVERTER,
        )

    async def load(self) -> dict[str, Any]:
        """What the load has seen: `users`, and `versions` by `service/version`."""
        return await self._ask_load("GET", "/stats")

    async def reset_load(self) -> None:
        """Begin the load's counts again."""
        await self._ask_load("POST", "/reset")

    async def set_rate(self, rps: float) -> None:
        """Change the users' requests per second."""
        await self._ask_load("POST", "/rate", json.dumps({"rps": rps}).encode())

    async def visit(self, service: str, headers: Mapping[str, str] | None = None) -> Response:
        """One request to a service through the router."""
        client = Client(LOOPBACK, self.ports.envoy)
        try:
            return await client.request("GET", "/", headers={**(headers or {}), "host": service})
        finally:
            client.close()

    async def kill(self, name: str) -> None:
        """End one part with SIGKILL, as a fault would."""
        await self.supervisor.stop(name, grace=0.0)

    async def restart(self, name: str) -> None:
        """Start one of Aviary's processes (again), such as `worker`."""
        specs = {spec.name: spec for spec in self.engine.services(self.settings)}
        await self.supervisor.start(specs[name])

    # Starting.

    async def _start_all(self, say: Say) -> None:
        tools = await debian.install(self._cache)
        await self.engine.install(say)
        await asyncio.to_thread(self._write_configuration)
        router = await self._prepare_shop()
        ports, folder = self.ports, self.folder
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_aviary(say))
            group.create_task(self._start_shop(router, say))
            group.create_task(self._start(parts.prometheus(ports, tools, folder), say))
            group.create_task(self._start(parts.alertmanager(ports, tools, folder), say))
        await self._start(self._load(), say)

    async def _look_after_instances(self) -> None:
        await self.supervisor.start(parts.watcher(self.folder))
        connections = {instances.CONNECTION: self._connection, **self._further.known}
        catalog = await asyncio.to_thread(read_catalog, self.folder / "catalog.yaml", connections)
        http = await self._parts_up.enter_async_context(httpx.AsyncClient(timeout=5.0))
        self._deployed = Deployed(catalog, connections, http)
        self._parts_up.push_async_callback(self._deployed.aclose)

    async def _start(self, spec: ChildSpec, say: Say) -> None:
        began = time.monotonic()
        await self.supervisor.start(spec)
        say(f"{spec.name}: ready after {time.monotonic() - began:.1f} s")

    async def _start_aviary(self, say: Say) -> None:
        await self.engine.start(lambda spec: self._start(spec, say))
        await self.pipeline.start()
        async with asyncio.TaskGroup() as group:
            for spec in self.engine.services(self.settings):
                group.create_task(self._start(spec, say))

    def _processes(self) -> list[str]:
        """Aviary's own processes that run."""
        return [name for name in self.supervisor.children if name.partition("-")[0] in SERVICES]

    def _engine(self, name: str) -> Engine:
        if name == CLUSTER:
            return Cluster(self.folder, self.ports, self._free, self._cache)
        return Development(self.folder, self.ports)

    def _front(self, router: str) -> Front:
        if router == ENVOY:
            further = self.engine.further_envoys
            return EnvoyFront(self.folder, self.ports, further_admins=further)
        return FRONTS[router](self.folder, self.ports)

    async def _prepare_shop(self) -> Sequence[ChildSpec]:
        """Choose where the first versions are, or who does; the router, as it is started."""
        if self.deploys:
            await self._look_after_instances()
        else:
            for service, version in self.first.items():
                self._instances[service, version] = self._free.take()
        return await self.front.prepare(self._instances)

    async def _start_shop(self, router: Sequence[ChildSpec], say: Say) -> None:
        async with asyncio.TaskGroup() as group:
            for spec in router:
                group.create_task(self._start(spec, say))
            if self._deployed is not None:
                group.create_task(self._deployed.put_up(self.first))
            for (service, version), port in self._instances.items():
                spec = self._shop(service, version, port, Fault())
                group.create_task(self.supervisor.start(spec))
        await self.front.begin(self._instances)
        if self._deployed is not None:
            await self._deployed.tell()
        say(f"{many(len(self.first), 'service')} ready")

    def _shop(self, service: str, version: str, port: int, fault: Fault) -> ChildSpec:
        return parts.shop(service, version, port, self.ports.envoy, json.dumps(asdict(fault)))

    async def _ports_of(self, service: str, version: str) -> list[int]:
        if self._deployed is None:
            return [self._instances[service, version]]
        states = {state.version: state for state in await self._deployed.up(service)}
        return [one.endpoint.port for one in states[version].instances if one.endpoint is not None]

    # Files.

    def _write_configuration(self) -> None:
        folder, ports = self.folder, self.ports
        for name in ("prometheus", "alertmanager"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        token = folder / "webhook.token"
        token.touch(mode=0o600)
        token.write_text(self._token)
        targets = {
            "alertmanager": [f"{LOOPBACK}:{ports.alertmanager}"],
            **self.engine.jobs(),
        }
        rules = folder / "rules.yml"
        rules.write_text(self.front.alert_rules())
        (folder / "prometheus.yml").write_text(
            configs.prometheus(
                targets, self.front.scrape(), f"{LOOPBACK}:{ports.alertmanager}", rules
            )
        )
        (folder / "alertmanager.yml").write_text(
            configs.alertmanager(self.addresses["webhook"], token)
        )
        text = yaml.safe_dump(self._document(), sort_keys=False)
        (folder / "catalog.yaml").write_text(text)
        if self.deploys:
            own = {instances.CONNECTION: instances.written(self._connection)}
            file = folder / "connections.yaml"
            file.touch(mode=0o600)
            file.write_text(yaml.safe_dump({**own, **self._further.data}, sort_keys=False))
        (folder / "addresses.json").write_text(json.dumps(self.addresses, indent=1))

    def _document(self) -> dict[str, Any]:
        """The catalog, with what only this stack knows."""
        return catalogs.of_the_shop(
            self._catalog,
            self.front.catalog(),
            router_port=self.ports.envoy,
            deploys=self.deploys,
        )

    def _load(self) -> ChildSpec:
        """The users."""
        return parts.load(self.ports, self._rps)

    async def _ask_load(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        response = await fetch(self.ports.load, path, method=method, body=body)
        document: dict[str, Any] = json.loads(response.body)
        return document


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The first plain error of a group: what failed first; the rest was cancelled for it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
