"""Files that several processes write and a router reads: whole or not at all, one writer at a time.

Every failure of the file system is `Retryable` and says the path and the system's own words, since
a full disk or a missing volume can be put right without a change to the call.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from adapters.errors import Retryable

_LOCK_POLL = 0.002


@contextlib.contextmanager
def said_by_path(path: Path) -> Iterator[None]:
    """Turn an `OSError` into `Retryable` with the path and the system's text."""
    try:
        yield
    except OSError as error:
        raise Retryable(f"{path}: {error.strerror or error}") from error


@contextlib.contextmanager
def locked(
    directory: Path, within: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Be the only writer of a directory, among processes and threads.

    The lock is on the directory itself: there is no file that could be taken away, so that two
    writers would hold a lock each, or be a link to somewhere else. The kernel frees it when its
    holder dies.

    Args:
        directory: what is written; its file system must have `flock` for directories.
        within: seconds to wait for another writer.
        clock: seconds that only grow.

    Raises:
        Retryable: another writer held on for longer, or the directory is not there.
    """
    deadline = clock() + within
    handle = _opened(directory)
    try:
        while not (_try_lock(handle, directory) and _is_still(handle, directory)):
            if clock() >= deadline:
                text = f"{directory}: another writer has held the lock for over {within} s"
                raise Retryable(text)
            time.sleep(_LOCK_POLL)
            if not _is_still(handle, directory):
                handle, old = _opened(directory), handle
                os.close(old)
        yield
    finally:
        os.close(handle)


def _opened(directory: Path) -> int:
    with said_by_path(directory):
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _try_lock(handle: int, directory: Path) -> bool:
    with said_by_path(directory):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _is_still(handle: int, directory: Path) -> bool:
    """Whether the directory of that name is the one that was opened, and not put in its place."""
    with said_by_path(directory):
        return os.path.samestat(os.fstat(handle), directory.stat())


def other_writer(path: Path) -> str:
    """The user who wrote a file, for a person; empty if it is this process's, or not known."""
    try:
        uid = path.stat().st_uid
    except OSError:
        return ""
    if uid == os.geteuid():
        return ""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def write_whole(path: Path, document: Any) -> None:
    """Replace a file by a JSON document, as `write_text` does."""
    write_text(path, json.dumps(document, separators=(",", ":")))  # no indent: C does it all


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a file by a text, durably, so that a reader sees the old or the new one.

    A reader that watches the directory sees one rename into it. Readable for all, as the router may
    run as another user.

    Args:
        path: of the file.
        text: what it shall be.
        durable: whether it outlives a power cut; without, nothing waits for the disk.

    Raises:
        Retryable: nothing was replaced (disk full, directory gone), and nothing is left behind.
    """
    content = text.encode()
    with said_by_path(path):
        handle, temp = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                if durable:
                    os.fsync(file.fileno())
            Path(temp).rename(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(temp).unlink()
            raise
        if durable:
            _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    # The rename itself must outlive a power cut, or a rolled back canary could come back.
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_document(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Retryable: the file is not there, or is not a JSON object: somebody must repair it.
    """
    with said_by_path(path):
        content = path.read_bytes()
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Retryable(f"{path}: expected JSON: {error}") from error
    if not isinstance(document, dict):
        raise Retryable(f"{path}: expected a JSON object, found {type(document).__name__}")
    return document
