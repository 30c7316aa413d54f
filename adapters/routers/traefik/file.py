"""Routes for Traefik's file provider: one file for each service, in the folder that it watches.

    directory/
    ├── aviary-<service>.yaml              the route: whoever writes it holds a lock on the folder
    ├── aviary-<service>_<version>.yaml    a pool, where Aviary's own code puts it there
    └── …                                  what people write themselves, pools or anything else

The files are JSON, which Traefik reads as YAML.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from adapters.routers.files import locked, other_writer, said_by_path, write_text
from adapters.routers.traefik.names import pool_name
from adapters.routers.traefik.pools import Pool
from adapters.routers.traefik.store import Found, flatten

_LOCK_WITHIN: Final = 1.0
_MOST_BYTES: Final = 1_000_000


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

    async def read(self, service: str) -> Found:
        """What the file of a service says; what is no JSON is something that Aviary never wrote."""
        return await asyncio.to_thread(self._read, service)

    async def write(self, service: str, document: Mapping[str, Any], over: Found) -> bool:
        """Replace the file, unless it is another than was read (see the protocol)."""
        return await asyncio.to_thread(self._write, service, document, over)

    def who(self, service: str) -> str:
        """The user who wrote the file, if that is another."""
        return other_writer(self.path(service))

    async def aclose(self) -> None:
        """Nothing is held."""

    def path(self, name: str) -> Path:
        """The file of a route, or of a pool."""
        return self.directory / f"aviary-{name}.yaml"

    def put_pool(self, pool: Pool) -> None:
        """Add a pool, or give it other instances; it blocks."""
        with locked(self.directory, self._lock_within):
            path = self.path(pool_name(pool.service, pool.version))
            write_text(path, _text(pool.document))

    def drop_pool(self, service: str, version: str) -> None:
        """Remove a pool, if it is there; no route may name it any more. It blocks."""
        path = self.path(pool_name(service, version))
        with locked(self.directory, self._lock_within), said_by_path(path):
            path.unlink(missing_ok=True)

    def _read(self, service: str) -> Found:
        path = self.path(service)
        with said_by_path(path):
            try:
                with path.open("rb") as file:
                    content = file.read(_MOST_BYTES)
            except FileNotFoundError:
                if self.directory.is_dir():
                    return Found({})
                raise
        digest = hashlib.sha256(content).hexdigest()
        try:
            document = json.loads(content)
            entries = flatten(document)
        except (ValueError, RecursionError):
            document, entries = None, {}
        if not isinstance(document, dict) or not entries:
            return Found({"no JSON": digest}, None, digest)
        return Found(entries, document, digest)

    def _write(self, service: str, document: Mapping[str, Any], over: Found) -> bool:
        with locked(self.directory, self._lock_within):
            if self._read(service).seen != over.seen:
                return False
            write_text(self.path(service), _text(document))
            return True


def _text(document: Mapping[str, Any]) -> str:
    """A document without `{{`, which would be a template to Traefik's file provider.

    Two braces are never side by side in JSON but within a string, and there each can be escaped.
    """
    return json.dumps(document, indent=1).replace("{{", r"{\u007b")
