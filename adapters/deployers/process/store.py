"""The folder of what a deployer has made: orders, instances and commands, each a folder of its own.

    directory/<owner>/
    ├── versions/<service>/<version>/
    │   ├── order.json        what was obeyed; stays when the version has gone, as its fence,
    │   │                     and is forgotten when no order can be that late
    │   └── <instance>/       spec.json, status.json, log; ready, draining: once it is so
    └── runs/<key>/           likewise, for a command

Methods block, and raise `Retryable` for file trouble.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from adapters.deployers.fence import Obeyed
from adapters.deployers.process.pids import is_alive
from adapters.errors import Retryable
from adapters.routers.files import locked, read_document, said_by_path, write_whole
from schemas.base import Model
from schemas.deployment import WantedVersion
from schemas.outside import visible

_LOCK_WITHIN: Final = 10.0
_TAIL: Final = 8_192
"""Bytes of a log that are looked at for its last lines."""


class Ordered(Model):
    """What was obeyed of a version, and the order while it is up."""

    obeyed: Obeyed
    wanted: WantedVersion | None = None


@dataclass(frozen=True)
class Status:
    """What a supervisor has said of its process."""

    supervisor: int | None = None
    supervisor_since: int | None = None
    pid: int | None = None
    since: int | None = None
    started_at: float | None = None
    failures: int = 0
    exit: int | None = None
    error: str = ""
    ended: bool = False

    @property
    def runs(self) -> bool:
        """Whether the process itself is there."""
        return is_alive(self.pid, self.since)

    @property
    def is_supervised(self) -> bool:
        """Whether somebody would start it again."""
        return is_alive(self.supervisor, self.supervisor_since)


class Folder:
    """One instance, or one command."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def spec(self) -> dict[str, Any]:
        """How it is started; empty where that was never written."""
        path = self.path / "spec.json"
        return read_document(path) if path.exists() else {}

    def status(self) -> Status:
        """What has become of it."""
        path = self.path / "status.json"
        if not path.exists():
            return Status()
        try:
            return Status(**read_document(path))
        except TypeError as error:
            raise Retryable(f"{path}: {error}") from error

    def has(self, mark: str) -> bool:
        """Whether it was marked `ready` or `draining`."""
        return (self.path / mark).exists()

    def mark(self, mark: str) -> None:
        """Mark it, for whoever looks after this."""
        with said_by_path(self.path):
            (self.path / mark).touch()

    def lines(self, most: int) -> list[str]:
        """The last lines of its output."""
        path = self.path / "log"
        if not path.exists():
            return []
        with said_by_path(path), path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - _TAIL))
            text = log.read().decode("utf-8", "replace")
        return [visible(line) for line in text.splitlines()[-most:]]

    def remove(self) -> None:
        """Take it away, with its log."""
        shutil.rmtree(self.path, ignore_errors=True)


class Store:
    """The folder of one owner.

    Args:
        directory: of all owners.
        owner: whose instances it has.
    """

    def __init__(self, directory: Path, owner: str) -> None:
        self._directory = directory.absolute()
        self._owner = self._directory / owner
        self.runs = self._owner / "runs"

    def version(self, service: str, version: str) -> Path:
        """The folder of a version."""
        return self._owner / "versions" / service / version

    def lock(self, folder: Path) -> AbstractContextManager[None]:
        """Be the only one who changes what is in a folder, which is made where it is missing."""
        with said_by_path(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return locked(folder, _LOCK_WITHIN)

    def lock_ports(self) -> AbstractContextManager[None]:
        """Be the only one who takes ports, among all owners of the directory."""
        return self.lock(self._directory)

    def ordered(self, service: str, version: str) -> Ordered | None:
        """What was obeyed of a version."""
        path = self.version(service, version) / "order.json"
        if not path.exists():
            return None
        try:
            return Ordered.model_validate(read_document(path))
        except ValidationError as error:
            raise Retryable(f"{path}: {error}") from error

    def order(self, service: str, version: str, ordered: Ordered) -> None:
        """Keep what was obeyed, durably; the lock of the version is held."""
        path = self.version(service, version) / "order.json"
        write_whole(path, json.loads(ordered.model_dump_json()))

    def prune(self, before: float) -> None:
        """Forget the fences of versions that have gone long ago.

        What somebody holds, or can't be read, is left for the next time.

        Args:
            before: seconds since the epoch; what was ordered since is kept.
        """
        for service, version in list(self.versions(None)):
            with suppress(Retryable):
                folder = self.version(service, version)
                if not self._is_over(service, version, before):
                    continue
                with locked(folder, 0):  # and again, for it may just have been ordered
                    if self._is_over(service, version, before):
                        shutil.rmtree(folder, ignore_errors=True)

    def _is_over(self, service: str, version: str, before: float) -> bool:
        path = self.version(service, version) / "order.json"
        with said_by_path(path):
            if not path.exists() or path.stat().st_mtime >= before:
                return False
        known = self.ordered(service, version)
        return known is not None and known.obeyed.down and not self.instances(service, version)

    def instances(self, service: str, version: str) -> list[Folder]:
        """The instances of a version, whether or not they run, in the order of their names."""
        return list(_folders(self.version(service, version)))

    def commands(self) -> list[Folder]:
        """All commands that were run."""
        return list(_folders(self.runs))

    def versions(self, service: str | None) -> Iterator[tuple[str, str]]:
        """Service and version of all that was ever ordered."""
        top = self._owner / "versions"
        for found in _folders(top) if service is None else [Folder(top / service)]:
            for version in _folders(found.path):
                yield found.name, version.name

    def ports(self) -> set[int]:
        """The ports that instances of any owner have."""
        specs = self._directory.glob("*/versions/*/*/*/spec.json")
        found = set()
        for path in specs:
            try:
                found.add(int(json.loads(path.read_text())["port"]))
            except (OSError, ValueError, KeyError):  # it is being taken away
                continue
        return found

    @staticmethod
    def make(folder: Folder, spec: Mapping[str, Any]) -> None:
        """Write how an instance is started."""
        with said_by_path(folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
            # The environment may hold what is nobody else's.
            folder.path.chmod(0o700)
        write_whole(folder.path / "spec.json", dict(spec))


def _folders(path: Path) -> Iterator[Folder]:
    if not path.is_dir():
        return
    with said_by_path(path):
        found = sorted(path.iterdir())
    yield from (Folder(one) for one in found if one.is_dir())
