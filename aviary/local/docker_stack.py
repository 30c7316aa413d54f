"""The embedded stack with its shop in containers: a deploy event is all that the pipeline sends.

Aviary puts versions up on a Docker daemon of the stack's own, and takes those down that lost. Users
and the router are on the machine; the shop is in the daemon's network.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import httpx

from adapters.kinds import Shared
from adapters.ports import Deployer
from aviary.catalogs import read_catalog
from aviary.connections import read_connections
from aviary.deployers import Deployers, owner_of
from aviary.kinds import registry
from aviary.local import docker, images, leftovers
from aviary.local.docker import DockerHost, Network
from aviary.local.fronts.envoy import EnvoyFront
from aviary.local.http1 import Client
from aviary.local.process import ChildSpec
from aviary.local.shop import DEPENDENCIES, Fault
from aviary.local.stack import DEFAULT_RPS, FIRST_VERSION, Say, Stack
from aviary.routers import NO_CONNECTIONS, make_router
from aviary.settings import load_settings
from schemas.catalog import ResolvedService
from schemas.deploy_spec import DeploySpec
from schemas.deployment import VersionState, WantedVersion
from schemas.ids import NO_CELL

CONNECTION: Final = "shop"
_GONE_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.2
_FIRST_WITHIN_S: Final = 120.0
_DEPLOY: Final[Mapping[str, Any]] = {
    "kind": "docker",
    "connection": CONNECTION,
    "image": images.image_of("{version}"),
    "pull": "never",
    "port": images.PORT,
    # Without rules of a firewall a published port is a process of the daemon; an address is not.
    "reach": "address",
    "probe": {"path": "/healthz"},
    "stop_grace": "5s",
    "progress_deadline": "1m",
    # Short, so that one sees what has lost go; a canary that failed stays until it was looked at.
    "keep_old": "5s",
    "keep_failed": "15s",
}


class DockerStack(Stack):
    """An embedded stack whose versions are containers, behind Envoy.

    Args:
        folder: as of `Stack`.
        cache: as of `Stack`; Docker and the base of its images are kept there as well.
        catalog: as of `Stack`; recipes are filled in.
        rps: as of `Stack`.
    """

    deployer = "Docker"

    def __init__(
        self,
        folder: Path,
        cache: Path,
        *,
        catalog: Path | None = None,
        rps: float = DEFAULT_RPS,
    ) -> None:
        super().__init__(folder, cache, catalog=catalog, rps=rps, deploys=False)
        self._network = Network.draw()
        self.front = EnvoyFront(self.folder, self.ports, self._network.here)
        self._host: DockerHost | None = None
        self._http = httpx.AsyncClient()
        self._deployers: Deployers | None = None
        self._services: dict[str, ResolvedService] = {}

    async def __aexit__(self, *exc: object) -> None:
        try:
            if self._deployers is not None:
                await self._deployers.aclose()
            await self._http.aclose()
            await super().__aexit__(*exc)
        finally:
            if self._host is not None:
                await self._host.remove()
                leftovers.forget(self.folder)

    @property
    def settings(self) -> dict[str, str]:
        """As of `Stack`, with the daemon among the connections."""
        return {**super().settings, "AVIARY_CONNECTIONS_FILE": str(self._connections_file)}

    async def build(self, versions: Mapping[str, str], faults: Mapping[str, Fault]) -> None:
        """Build an image of each version; a deploy event does the rest.

        Raises:
            DockerError: one can't be built.
        """
        for version in set(versions.values()):
            await images.build(self._daemon, version, faults)

    async def clear(self, versions: Mapping[str, str]) -> bool:
        """Wait until Aviary has taken versions down, and say whether it has."""
        try:
            async with asyncio.timeout(_GONE_WITHIN_S):
                while await self._left(versions):  # noqa: ASYNC110 - a daemon is asked
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            return False
        return True

    async def set_fault(self, service: str, version: str, fault: Fault) -> float:
        """As of `Stack`."""
        endpoint = (await self._state(service, version)).endpoints[0]
        client = Client(endpoint.host, endpoint.port, timeout=5.0)
        at = time.time()
        try:
            body = json.dumps(asdict(fault)).encode()
            await client.request("POST", "/fault", body=body)
        except OSError:
            if not fault.crash:
                raise
        finally:
            client.close()
        return at

    @property
    def _connections_file(self) -> Path:
        return self.folder / "connections.yaml"

    @property
    def _daemon(self) -> DockerHost:
        if self._host is None:
            raise RuntimeError("the stack is not started")
        return self._host

    @property
    def _deployer(self) -> Deployer:
        """As the worker has it; one for all services."""
        if self._deployers is None:
            raise RuntimeError("the stack is not started")
        return self._deployers(self._deploy(min(DEPENDENCIES)))

    async def _start_all(self, say: Say) -> None:
        await self._start_docker(say)
        await super()._start_all(say)

    async def _start_docker(self, say: Say) -> None:
        docker.check_machine()
        tools = await docker.install(self._cache)
        began = time.monotonic()
        self._host = DockerHost(tools, docker.host_folder(), network=self._network)
        leftovers.remember(self.folder, self._host)
        await self._host.__aenter__()
        say(f"docker: ready after {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        await images.import_base(self._host)
        await images.build(self._host, FIRST_VERSION, {})
        say(f"images: built after {time.monotonic() - began:.1f} s")

    async def _prepare_shop(self) -> Sequence[ChildSpec]:
        settings = load_settings(connections_file=self._connections_file)
        connections = await asyncio.to_thread(read_connections, settings)
        catalog = await asyncio.to_thread(read_catalog, self.folder / "catalog.yaml", connections)
        self._services = {name: catalog.resolve(name) for name in DEPENDENCIES}
        shared = Shared(self._http)
        self._deployers = Deployers(registry(), connections, owner_of(NO_CELL), shared)
        return await self.front.prepare({})

    async def _start_shop(self, router: Sequence[ChildSpec], say: Say) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for spec in router:
                group.create_task(self._start(spec, say))
            first = [group.create_task(self._put_up_first(name)) for name in DEPENDENCIES]
        states = [task.result() for task in first]
        for state in states:
            await self._route_first(state)
        await self.front.begin({(one.service, one.version): images.PORT for one in states})
        say(f"shop: {len(states)} services ready after {time.monotonic() - began:.1f} s")

    async def _put_up_first(self, service: str) -> VersionState:
        """Put up what was there before the first event, as a release would have."""
        wanted = WantedVersion(
            service=service,
            version=FIRST_VERSION,
            release="shop-0",
            generation=int(time.time() * 1000),
            recipe=self._deploy(service).recipe,
        )
        async with asyncio.timeout(_FIRST_WITHIN_S):
            return await self._deployer.put_up(wanted, lambda _: None)

    async def _route_first(self, state: VersionState) -> None:
        service, version = state.service, state.version
        router = self._services[service].router
        routing = make_router(router, registry(), NO_CONNECTIONS, Shared(self._http))
        if routing.endpoints is None or routing.registrar is None:
            raise RuntimeError(f"{router.kind}: expected a router that is told of services")
        await routing.endpoints.put_endpoints(service, version, state.endpoints, state.generation)
        await routing.registrar.register(service, version)

    def _deploy(self, service: str) -> DeploySpec:
        found = self._services[service].deploy
        if found is None:
            raise RuntimeError(f"{service}: expected a recipe")
        return found

    def _write_configuration(self) -> None:
        daemon = {"host": f"unix://{self._daemon.socket}", "address": self._daemon.address}
        document = {CONNECTION: {"kind": "docker", **daemon}}
        self._connections_file.write_text(json.dumps(document))
        super()._write_configuration()

    def _document(self) -> dict[str, Any]:
        document = super()._document()
        router = ("--router-host", self._network.here, "--router", str(self.ports.envoy))
        services = document["services"]
        for name in services:
            command = ["--service", name, *router]
            services[name] = {**(services[name] or {}), "deploy": {**_DEPLOY, "command": command}}
        return document

    async def _left(self, versions: Mapping[str, str]) -> list[VersionState]:
        found = await self._deployer.versions()
        return [one for one in found if versions.get(one.service) == one.version]

    async def _state(self, service: str, version: str) -> VersionState:
        found = await self._deployer.versions(service)
        return next(one for one in found if one.version == version)
