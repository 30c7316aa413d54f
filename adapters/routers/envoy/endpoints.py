"""The file of what was told of pools: endpoints by service and version, with their generations.

`endpoints.json` is the fence, and stays for versions that were forgotten; the pools in `cds.yaml`
are what Envoy reads of it. It is written first: an attempt that dies between the two is made good
by the same order again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from adapters.errors import Retryable
from adapters.routers.endpoint_fence import Order, check_order, check_unused, in_use
from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.routes import route_in
from adapters.routers.files import locked, read_document, write_whole
from schemas.base import Model, ServiceName, Version
from schemas.deployment import Endpoints
from schemas.route import Route

_FORGOTTEN_MOST: Final = 10_000
"""Versions that were forgotten and are still fenced; of more, those of the smallest generations
are not."""


class _Told(Model):
    services: dict[ServiceName, dict[Version, Endpoints]] = Field(default_factory=dict)


class EndpointFile:
    """Reads and replaces what was told. Its methods block, and raise `Retryable` for file trouble.

    Args:
        directory: the fleet's.
        health_path: the health check of pools that it makes; None: a connection is enough.
        lock_within: seconds to wait for another writer.
    """

    def __init__(self, directory: Path, health_path: str | None, lock_within: float) -> None:
        self._fleet = EnvoyFleet(directory, health_path=health_path)
        self._path = self._fleet.directory / "endpoints.json"
        self._lock_within = lock_within

    def put(self, order: Order) -> None:
        """Make an order's endpoints the instances of its version.

        Raises:
            StaleGeneration: see `adapters.routers.endpoint_fence.check_order`.
        """
        with locked(self._fleet.directory, self._lock_within):
            self._write(order, self._services())
            pools = {pool.name: pool for pool in self._fleet.read_locked()}
            wanted = Pool(
                service=order.service,
                version=order.version,
                endpoints=tuple((one.host, one.port) for one in order.endpoints),
            )
            old = pools.get(wanted.name)
            if old is not None:
                wanted = wanted.model_copy(update={"health_path": old.health_path})
            if old != wanted:
                self._fleet.set_locked([*({**pools, wanted.name: wanted}).values()])

    def drop(self, order: Order) -> None:
        """Forget the version of an order.

        Raises:
            StillInUse: a route names it.
            StaleGeneration: as `put`.
        """
        with locked(self._fleet.directory, self._lock_within):
            services = self._services()
            check_order(order, services.get(order.service, {}))
            check_unused(order, self._route(order.service))
            self._write(order, services)
            pools = self._fleet.read_locked()
            kept = [one for one in pools if (one.service, one.version) != order[:2]]
            if len(kept) < len(pools):
                self._fleet.set_locked(kept)

    def told(self, service: str | None) -> Mapping[str, Mapping[str, Endpoints]]:
        """What was told, by service and version, pools that somebody put there among it."""
        with locked(self._fleet.directory, self._lock_within):
            services = {
                name: in_use(versions)
                for name, versions in self._services().items()
                if service in {None, name}
            }
            pools = self._fleet.read_locked()
        for pool in pools:
            if service in {None, pool.service}:
                there = tuple({"host": host, "port": port} for host, port in pool.endpoints)
                known = Endpoints.model_validate({"endpoints": there})
                services.setdefault(pool.service, {}).setdefault(pool.version, known)
        return {name: versions for name, versions in services.items() if versions}

    def _write(self, order: Order, services: dict[str, dict[str, Endpoints]]) -> None:
        told = check_order(order, services.get(order.service, {}))
        if told is None:
            return
        services.setdefault(order.service, {})[order.version] = told
        write_whole(self._path, _Told(services=_bounded(services)).model_dump(mode="json"))

    def _services(self) -> dict[str, dict[str, Endpoints]]:
        if not self._path.exists():
            return {}
        try:
            return _Told.model_validate(read_document(self._path)).services
        except ValidationError as error:
            raise Retryable(f"{self._path}: {error}") from error

    def _route(self, service: str) -> Route | None:
        (config,) = read_document(self._fleet.routes_path)["resources"]
        return route_in(config, service)


def _bounded(services: dict[str, dict[str, Endpoints]]) -> dict[str, dict[str, Endpoints]]:
    gone = [
        (one.generation, service, version)
        for service, versions in services.items()
        for version, one in versions.items()
        if not one.endpoints
    ]
    for _, service, version in sorted(gone)[: max(0, len(gone) - _FORGOTTEN_MOST)]:
        del services[service][version]
    return services
