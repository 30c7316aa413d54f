"""The files of an Envoy fleet in one directory: bootstrap, listener, pools and their instances.

    directory/
    ├── envoy-<admin port>.yaml   bootstrap, one for each Envoy
    ├── lds.yaml                  one listener; its routes come from rds.yaml
    ├── cds.yaml                  the clusters of all pools, with their instances
    ├── endpoints.json            what a deployer or a person told of them, with generations
    └── rds.yaml                  the routes: `adapters.routers.envoy.router` writes them

Whoever writes holds a lock on the directory itself.

All are JSON, which Envoy reads under these names. A route can only name a pool that is there, and a
pool that a route names can't be removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from adapters.errors import Terminal
from adapters.routers.envoy import clusters, sources
from adapters.routers.envoy.names import (
    ROUTES_NAME,
    ROUTES_TYPE,
    STAT_PREFIX,
    pool_name,
    resource_file,
    tag_of,
)
from adapters.routers.files import locked, read_document, said_by_path, write_whole
from schemas.base import Model, ServiceName, Version

_LOCK_WITHIN = 5.0
COUNTRY_HEADER = "x-aviary-country"
"""The header that says a request's country, where Envoy has a database of them."""

Port = Annotated[int, Field(ge=1, le=65535)]


class Pool(Model):
    """The instances of one version of a service."""

    service: ServiceName
    version: Version
    endpoints: tuple[tuple[str, Port], ...] = Field(
        description="Host and port of each instance; may be empty while none runs."
    )
    health_path: str | None = Field(
        default=None,
        pattern="^/",
        description="Path of an HTTP health check; None checks that a connection can be made.",
    )

    @property
    def name(self) -> str:
        """The pool's cluster, as Envoy's metrics show it."""
        return pool_name(self.service, self.version)


class EnvoyFleet:
    """Writes what every Envoy of one directory reads. Its methods block: a few milliseconds each.

    Args:
        directory: created by `bootstrap`; every Envoy must see it under the same path.
        health_path: the health check of pools that have none of their own.

    Every method raises `Retryable` for a failure of the file system.
    """

    def __init__(self, directory: Path, *, health_path: str | None = None) -> None:
        self.directory = directory.absolute()
        self._health_path = health_path

    def bootstrap(  # noqa: PLR0913 - all but the ports have a default
        self,
        admin_port: int,
        listener_port: int,
        *,
        listener_host: str = "127.0.0.1",
        admin_host: str = "127.0.0.1",
        further_hosts: Sequence[str] = (),
        countries: Path | None = None,
        country_header: str = COUNTRY_HEADER,
    ) -> Path:
        """Write the bootstrap of one Envoy and the listener that all share; return its path.

        Pools and routes that are already there stay. Start with `envoy -c <path>`. The admin port
        can stop Envoy and change its config: leave it on loopback or on a network of its own.

        Args:
            admin_port: of the Envoy.
            listener_port: of all.
            listener_host: that all listen on.
            admin_host: of the Envoy.
            further_hosts: that all listen on as well.
            countries: a MaxMind database of countries (`.mmdb`), as every Envoy sees it. Then a
                header says the country of the address that a request comes from, and callers can't.
            country_header: that header; a catalog's `country_header`.

        Raises:
            ValueError: `countries` has another ending, or `country_header` is no header's name.
        """
        located = [] if countries is None else sources.of_countries(countries, country_header)
        path = self.directory / f"envoy-{admin_port}.yaml"
        with said_by_path(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
        with locked(self.directory, _LOCK_WITHIN):
            if not self._clusters_path.exists():
                write_whole(self._clusters_path, resource_file([]))
            if not self.routes_path.exists():
                write_whole(self.routes_path, resource_file([_no_routes()]))
            hosts = (listener_host, *further_hosts)
            write_whole(self.listeners_path, self._listener(hosts, listener_port, located))
            write_whole(path, clusters.bootstrap(self.directory, admin_host, admin_port))
        return path

    @property
    def routes_path(self) -> Path:
        """The file of all routes."""
        return self.directory / "rds.yaml"

    @property
    def listeners_path(self) -> Path:
        """The file of the listener."""
        return self.directory / "lds.yaml"

    def set_pools(self, pools: Sequence[Pool]) -> None:
        """Make these the pools; no others stay.

        Raises:
            Terminal: two pools of one version, or a route names a pool that would go.
        """
        with locked(self.directory, _LOCK_WITHIN):
            self.set_locked(pools)

    def put_pool(self, pool: Pool) -> None:
        """Add a pool, or give it other instances; the other pools stay."""
        with locked(self.directory, _LOCK_WITHIN):
            others = [old for old in self.read_locked() if old.name != pool.name]
            self.set_locked([*others, pool])

    def drop_pool(self, service: str, version: str) -> None:
        """Remove a pool, if it is there.

        Raises:
            Terminal: a route still names it.
        """
        gone = pool_name(service, version)
        with locked(self.directory, _LOCK_WITHIN):
            self.set_locked([pool for pool in self.read_locked() if pool.name != gone])

    def pools(self) -> Sequence[Pool]:
        """All pools with their instances, ordered by service and version."""
        with locked(self.directory, _LOCK_WITHIN):
            return self.read_locked()

    def versions(self, service: str) -> frozenset[str]:
        """The versions of a service that have a pool."""
        return frozenset(pool.version for pool in self.read_locked() if pool.service == service)

    @property
    def _clusters_path(self) -> Path:
        return self.directory / "cds.yaml"

    def read_locked(self) -> list[Pool]:
        """All pools; where something is written by it, by who holds the lock."""
        found = []
        for resource in read_document(self._clusters_path).get("resources", []):
            tag = tag_of(resource)
            if tag is not None:
                endpoints = tuple(clusters.endpoints_of(resource))
                path = clusters.health_path_of(resource)
                found.append(Pool(**tag, endpoints=endpoints, health_path=path))
        return found

    def set_locked(self, pools: Sequence[Pool]) -> None:
        """Make these the pools, by who holds the lock (see `set_pools`)."""
        names = [pool.name for pool in pools]
        for pool in pools:
            if names.count(pool.name) > 1:
                raise Terminal(f"pools: {pool.service} {pool.version} is named twice")
        self._refuse_if_routed({(pool.service, pool.version) for pool in pools})
        described = clusters.for_pools(
            {
                (pool.service, pool.version): (
                    pool.endpoints,
                    pool.health_path or self._health_path,
                )
                for pool in pools
            }
        )
        write_whole(self._clusters_path, resource_file(described))

    def _refuse_if_routed(self, kept: set[tuple[str, str]]) -> None:
        resources = read_document(self.routes_path)["resources"]
        for host in resources[0].get("virtual_hosts", []):
            tag = tag_of(host) or {}
            for version in (arm["version"] for arm in tag.get("arms", ())):
                if (tag["service"], version) not in kept:
                    raise Terminal(
                        f"pools: the route of {tag['service']} still names version {version}; "
                        "expected it to go from the route before its pool goes"
                    )

    def _listener(
        self, hosts: Sequence[str], port: int, located: Sequence[dict[str, Any]]
    ) -> dict[str, object]:
        source, names = clusters.watched(self.routes_path), (STAT_PREFIX, ROUTES_NAME)
        return resource_file([clusters.listener(hosts, port, names, source, located)])


def _no_routes() -> dict[str, object]:
    return {"@type": ROUTES_TYPE, "name": ROUTES_NAME, "virtual_hosts": []}
