"""What the deployers of a stack's catalog have put up, beside the worker that orders it.

The stack puts the first versions up itself, as a release would; from then on it only looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import httpx

from adapters.connections import Connection
from adapters.errors import AdapterError, Retryable
from adapters.kinds import Shared
from adapters.ports import EndpointWriter, Registrar, Router
from aviary.deployers import OWNER, Deployers
from aviary.kinds import registry
from aviary.local import instances
from aviary.local.process import ChildFailedError
from aviary.routers import make_router
from schemas.catalog import Catalog, ResolvedService
from schemas.deployment import VersionState, WantedVersion

FIRST_RELEASE: Final = "local-up"
"""The release that the first versions are said to be of."""
_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.1


class Deployed:
    """The versions of a catalog's services that are up.

    Args:
        catalog: read with its kinds.
        connections: that it names.
        http: closed by its owner.
    """

    def __init__(
        self, catalog: Catalog, connections: Mapping[str, Connection], http: httpx.AsyncClient
    ) -> None:
        self._catalog = catalog
        self._connections = connections
        self._shared = Shared(http)
        self._deployers = Deployers(registry(), connections, OWNER, self._shared)
        self._first: dict[str, VersionState] = {}

    async def put_up(self, versions: Mapping[str, str]) -> None:
        """Put versions of services up; no router is told.

        Raises:
            ChildFailedError: one was not ready in time; the text has its own words.
        """
        async with asyncio.TaskGroup() as group:
            for service, version in versions.items():
                group.create_task(self._put_up(service, version))

    async def tell(self) -> None:
        """Tell the routers, which run, where what was put up is, and give it all requests.

        Raises:
            ChildFailedError: a router does not take it in time.
        """
        async with asyncio.TaskGroup() as group:
            for state in self._first.values():
                group.create_task(self._tell(state))

    async def up(self, service: str) -> Sequence[VersionState]:
        """The versions of a service that are up, or half-made."""
        deploy = self._resolved(service).deploy
        return () if deploy is None else await self._deployers(deploy).versions(service)

    async def end(self) -> None:
        """Take down what ends with no process of this machine: what other deployers have put up.

        Raises:
            ChildFailedError: a deployer could not be asked, or does not do it.
        """
        for service in self._catalog.services:
            deploy = self._resolved(service).deploy
            if deploy is None or deploy.connection == instances.CONNECTION:
                continue
            deployer = self._deployers(deploy)
            try:
                for one in await deployer.versions(service):
                    await deployer.take_down(service, one.version, one.generation, _nobody_routes)
            except AdapterError as error:
                raise ChildFailedError(f"{service}: what is up of it stays up: {error}") from error

    async def aclose(self) -> None:
        """What was put up stays up."""
        await self._deployers.aclose()

    async def _put_up(self, service: str, version: str) -> None:
        deploy = self._resolved(service).deploy
        if deploy is None:
            return
        wanted = WantedVersion(
            service=service,
            version=version,
            release=FIRST_RELEASE,
            generation=int(time.time() * 1000),
            instances=deploy.instances,
            recipe=deploy.recipe,
        )
        seen = VersionState(service=service, version=version, wanted=deploy.instances)

        def report(state: VersionState) -> None:
            nonlocal seen
            seen = state

        try:
            async with asyncio.timeout(_WITHIN_S):
                self._first[service] = await self._deployers(deploy).put_up(wanted, report)
        except TimeoutError:
            said = "; ".join(one.text for one in seen.instances if one.text)
            text = f"not ready within {_WITHIN_S:g} s: {seen.sentence}; {said}"
            raise ChildFailedError(f"{service} {version}: {text}") from None

    async def _tell(self, state: VersionState) -> None:
        service, version = state.service, state.version
        spec = self._resolved(service).router
        routing = make_router(spec, registry(), self._connections, self._shared)
        writer, registrar = routing.endpoints, routing.registrar
        if writer is None or registrar is None:
            raise ChildFailedError(f"{service}: a router of kind {spec.kind} can't be told of it")
        try:
            await _until_taken(lambda: _introduce(routing.router, writer, registrar, state))
        except AdapterError as error:
            raise ChildFailedError(f"{service} {version}: {error}") from error
        finally:
            await routing.router.aclose()

    def _resolved(self, service: str) -> ResolvedService:
        return self._catalog.resolve(service)


async def _nobody_routes() -> bool:
    """The router has ended, or will."""
    return False


async def _introduce(
    router: Router, writer: EndpointWriter, registrar: Registrar, state: VersionState
) -> None:
    service, version = state.service, state.version
    await writer.put_endpoints(service, version, state.endpoints, state.generation)
    # Applied as well, since that returns only once it is served: users come next.
    await router.apply(await registrar.register(service, version))


async def _until_taken(attempt: Callable[[], Awaitable[None]]) -> None:
    """Try again what may pass: all services are told of at once, and a router may just begin."""
    deadline = time.monotonic() + _WITHIN_S
    while True:
        try:
            return await attempt()
        except Retryable:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_POLL_S)
