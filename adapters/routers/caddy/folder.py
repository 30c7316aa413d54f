"""The files of Caddys in one folder: how requests are split, the pools, and the routes.

    directory/
    ├── global.caddy      what is counted; imported in the global options
    ├── aviary.caddy      the sites; imported in the Caddyfile
    ├── split.html        the template that decides about a request
    ├── routes/           a file for each service: `adapters.routers.caddy.route_files`
    └── endpoints.json    what was told of pools: `adapters.routers.told_file`

What is in the two `.caddy` Caddy reads as it starts or loads its configuration; a route takes
effect at once. Whoever writes holds a lock on the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from adapters.errors import Retryable, Terminal
from adapters.routers.caddy import configs
from adapters.routers.caddy.folder_form import SOCKET, Config, Pool
from adapters.routers.caddy.names import pool_name
from adapters.routers.caddy.route_files import RouteFiles
from adapters.routers.caddy.values import route_of
from adapters.routers.files import locked, said_by_path, write_text

_LOCK_WITHIN: Final = 5.0
_HEAD: Final = "# Written by Aviary; the next line is read again.\n# "


class CaddyFolder:
    """Writes what every Caddy of one folder reads. Its methods block: a few milliseconds each.

    Every method raises `Retryable` for a failure of the file system.

    Args:
        directory: created by `prepare`; every Caddy must see it under the same path.
        lock_within: seconds to wait for another writer.

    Raises:
        ValueError: the path has a character that a Caddyfile can't take.
    """

    def __init__(self, directory: Path, lock_within: float = _LOCK_WITHIN) -> None:
        self.directory = directory.absolute()
        configs.checked(str(self.directory), "directory")
        self._lock_within = lock_within
        self.routes = RouteFiles(self.directory, lock_within)

    def prepare(self, *listens: str, socket: str = SOCKET) -> None:
        """Write all that Caddy needs to start. Pools and routes that are already there stay.

        Args:
            listens: addresses for frontends of Aviary's, such as `:10000`; none: your sites import
                `aviary-<service>`.
            socket: where each Caddy answers Aviary; `AVIARY_SOCKET` in its environment comes first.

        Raises:
            ValueError: one has a character that a Caddyfile can't take.
        """
        with said_by_path(self.directory):
            self.routes.folder.mkdir(parents=True, exist_ok=True)
        with self.locked():
            pools = self.config().pools if self.path.exists() else ()
            config = Config(socket=socket, listens=listens, pools=pools)
            write_text(self.directory / "split.html", configs.SPLIT)
            write_text(self.directory / "global.caddy", configs.options(config))
            self._write(config)

    @property
    def path(self) -> Path:
        """The file of the sites."""
        return self.directory / "aviary.caddy"

    def put_pool(self, pool: Pool) -> None:
        """Add a pool, or give it other instances; the others stay. Caddy has to be reloaded."""
        with self.locked():
            self.set_locked([*(old for old in self.pools() if old.name != pool.name), pool])

    def drop_pool(self, service: str, version: str) -> None:
        """Remove a pool, if it is there.

        Raises:
            Terminal: a route still names it.
        """
        gone = pool_name(service, version)
        with self.locked():
            self.set_locked([pool for pool in self.pools() if pool.name != gone])

    def pools(self) -> Sequence[Pool]:
        """All pools with their instances, ordered by service and version."""
        return self.config().pools

    def config(self) -> Config:
        """What the sites are made of."""
        with said_by_path(self.path):
            text = self.path.read_text()
        line = text.removeprefix(_HEAD).partition("\n")[0]
        try:
            return Config.model_validate(json.loads(line))
        except (ValidationError, ValueError) as error:
            raise Retryable(f"{self.path}: expected sites of Aviary's: {error}") from error

    def mark(self) -> str:
        """What a Caddy answers that has taken up the sites of this moment."""
        return _mark(self.config())

    def locked(self) -> AbstractContextManager[None]:
        """Be the only one who writes in the folder."""
        return locked(self.directory, self._lock_within)

    def set_locked(self, pools: Sequence[Pool]) -> None:
        """Make these the pools, for one who holds the lock; no others stay.

        Raises:
            Terminal: two pools of one version, or a route names a pool that would go.
        """
        names = Counter(pool.name for pool in pools)
        for pool in pools:
            if names[pool.name] > 1:
                raise Terminal(f"pools: {pool.service} {pool.version} is named twice")
        old = self.config()
        for gone in old.pools:
            value = None if gone.name in names else self.routes.value(gone.service)
            route = None if value is None else route_of(gone.service, value)
            if route is not None and gone.version in route.versions:
                raise Terminal(
                    f"pools: the route of {gone.service} still names version {gone.version}; "
                    "expected it to go from the route before its pool goes"
                )
        ordered = tuple(sorted(pools, key=lambda pool: (pool.service, pool.version)))
        self._write(old.model_copy(update={"pools": ordered}))

    def _write(self, config: Config) -> None:
        text = configs.sites(config, self.directory, _mark(config))
        write_text(self.path, f"{_HEAD}{config.model_dump_json()}\n{text}")


def _mark(config: Config) -> str:
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:32]
