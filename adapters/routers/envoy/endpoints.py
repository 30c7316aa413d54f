"""The pools in `cds.yaml`, as orders about endpoints make them (`adapters.routers.told_file`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapters.routers.endpoint_fence import Order, check_unused
from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.routes import route_in
from adapters.routers.files import locked, read_document
from adapters.routers.told_file import ToldFile
from schemas.deployment import Endpoints
from schemas.route import Route


class EndpointFile:
    """Reads and replaces what was told. Its methods block, and raise `Retryable` for file trouble.

    Args:
        directory: the fleet's.
        health_path: the health check of pools that it makes; None: a connection is enough.
        lock_within: seconds to wait for another writer.
    """

    def __init__(self, directory: Path, health_path: str | None, lock_within: float) -> None:
        self._fleet = EnvoyFleet(directory, health_path=health_path)
        self._told = ToldFile(self._fleet.directory)
        self._lock_within = lock_within

    def put(self, order: Order) -> None:
        """Make an order's endpoints the instances of its version.

        Raises:
            StaleGeneration: see `adapters.routers.endpoint_fence.check_order`.
        """
        with locked(self._fleet.directory, self._lock_within):
            self._told.obey(order)
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
            self._told.check(order)
            check_unused(order, self._route(order.service))
            self._told.obey(order)
            pools = self._fleet.read_locked()
            kept = [one for one in pools if (one.service, one.version) != order[:2]]
            if len(kept) < len(pools):
                self._fleet.set_locked(kept)

    def told(self, service: str | None) -> Mapping[str, Mapping[str, Endpoints]]:
        """What was told, by service and version, pools that somebody put there among it."""
        with locked(self._fleet.directory, self._lock_within):
            pools = self._fleet.read_locked()
            there = {(pool.service, pool.version): pool.endpoints for pool in pools}
            return self._told.told(service, there)

    def _route(self, service: str) -> Route | None:
        (config,) = read_document(self._fleet.routes_path)["resources"]
        return route_in(config, service)
