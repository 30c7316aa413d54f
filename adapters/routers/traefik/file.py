"""Routes and pools for Traefik's file provider: files of each service, in a folder that it watches.

    directory/
    ├── aviary-<service>.yaml     the route: whoever writes it holds a lock on the folder
    ├── aviary-<service>_.yaml    the pools that Aviary was told of
    ├── leases/<service>          a sign of life of the release that owns a canary; of no name
    │                             that Traefik takes for a configuration
    └── …                         what people write themselves, pools or anything else

The files are JSON, which Traefik reads as YAML.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from adapters.errors import Retryable
from adapters.ports import Leased
from adapters.routers.files import locked, other_writer, said_by_path, write_text
from adapters.routers.lease_folder import LeaseFolder
from adapters.routers.traefik.document import route_in
from adapters.routers.traefik.store import Found, flatten

_LOCK_WITHIN: Final = 1.0
_MOST_BYTES: Final = 1_000_000
_OURS: Final = "aviary-"
_POOLS: Final = "_"
"""In no service's name."""
_END: Final = ".yaml"
_LEASE: Final = b"lease"


class FileStore:
    """Routes in a folder. A file is replaced as a whole, after it is on the disk.

    Args:
        directory: that Traefik watches (`providers.file.directory`).
        lock_within: seconds to wait for another writer.
    """

    provider = "file"

    def __init__(self, directory: Path, lock_within: float = _LOCK_WITHIN) -> None:
        self.directory = directory
        self._lock_within = lock_within
        self._leases = LeaseFolder(directory)

    async def read(self, service: str) -> Found:
        """What the file of a service says; what is no JSON is something that Aviary never wrote."""
        return await asyncio.to_thread(self._read, self.path(service))

    async def write(self, service: str, document: Mapping[str, Any], over: Found) -> bool:
        """Replace the file, unless it is another than was read (see the protocol)."""
        path = self.path(service)
        return await asyncio.to_thread(self._write, path, document, {path: over})

    async def read_pools(self, service: str) -> Found:
        """What the file of its pools says."""
        return await asyncio.to_thread(self._read, self._pools_path(service))

    async def write_pools(
        self, service: str, document: Mapping[str, Any], over: Found, beside: Found | None = None
    ) -> bool:
        """Replace the file of the pools, unless it or the route's is another than was read."""
        if flatten(document) == over.entries:
            return True
        path = self._pools_path(service)
        read = {path: over} if beside is None else {path: over, self.path(service): beside}
        return await asyncio.to_thread(self._write, path, document, read)

    async def pooled(self) -> Sequence[str]:
        """Those that have a file of pools."""
        return await asyncio.to_thread(self._pooled)

    async def renew(self, service: str) -> None:
        """Leave a sign of life beside the file of a route."""
        await asyncio.to_thread(self._leases.renew, service)

    async def leased(self, services: Collection[str]) -> Mapping[str, Leased]:
        """The routes that have a lease, with their signs of life."""
        return await asyncio.to_thread(self._leased, services)

    def who(self, service: str) -> str:
        """The user who wrote the file, if that is another."""
        return other_writer(self.path(service))

    async def aclose(self) -> None:
        """Nothing is held."""

    def path(self, service: str) -> Path:
        """The file of a route."""
        return self.directory / f"{_OURS}{service}{_END}"

    def _pools_path(self, service: str) -> Path:
        return self.directory / f"{_OURS}{service}{_POOLS}{_END}"

    def _read(self, path: Path) -> Found:
        content = self._content(path)
        return Found({}) if content is None else _found(content)

    def _content(self, path: Path) -> bytes | None:
        """None where the folder has no such file."""
        with said_by_path(path):
            try:
                with path.open("rb") as file:
                    return file.read(_MOST_BYTES)
            except FileNotFoundError:
                if self.directory.is_dir():
                    return None
                raise

    def _leased(self, services: Collection[str]) -> Mapping[str, Leased]:
        """Of files that speak of a lease: a sentinel looks at all services, twice a second."""
        routes = []
        for service in services:
            content = self._content(self.path(service))
            if content is None or _LEASE not in content:
                continue
            with contextlib.suppress(Retryable):  # it has to be mended by hand
                route = route_in(_found(content).entries, service)
                if route is not None and route.lease is not None:
                    routes.append(route)
        return self._leases.beside(routes)

    def _write(self, path: Path, document: Mapping[str, Any], read: Mapping[Path, Found]) -> bool:
        with locked(self.directory, self._lock_within):
            if any(self._read(one).seen != found.seen for one, found in read.items()):
                return False
            write_text(path, _text(document))
            return True

    def _pooled(self) -> list[str]:
        with said_by_path(self.directory):
            names = [path.name for path in self.directory.iterdir()]
        end = f"{_POOLS}{_END}"
        found = [name for name in names if name.startswith(_OURS) and name.endswith(end)]
        return sorted(name.removeprefix(_OURS).removesuffix(end) for name in found)


def _found(content: bytes) -> Found:
    digest = hashlib.sha256(content).hexdigest()
    try:
        document = json.loads(content)
        entries = flatten(document)
    except (ValueError, RecursionError):
        document, entries = None, {}
    if not isinstance(document, dict) or not entries:
        return Found({"no JSON": digest}, None, digest)
    return Found(entries, document, digest)


def _text(document: Mapping[str, Any]) -> str:
    """A document without `{{`, which would be a template to Traefik's file provider.

    Two braces are never side by side in JSON but within a string, and there each can be escaped.
    """
    return json.dumps(document, indent=1).replace("{{", r"{\u007b")
