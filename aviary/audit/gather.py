"""Collects links from wherever records come, no more than is sensible."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from aviary.audit.links import Flaw, Link, read_record
from schemas.outside import cut

LINKS_MOST: Final = 2_000_000
"""Of all releases together: about 1 GB of memory."""
FLAWS_MOST: Final = 10_000
LINE_BYTES: Final = 4_000_000
"""Of one event: Kafka's own default takes a quarter."""
SUFFIX: Final = ".audit.jsonl"
"""Ends the names of the files beside reports."""
_LONGEST_NAME: Final = 120


class TooMuchError(ValueError):
    """There is more than is looked at; says what was expected."""


class Gathered:
    """Links by release, and what should be one.

    Args:
        release: the only one that is wanted; None: all.
    """

    def __init__(self, release: str | None = None) -> None:
        self._wanted = release
        self.links: dict[str, list[Link]] = defaultdict(list)
        self.flaws: list[Flaw] = []
        self.records = 0

    def take(self, value: bytes | None, where: str) -> None:
        """Take a record.

        Raises:
            TooMuchError: there are more links, or flaws, than are looked at.
        """
        self.records += 1
        found = read_record(value, where)
        if found is None or (self._wanted and found.release not in {None, self._wanted}):
            return
        if isinstance(found, Link):
            self.links[found.release].append(found)
        else:
            self.flaws.append(found)
        if len(self.flaws) > FLAWS_MOST:
            raise TooMuchError(f"at most {FLAWS_MOST:,} records that can't be read")
        if self.records > LINKS_MOST:
            raise TooMuchError(f"at most {LINKS_MOST:,} records; --release takes those of one")


def files_in(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that are named, and those beside reports in folders that are."""
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob(f"*{SUFFIX}"))
        else:
            yield path


def lines_of(path: Path) -> Iterator[tuple[bytes, str]]:
    """The lines of a file, and where each is; empty ones are left out.

    Raises:
        OSError: it can't be read.
        TooMuchError: a line is longer than an event.
    """
    name, number = cut(path.name, _LONGEST_NAME), 0
    with path.open("rb") as file:
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if len(line) > LINE_BYTES:
                raise TooMuchError(f"one event in at most {LINE_BYTES:,} bytes, line {number}")
            if line.strip():
                yield line, f"{name}:{number}"
