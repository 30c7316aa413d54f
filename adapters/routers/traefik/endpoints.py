"""Where the instances of versions are, as Traefik is told: written to the store, and confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from adapters.errors import Retryable, StaleGeneration, Terminal
from adapters.routers.endpoint_fence import Order, check_order, check_unused, in_use
from adapters.routers.traefik.api import TraefikApi
from adapters.routers.traefik.document import route_in
from adapters.routers.traefik.names import of_provider, pool_name
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.pools import pools_document, read_told, told_in, url_of
from adapters.routers.traefik.store import Store
from schemas.deployment import Endpoints

_TRIES: Final = 20


class PoolWriter:
    """Obeys orders about endpoints.

    Args:
        store: keeps the pools.
        apis: every Traefik; each must confirm.
        pace: waiting times.
        health_path: the health check of the pools; None: none.
        clock: seconds that only grow.
        sleep: waits for seconds.
    """

    def __init__(  # noqa: PLR0913 - two are seams for time
        self,
        store: Store,
        apis: Sequence[TraefikApi],
        *,
        pace: Pace,
        health_path: str | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._store = store
        self._apis = apis
        self._pace = pace
        self._health_path = health_path
        self._clock = clock
        self._sleep = sleep

    async def obey(self, order: Order) -> None:
        """Make the endpoints of an order the instances of its version, or forget the version.

        Raises:
            StaleGeneration: see `adapters.routers.endpoint_fence.check_order`.
            StillInUse: the route names the version that shall be forgotten.
            Terminal: a Traefik finds something wrong with them.
            Retryable: not every Traefik used them in time, or the store could not be written.
        """
        await self._confirm(order, await self._write(order))

    async def told(self, service: str | None) -> Mapping[str, Mapping[str, Endpoints]]:
        """What was told, by service and version."""
        services = await self._store.pooled() if service is None else [service]
        found = {
            name: in_use(told_in((await self._store.read_pools(name)).entries, name))
            for name in services
        }
        return {name: versions for name, versions in found.items() if versions}

    async def _write(self, order: Order) -> Endpoints:
        """Write an order; return what was told of its version now."""
        service = order.service
        for _ in range(_TRIES):
            before = await self._store.read_pools(service)
            told = told_in(before.entries, service)
            wanted = check_order(order, told) or told[order.version]
            beside = None
            if not order.endpoints:
                beside = await self._store.read(service)
                check_unused(order, route_in(beside.entries, service))
            now = pools_document(service, {**told, order.version: wanted}, self._health_path)
            if await self._store.write_pools(service, now, before, beside):
                return wanted
        raise Retryable(f"{service}: others write its pools all the time")

    async def _confirm(self, order: Order, wanted: Endpoints) -> None:
        deadline = self._clock() + self._pace.endpoints_within
        waiting = list(self._apis)
        while True:
            looks = await asyncio.gather(*(self._look(order, wanted, api) for api in waiting))
            left = {api: why for api, why in zip(waiting, looks, strict=True) if why}
            if not left:
                return
            if self._clock() >= deadline:
                details = "; ".join(left.values())
                raise Retryable(
                    f"{order.service} {order.version}: endpoints were written but not confirmed "
                    f"within {self._pace.endpoints_within} s: {details}"
                )
            waiting = list(left)
            await self._sleep(self._pace.poll_every)

    async def _look(self, order: Order, wanted: Endpoints, api: TraefikApi) -> str:
        """Why a Traefik does not do as told yet; empty: it does."""
        service, version, provider = order.service, order.version, self._store.provider
        try:
            text = await api.told(service, provider)
            told = (read_told(service, text) if text else {}).get(version)
            if told is not None and told.generation > wanted.generation:
                raise StaleGeneration(
                    f"{service} {version}: endpoints of generation {wanted.generation} were "
                    f"overtaken by {told.generation}"
                )
            if told != wanted:
                return f"{api.name} has not read them"
            if not wanted.endpoints:
                return ""
            await self._refuse_faults(order, api)
            servers = await api.servers(service, version, provider)
        except Retryable as problem:
            return str(problem)
        if servers == {url_of(one) for one in wanted.endpoints}:
            return ""
        pool = of_provider(pool_name(service, version), provider)
        return f"{api.name} has other servers in {pool}, as somebody else wrote it"

    async def _refuse_faults(self, order: Order, api: TraefikApi) -> None:
        pool = pool_name(order.service, order.version)
        fault = await api.faults(f"services/{pool}", self._store.provider)
        if fault:
            raise Terminal(f"{order.service} {order.version}: {api.name} refuses {pool}: {fault}")
