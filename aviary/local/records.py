"""Which processes belong to a stack, on disk, so that any shell can end them.

A process id alone may be another process by now; with the kernel's start time beside it, it is not.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from aviary.local.instances import end_all

_FILE: Final = "processes.json"
_POLL_S: Final = 0.05
PARENT: Final = "aviary"
"""The record name of the supervising process itself."""


@dataclass(frozen=True)
class Record:
    """One process."""

    name: str
    pid: int
    started: int
    """Kernel clock ticks since boot."""

    @classmethod
    def of(cls, name: str, pid: int) -> Record:
        """The record of a running process."""
        return cls(name, pid, _started(pid) or 0)

    @property
    def alive(self) -> bool:
        """Whether it is the same process and still runs."""
        return _started(self.pid) == self.started


class Records:
    """The records of one stack's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._records: dict[int, Record] = {}

    def add(self, record: Record) -> None:
        """Keep a record."""
        self._records[record.pid] = record
        self._write()

    def remove(self, pid: int) -> None:
        """Drop a record; nothing happens if there is none."""
        if self._records.pop(pid, None) is not None:
            self._write()

    def _write(self) -> None:
        if not self._records:
            self._path.unlink(missing_ok=True)
            return
        # A file of a new name, so that nothing that lies there is written through.
        folder, name = self._path.parent, self._path.name
        handle, fresh = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=folder)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump([asdict(record) for record in self._records.values()], file)
            Path(fresh).replace(self._path)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise


def read(folder: Path) -> list[Record]:
    """Every living process on record below one stack's folder."""
    try:
        entries = json.loads((folder / _FILE).read_text())
    except FileNotFoundError:
        return []
    return [record for record in (Record(**entry) for entry in entries) if record.alive]


def stacks(base: Path) -> list[Path]:
    """The folders below `base` that have processes on record."""
    return sorted(path.parent for path in base.glob(f"*/{_FILE}"))


def end(folder: Path, *, grace: float = 20.0) -> list[str]:
    """End the stack of a folder: ask its parent, then kill what is left.

    Args:
        folder: the stack's.
        grace: seconds that the parent has to end by itself, its children with it.

    Returns:
        The names of the processes that were alive.
    """
    records = read(folder)
    for parent in (r for r in records if r.name == PARENT):
        with suppress(ProcessLookupError):
            os.kill(parent.pid, signal.SIGTERM)
        _await_end([parent], grace)
    sweep(folder)
    return [record.name for record in records]


def sweep(folder: Path) -> list[str]:
    """Kill the orphans of a stack whose parent is gone; leave alone one that still has it."""
    records = read(folder)
    if any(record.name == PARENT for record in records):
        return []
    for record in records:
        with suppress(ProcessLookupError):
            os.killpg(record.pid, signal.SIGKILL)
    _await_end(records, 5.0)
    end_all(folder)
    (folder / _FILE).unlink(missing_ok=True)
    return [record.name for record in records]


def _await_end(records: Iterable[Record], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(record.alive for record in records) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _started(pid: int) -> int | None:
    """When a process began, in the kernel's own ticks; None where it does not run.

    With its id this is a name that never comes again. psutil makes a time of day of the ticks, and
    that moves when the clock is set.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything; state is the field after it, start time the 20th.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
