"""Reads a file that somebody else wrote, no further than is sensible."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from schemas.outside import visible

MOST_BYTES: Final = 32_000_000
"""Largest document that is read: ten thousand services that each spell out their metrics fit."""
_MILLION: Final = 1_000_000


class UnreadableError(ValueError):
    """A file can't be read; says why in words that fit behind "expected"."""


def read_bounded(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a file, or of a pipe, of at most `most` bytes.

    Raises:
        UnreadableError: it can't be read, or is larger; no more than `most` is held of it.
    """
    return _read(path, most, os.O_RDONLY, _no_directory)


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes; for what is read unasked.

    A pipe would be waited for until somebody writes to it, and could be read once only.

    Raises:
        UnreadableError: it can't be read, is larger, or is no regular file.
    """
    return _read(path, most, os.O_RDONLY | os.O_NONBLOCK, _regular)


def _no_directory(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UnreadableError("a readable file (Is a directory)")


def _regular(mode: int) -> None:
    _no_directory(mode)
    if not stat.S_ISREG(mode):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
        raise UnreadableError(f"a regular file (it is {kind})")


def _read(path: Path, most: int, flags: int, check: Callable[[int], None]) -> bytes:
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags | os.O_CLOEXEC)) as file:
            check(os.fstat(file.fileno()).st_mode)
            return bounded(file, most)
    except OSError as error:
        raise UnreadableError(f"a readable file ({error.strerror or error})") from None
    except ValueError as error:  # a name with a NUL
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"a readable file ({visible(str(error))})") from None


def bounded(file: BinaryIO, most: int = MOST_BYTES) -> bytes:
    """The rest of an open file.

    Raises:
        UnreadableError: it is larger than `most` bytes.
    """
    content = file.read(most + 1)
    if len(content) > most:
        raise UnreadableError(f"a file of at most {most / _MILLION:g} MB")
    return content


def decoded(content: bytes) -> str:
    """Text from UTF-8, without the mark that some editors put first.

    Raises:
        UnreadableError: it is no UTF-8; says where.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = f"UTF-8 text (byte {error.start}: {error.reason})"
        raise UnreadableError(text) from None


def mark_of(path: Path) -> tuple[int, int, int] | None:
    """What differs after a change, also through a link as Kubernetes swaps them; None if gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
