"""Where the instances of versions are: orders about them, as the folder has them."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.routers.caddy.folder import CaddyFolder
from adapters.routers.caddy.folder_form import Pool
from adapters.routers.caddy.values import route_of
from adapters.routers.endpoint_fence import Order, check_unused
from adapters.routers.told_file import ToldFile
from schemas.deployment import Endpoints


class EndpointFolder:
    """Writes the pools of a folder as orders say. Its methods block, and raise `Retryable`.

    Args:
        folder: prepared.
        health_path: the health check of pools that it makes; None: none.
    """

    def __init__(self, folder: CaddyFolder, health_path: str | None) -> None:
        self._folder = folder
        self._told = ToldFile(folder.directory)
        self._health_path = health_path

    def put(self, order: Order) -> None:
        """Make an order's endpoints the instances of its version.

        Raises:
            StaleGeneration: see `adapters.routers.endpoint_fence.check_order`.
        """
        with self._folder.locked():
            self._told.obey(order)
            pools = {pool.name: pool for pool in self._folder.pools()}
            wanted = Pool(
                service=order.service,
                version=order.version,
                endpoints=tuple((one.host, one.port) for one in order.endpoints),
                health_path=self._health_path,
            )
            old = pools.get(wanted.name)
            if old is not None:
                wanted = wanted.model_copy(update={"health_path": old.health_path})
            if old != wanted:
                self._folder.set_locked([*({**pools, wanted.name: wanted}).values()])

    def drop(self, order: Order) -> None:
        """Forget the version of an order.

        Raises:
            StillInUse: the route names it.
            StaleGeneration: as `put`.
        """
        with self._folder.locked():
            self._told.check(order)
            value = self._folder.routes.value(order.service)
            check_unused(order, None if value is None else route_of(order.service, value))
            self._told.obey(order)
            pools = self._folder.pools()
            kept = [one for one in pools if (one.service, one.version) != order[:2]]
            if len(kept) < len(pools):
                self._folder.set_locked(kept)

    def told(self, service: str | None) -> Mapping[str, Mapping[str, Endpoints]]:
        """What was told, by service and version, pools that somebody put there among it."""
        with self._folder.locked():
            there = {(pool.service, pool.version): pool.endpoints for pool in self._folder.pools()}
            return self._told.told(service, there)
