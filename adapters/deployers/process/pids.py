"""Processes by number and by when they began, so that one of a reused number is never taken for it.

What Linux says in `/proc`. A signal goes through a handle of the process (pidfd), which was looked
at after it was opened: between the look and the signal no other process can have its number.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MARK: Final = "AVIARY_INSTANCE"
"""The variable of the environment that says whose instance a process, or what it started, is."""
_PROC: Final = Path("/proc")
_STATE, _GROUP, _BEGAN = 0, 2, 19
"""Fields of `/proc/<pid>/stat` after the name."""


def began(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None where it has ended."""
    fields = _stat(pid)
    return None if fields is None or fields[_STATE] in "ZX" else int(fields[_BEGAN])


def is_alive(pid: int | None, since: int | None) -> bool:
    """Whether the process that began then is still there."""
    return pid is not None and since is not None and began(pid) == since


def send(pid: int | None, since: int | None, what: signal.Signals) -> bool:
    """Send a signal to the process that began then; False where it is gone."""
    if pid is None or since is None:
        return False
    with contextlib.ExitStack() as stack:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        stack.callback(os.close, handle)
        if began(pid) != since:
            return False
        try:
            signal.pidfd_send_signal(handle, what)
        except (ProcessLookupError, PermissionError):
            return False
    return True


def marked(mark: str) -> Iterator[tuple[int, int]]:
    """Every process that bears a mark, with when it began: an instance and what it has started."""
    wanted = f"{MARK}={mark}".encode()
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        since = began(pid)
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # it has ended, or is somebody else's
            continue
        if since is not None and wanted in environment.split(b"\0"):
            yield pid, since


def members(group: int, since: int | None) -> Iterator[tuple[int, int]]:
    """The processes of a group that began no earlier than its first, which may be gone."""
    if since is None:
        return
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            is_in = fields is not None and int(fields[_GROUP]) == group
            if fields is not None and is_in and fields[_STATE] not in "ZX":
                first = int(fields[_BEGAN])
                if first >= since:
                    yield int(entry.name), first


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text.rpartition(") ")[2].split()
