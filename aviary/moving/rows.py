"""The table of an import: what became of each field, with file and line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from aviary.moving.source import Node, Place, RefusedError
from schemas.outside import TEXT_MOST, cut, hide_user, one_line

MOST_ROWS: Final = 100_000
"""Rows that are kept; others are counted."""


class Became(StrEnum):
    """What became of a field; a closed set."""

    SAME = "same"
    """It is in the catalog and means what it meant."""
    DIFFERS = "differs"
    """It is in the catalog and means something slightly different, as the row says."""
    NONE = "no counterpart"
    """Nothing stands for it; the row says what to do instead."""
    REFUSED = "refused"
    """It was not understood, or is wrong; the row quotes it, and nothing stands for it."""
    UNKNOWN = "unknown field"
    """The importer does not know it; the tool may, or drops it in silence."""


@dataclass(frozen=True)
class Row:
    """What became of one field."""

    became: Became
    service: str
    """Whose it is; empty where it is of no service."""
    place: Place
    text: str
    minor: bool = False
    """Whether the catalog needs no comment about it."""

    def __post_init__(self) -> None:
        """What people read is one line, bounded, and holds no password of an address."""
        object.__setattr__(self, "text", cut(one_line(hide_user(self.text)), TEXT_MOST))

    @property
    def where(self) -> str:
        """File, line and field."""
        line = "" if self.place.line is None else f":{self.place.line}"
        path = f": {self.place.path}" if self.place.path else ""
        return one_line(f"{self.place.file}{line}{path}")

    def to_json(self) -> dict[str, Any]:
        """As plain data for `--format json`."""
        return {
            "became": self.became.value,
            "service": self.service,
            "file": self.place.file,
            "line": self.place.line,
            "field": self.place.path,
            "text": self.text,
        }


@dataclass
class Report:
    """All rows, in the order of the manifests."""

    rows: list[Row] = field(default_factory=list)
    counts: Counter[Became] = field(default_factory=Counter)
    _known: set[Row] = field(default_factory=set)

    def add(
        self,
        became: Became,
        where: Node | Place,
        text: str,
        service: str = "",
        *,
        minor: bool = False,
    ) -> None:
        """Keep a row, once, or only count it where there are very many."""
        place = where if isinstance(where, Place) else where.place
        row = Row(became, service, place, text, minor or became is Became.SAME)
        if row in self._known:
            return
        self.counts[became] += 1
        if len(self.rows) < MOST_ROWS:
            self._known.add(row)
            self.rows.append(row)

    @property
    def more(self) -> int:
        """How many rows there are beside those that are kept."""
        return self.counts.total() - len(self.rows)

    def of(self, service: str) -> Rows:
        """What writes rows of one service."""
        return Rows(self, service)


@dataclass(frozen=True)
class Rows:
    """Writes rows of one service."""

    report: Report
    service: str

    def same(self, where: Node | Place, text: str) -> None:
        """It means here what it meant there."""
        self.report.add(Became.SAME, where, text, self.service)

    def differs(self, where: Node | Place, text: str) -> None:
        """It means something slightly different."""
        self.report.add(Became.DIFFERS, where, text, self.service)

    def none(self, where: Node | Place, text: str, *, minor: bool = False) -> None:
        """Nothing stands for it; the field is known, with all that is in it."""
        if isinstance(where, Node):
            where.take()
        self.report.add(Became.NONE, where, text, self.service, minor=minor)

    def tell(self, node: Node, known: Mapping[str, str]) -> None:
        """Name the fields of a node that are there and have no counterpart.

        Raises:
            RefusedError: it is no mapping.
        """
        for name, instead in known.items():
            one = node.get(name)
            if one is not None and one.data is not False:
                self.none(one, instead, minor=True)

    def refused(self, error: RefusedError) -> None:
        """It was not understood."""
        self.report.add(Became.REFUSED, error.place, error.text, self.service)

    def unknown(self, manifest: Node) -> None:
        """Name every field that nobody asked for."""
        for node in manifest.unread():
            text = "not known to the importer; what it does there, does not happen here"
            self.report.add(Became.UNKNOWN, node, text, self.service)
