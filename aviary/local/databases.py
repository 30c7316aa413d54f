"""PostgreSQL as a part of a stack: Debian's, on TCP, and what it says is kept has reached the disk.

For a test that needs a database for a moment, on a socket, see `aviary/local/postgres.py`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aviary.local import debian
from aviary.local.ports import LOOPBACK
from aviary.local.process import ChildSpec, NotReady
from aviary.local.unpacked import environment, unpacked

USER: Final = "temporal"
"""Who owns the databases; anyone on loopback is believed to be."""
MINUTES: Final = 1
"""What fetching takes, about 60 MB."""
_NOBODY: Final = 65_534
_TAIL: Final = 2_000


class PostgresError(RuntimeError):
    """A database can't be made here; the text says why."""


def to_fetch() -> int:
    """The minutes that `programs` would take; 0 where it is done."""
    there = (debian.cache_folder() / "unpacked/postgresql/stamp.json").exists()
    return 0 if there else MINUTES


def programs() -> Path:
    """The root of what was unpacked; fetched if it is not there yet. Blocks.

    Raises:
        DebianError: it can't be had here; the text says why.
    """
    return unpacked("postgresql", "postgresql")


@dataclass(frozen=True)
class Postgres:
    """One server on loopback.

    Attributes:
        root: what `programs` gave.
        folder: its own, which `make` makes.
        port: where it listens.
    """

    root: Path
    folder: Path
    port: int

    @property
    def user(self) -> int | None:
        """Who it runs as: PostgreSQL refuses to run as root."""
        return _NOBODY if os.geteuid() == 0 else None

    async def make(self) -> None:
        """Make an empty cluster of databases.

        Raises:
            PostgresError: `initdb` failed, or may not reach its programs or its folder.
        """
        if self.user is not None:
            for place in (self.root, self.folder):
                _check_reached(place)
        self.folder.mkdir(mode=0o700)
        if self.user is not None:
            shutil.chown(self.folder, self.user, self.user)
        words = ("-U", USER, "-A", "trust", "--no-locale", "-E", "UTF8", "-N")
        process = await asyncio.create_subprocess_exec(
            self._program("initdb"), "-D", str(self._data), *words,
            cwd=self.folder,
            env=dict(self._environment),
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else (),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        if process.returncode != 0:
            text = output.decode(errors="replace")[-_TAIL:]
            raise PostgresError(f"initdb: ended with {process.returncode}:\n{text}")

    def spec(self, name: str = "postgres") -> ChildSpec:
        """The server as a part of a stack; what it says is durable has reached the disk."""
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
        }
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return ChildSpec(
            name,
            (self._program("postgres"), "-D", str(self._data), *words),
            env={"LD_LIBRARY_PATH": self._environment["LD_LIBRARY_PATH"]},
            cwd=self.folder,
            probe=self._ready,
            user=self.user,
            ends_at=signal.SIGINT,  # SIGTERM waits for its clients to go
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _environment(self) -> Mapping[str, str]:
        return environment(self.root)

    def _program(self, name: str) -> str:
        (found,) = self.root.glob(f"usr/lib/postgresql/*/bin/{name}")
        return str(found)

    async def _ready(self) -> None:
        process = await asyncio.create_subprocess_exec(
            self._program("pg_isready"), "-h", LOOPBACK, "-p", str(self.port), "-t", "2",
            env=dict(self._environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise NotReady(output.decode(errors="replace").strip())


def _check_reached(place: Path) -> None:
    """Whether somebody who is not root gets there."""
    for folder in place.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise PostgresError(
                f"PostgreSQL: it refuses to run as root, and nobody else may enter {folder}; "
                f"expected a --folder and an AVIARY_CACHE that all may enter, or another user"
            )
