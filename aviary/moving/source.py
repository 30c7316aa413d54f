"""Manifests as they are read: plain data of which each part knows its line, and who asked for it.

A field that nobody asked for is one that the importer does not know; `unread` names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.catalog_check import Path
from schemas.document import Document
from schemas.problems import show_path, show_value

_MOST_QUOTED: Final = 500


@dataclass(frozen=True)
class Place:
    """Where something stands: a file, a line from 1, and the path of a field."""

    file: str
    line: int | None
    path: str = ""


class RefusedError(ValueError):
    """Something is not understood, or can't be carried over; `place` says where it stands."""

    def __init__(self, place: Place, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.place = place
        self.text = text


@dataclass(eq=False)
class Source:
    """One document of a file, and which of its fields were asked for."""

    file: str
    document: Document
    asked: set[Path] = field(default_factory=set)
    known: set[Path] = field(default_factory=set)
    """Fields that are known as a whole, with all that is in them."""


@dataclass(frozen=True, eq=False)
class Node:
    """A part of a document."""

    source: Source
    path: Path
    data: Any
    base: Path = ()
    """Where the manifest begins, in a document that is a list of them."""

    @property
    def place(self) -> Place:
        """Where it stands; the path is that within its manifest."""
        line = self.source.document.line(self.path)
        return Place(self.source.file, line, show_path(self.path[len(self.base) :]))

    @property
    def key(self) -> tuple[int, Path]:
        """Which manifest it is of."""
        return id(self.source), self.base

    def get(self, name: str) -> Node | None:
        """A field; None where it is missing or null.

        Raises:
            RefusedError: this is no mapping.
        """
        fields = self.fields()
        path = (*self.path, name)
        if name in fields:
            self.source.asked.add(path)
        value = fields.get(name)
        return None if value is None else Node(self.source, path, value, self.base)

    def find(self, *names: str) -> Node | None:
        """What stands at the end of a path of fields; None where one is missing."""
        found: Node | None = self
        for name in names:
            if found is None:
                return None
            found = found.get(name)
        return found

    def need(self, name: str) -> Node:
        """A field that must be there.

        Raises:
            RefusedError: it is not.
        """
        found = self.get(name)
        if found is None:
            raise RefusedError(self.place, f"missing, expected the field {name}")
        return found

    def fields(self) -> dict[str, Any]:
        """The mapping that it is.

        Raises:
            RefusedError: it is none.
        """
        if not isinstance(self.data, dict):
            raise self.refuse("a mapping of fields")
        return self.data

    def each(self) -> list[Node]:
        """The mapping's fields, or the list's items, that are not null.

        Raises:
            RefusedError: it is neither.
        """
        if isinstance(self.data, dict):
            found = [self.get(name) for name in self.data]
            return [one for one in found if one is not None]
        if not isinstance(self.data, list):
            raise self.refuse("a list")
        return [
            Node(self.source, (*self.path, at), value, self.base)
            for at, value in enumerate(self.data)
            if value is not None
        ]

    def items(self) -> list[Node]:
        """The items of a list.

        Raises:
            RefusedError: it is none.
        """
        if not isinstance(self.data, list):
            raise self.refuse("a list")
        return self.each()

    @property
    def name(self) -> str:
        """The last part of its path."""
        return str(self.path[-1]) if self.path else ""

    def text(self) -> str:
        """The text that it is; a number is the text that was written, as near as YAML kept it.

        Raises:
            RefusedError: it is neither.
        """
        if isinstance(self.data, bool) or not isinstance(self.data, str | int | float):
            raise self.refuse("text")
        return str(self.data)

    def number(self) -> float:
        """A finite number.

        Raises:
            RefusedError: it is none.
        """
        if isinstance(self.data, bool) or not isinstance(self.data, int | float):
            raise self.refuse("a number")
        try:
            found = float(self.data)
        except OverflowError:
            raise self.refuse("a number that is not so large") from None
        if found - found != 0:
            raise self.refuse("a number that is finite")
        return found

    def flag(self) -> bool:
        """True or false.

        Raises:
            RefusedError: it is neither.
        """
        if not isinstance(self.data, bool):
            raise self.refuse("true or false")
        return self.data

    def take(self) -> Node:
        """It is known as a whole: nothing in it is told as unknown."""
        self.source.known.add(self.path)
        return self

    def know(self, names: Iterable[str]) -> None:
        """Those of its fields are known, each with all that is in it."""
        self.source.known.update((*self.path, name) for name in names)

    def is_asked(self, name: str) -> bool:
        """Whether somebody asked for a field, so that what is in it is known by itself."""
        return (*self.path, name) in self.source.asked

    def refuse(self, expected: str) -> RefusedError:
        """That something else was expected here."""
        return RefusedError(self.place, f"got {show_value(self.data)}, expected {expected}")

    def unread(self) -> Iterator[Node]:
        """The fields that nobody asked for, without those within them."""
        stack = [self]
        while stack:
            node = stack.pop()
            if node.path in self.source.known:
                continue
            inner: Any = ()
            if isinstance(node.data, dict):
                inner = node.data.items()
            elif isinstance(node.data, list):
                inner = enumerate(node.data)
            below = []
            for part, value in inner:
                one = Node(self.source, (*node.path, part), value, self.base)
                if isinstance(node.data, list) or one.path in self.source.asked:
                    below.append(one)
                elif one.path not in self.source.known:
                    yield one
            stack.extend(reversed(below))


def quoted(text: str) -> str:
    """Words of a manifest, in one line and not too many, for a sentence."""
    line = " ".join(text.split())
    return f"`{line if len(line) <= _MOST_QUOTED else line[:_MOST_QUOTED] + '…'}`"
