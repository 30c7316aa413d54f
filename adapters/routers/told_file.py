"""The file of what was told of pools: endpoints by service and version, with their generations.

`endpoints.json` in the folder of a router is the fence, and stays for versions that were forgotten;
the pools, in the router's own files, are made of it. It is written first: an attempt that dies
between the two is made good by the same order again. Whoever writes it holds the folder's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from adapters.errors import Retryable
from adapters.routers.endpoint_fence import Order, check_order, in_use
from adapters.routers.files import read_document, write_whole
from schemas.base import Model, ServiceName, Version
from schemas.deployment import Endpoint, Endpoints

_FORGOTTEN_MOST: Final = 10_000
"""Versions that were forgotten and are still fenced; of more, those of the smallest generations
are not."""

Pools = Mapping[tuple[str, str], tuple[tuple[str, int], ...]]
"""Host and port of each instance, by service and version."""
_Services = dict[str, dict[str, Endpoints]]


class _Told(Model):
    services: dict[ServiceName, dict[Version, Endpoints]] = Field(default_factory=dict)


class ToldFile:
    """Reads and replaces what was told. Its methods block, and raise `Retryable` for file trouble.

    Args:
        directory: the router's.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "endpoints.json"

    def check(self, order: Order) -> None:
        """Raise what `obey` would raise for an order; write nothing."""
        check_order(order, self._services().get(order.service, {}))

    def obey(self, order: Order) -> None:
        """Write what an order says.

        Raises:
            StaleGeneration: see `adapters.routers.endpoint_fence.check_order`.
        """
        services = self._services()
        told = check_order(order, services.get(order.service, {}))
        if told is None:
            return
        services.setdefault(order.service, {})[order.version] = told
        write_whole(self._path, _Told(services=_bounded(services)).model_dump(mode="json"))

    def told(self, service: str | None, pools: Pools) -> Mapping[str, Mapping[str, Endpoints]]:
        """What was told, by service and version, of one service or of all.

        Args:
            service: None: of all.
            pools: those that there are: what somebody put there is listed with generation 0.
        """
        services = {
            name: in_use(versions)
            for name, versions in self._services().items()
            if service in {None, name}
        }
        for (owner, version), endpoints in pools.items():
            if service in {None, owner}:
                there = tuple(Endpoint(host=host, port=port) for host, port in endpoints)
                known = Endpoints(endpoints=there)
                services.setdefault(owner, {}).setdefault(version, known)
        return {name: versions for name, versions in services.items() if versions}

    def _services(self) -> _Services:
        if not self._path.exists():
            return {}
        try:
            return _Told.model_validate(read_document(self._path)).services
        except ValidationError as error:
            raise Retryable(f"{self._path}: {error}") from error


def _bounded(services: _Services) -> _Services:
    gone = [
        (one.generation, service, version)
        for service, versions in services.items()
        for version, one in versions.items()
        if not one.endpoints
    ]
    for _, service, version in sorted(gone)[: max(0, len(gone) - _FORGOTTEN_MOST)]:
        del services[service][version]
    return services
