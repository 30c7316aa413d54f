"""The files of HAProxies in one folder: how requests are split, the pools, and the routes.

    directory/
    ├── aviary.cfg    the rules of the split, and a frontend; read with `haproxy -f`
    ├── aviary.lua    the script that the rules need
    ├── pools.cfg     a backend for each version of each service; read with `haproxy -f`
    ├── routes.map    the routes: `adapters.routers.haproxy.router` writes them
    └── endpoints.json    what was told of pools: `adapters.routers.told_file`

Whoever writes holds a lock on the folder. What is in the two `.cfg` HAProxy reads as it starts or
is reloaded; a route takes effect at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from adapters.errors import Retryable, Terminal
from adapters.routers.files import said_by_path, write_text
from adapters.routers.haproxy import configs
from adapters.routers.haproxy.map_file import MapFile, map_text
from adapters.routers.haproxy.names import apart_name, pool_name
from adapters.routers.haproxy.values import route_of
from schemas.base import Model, ServiceName, Version

_LOCK_WITHIN: Final = 5.0
_POOL: Final = "# pool "
_HEAD: Final = "# Written by Aviary; the comments are read again.\n"

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
        """The pool's backend, as HAProxy's metrics show it."""
        return pool_name(self.service, self.version)


class HaproxyFolder:
    """Writes what every HAProxy of one folder reads. Its methods block: a few milliseconds each.

    Every method raises `Retryable` for a failure of the file system.

    Args:
        directory: created by `prepare`; every HAProxy must see it under the same path.

    Raises:
        ValueError: the path has a blank, a quote, `#` or a backslash, which HAProxy can't take.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        configs.checked(str(self.directory), "directory")
        self._file = MapFile(self.directory, _LOCK_WITHIN)

    def prepare(self, *binds: str) -> Sequence[Path]:
        """Write all that HAProxy needs to start; the files to name with `-f`, in this order.

        Pools and routes that are already there stay.

        Args:
            binds: addresses for a frontend of Aviary's, such as `:10000`; none: you have your own.
        """
        with said_by_path(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
        front = self.directory / "aviary.cfg"
        with self._file.locked():
            if not self._file.path.exists():
                write_text(self._file.path, map_text({}))
            if not self._pools_path.exists():
                write_text(self._pools_path, _HEAD)
            write_text(self.directory / "aviary.lua", configs.script(self.directory))
            write_text(front, configs.front(self.directory, binds))
        return front, self._pools_path

    def set_pools(self, pools: Sequence[Pool]) -> None:
        """Make these the pools; no others stay. HAProxy knows them once it is reloaded.

        Raises:
            Terminal: two pools of one version, or a route names a pool that would go.
        """
        with self._file.locked():
            self.set_locked(pools)

    def put_pool(self, pool: Pool) -> None:
        """Add a pool, or give it other instances; the other pools stay."""
        with self._file.locked():
            self.set_locked([*(old for old in self.pools() if old.name != pool.name), pool])

    def drop_pool(self, service: str, version: str) -> None:
        """Remove a pool, if it is there.

        Raises:
            Terminal: a route still names it.
        """
        gone = pool_name(service, version)
        with self._file.locked():
            self.set_locked([pool for pool in self.pools() if pool.name != gone])

    def pools(self) -> Sequence[Pool]:
        """All pools with their instances, ordered by service and version."""
        with said_by_path(self._pools_path):
            lines = self._pools_path.read_text().splitlines()
        found = [line.removeprefix(_POOL) for line in lines if line.startswith(_POOL)]
        try:
            return [Pool.model_validate(json.loads(one)) for one in found]
        except (ValidationError, ValueError) as error:
            raise Retryable(f"{self._pools_path}: expected pools of Aviary's: {error}") from error

    def set_locked(self, pools: Sequence[Pool]) -> None:
        """The same as `set_pools`, for one who holds the lock."""
        self._refuse_twice(pools)
        self._refuse_if_routed(frozenset(pool.name for pool in pools))
        ordered = sorted(pools, key=lambda pool: (pool.service, pool.version))
        write_text(self._pools_path, _HEAD + "".join(map(_described, ordered)))

    @property
    def _pools_path(self) -> Path:
        return self.directory / "pools.cfg"

    def _refuse_twice(self, pools: Sequence[Pool]) -> None:
        names = Counter(pool.name for pool in pools)
        for pool in pools:
            if names[pool.name] > 1:
                raise Terminal(f"pools: {pool.service} {pool.version} is named twice")

    def _refuse_if_routed(self, kept: frozenset[str]) -> None:
        for service, value in self._file.values().items():
            route = route_of(service, value)
            for version in () if route is None else route.versions:
                if pool_name(service, version) not in kept:
                    raise Terminal(
                        f"pools: the route of {service} still names version {version}; "
                        "expected it to go from the route before its pool goes"
                    )


def _described(pool: Pool) -> str:
    apart = apart_name(pool.service, pool.version)
    text = configs.backends(pool.name, apart, pool.endpoints, pool.health_path)
    return f"\n{_POOL}{pool.model_dump_json()}{text}"
