"""Reads a YAML document and remembers on which line everything stands.

Built on libyaml's events: four times as fast as PyYAML's own loader, which a catalog of 10,000
services makes felt. Beyond that loader, a key that is there twice is refused, and so is one that is
not text. Dates stay text, and so do times such as 1:30, which YAML 1.1 takes for numbers to the
base of 60.

What is read is bounded while it is read: depth, the width of a mapping, and all values together,
each alias counted as often as it is used. A document of a megabyte takes seconds and megabytes,
whatever is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from schemas.catalog_check import UNREAD, Path

_TEXT = "tag:yaml.org,2002:str"
_DATE = "tag:yaml.org,2002:timestamp"
_PLAIN_TAGS = (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_MERGE = "<<"
_NO_KEY = object()
_SCALAR_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float")
)

MOST_DEEP: Final = 1000
"""Collections within each other, those of aliases included."""
MOST_WIDE: Final = 1000
"""Keys of a mapping, but for one that is a section of the document (`services`)."""
MOST_LONG: Final = 20_000
"""Keys of a section, and items of a list."""
MOST_VALUES: Final = 1_000_000
"""Values of a document, those that aliases and `<<` repeat included."""
MOST_COMPLAINTS: Final = 200
"""Complaints that are kept; others are counted."""
_LONGEST_NUMBER: Final = 100
"""In characters; whatever is longer is text to nobody and a number to nobody."""
_REMEMBERED: Final = 10_000
"""Scalars whose meaning is looked up once."""


@dataclass(frozen=True)
class Complaint:
    """What is wrong with the document as YAML."""

    line: int | None
    path: Path
    value: Any
    expected: str
    quotes: bool = True
    """Whether `expected` may hold words of the document, which may be a secret."""


@dataclass(slots=True)
class Place:
    """The line of a collection (from 1), and the places of what is in it: of a scalar, its line."""

    line: int
    within: dict[str, Place | int] | list[Place | int]

    def of(self, part: str | int) -> Place | int | None:
        """Where a part of it is; None if it has no such part."""
        if isinstance(self.within, list):
            inside = isinstance(part, int) and 0 <= part < len(self.within)
            return self.within[part] if inside and isinstance(part, int) else None
        return self.within.get(part) if isinstance(part, str) else None


@dataclass
class Document:
    """Plain data, where each part of it stands, and what is wrong with it as YAML."""

    data: Any = None
    place: Place | int | None = None
    complaints: list[Complaint] = field(default_factory=list)
    more: int = 0
    """Complaints beyond those that are kept."""

    def line(self, path: Path) -> int | None:
        """The line of what is at `path`, or of the nearest thing around it that is there."""
        place = self.place
        for part in path:
            inner = place.of(part) if isinstance(place, Place) else None
            if inner is None:
                break
            place = inner
        return place.line if isinstance(place, Place) else place

    def complain(self, make: Callable[[], Complaint]) -> None:
        """Keep a complaint, or count it, without making it, where there are many already.

        To make one costs as much as its place is deep.
        """
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(make())
        else:
            self.more += 1


def read_yaml(text: str) -> Document:
    """Read one document. Faults are in `complaints`; after one of syntax there is no data."""
    reader = _Reader()
    try:
        for event in _events(text):
            reader.take(event)
    except yaml.YAMLError as error:
        return Document(complaints=[_complaint(error, text)])
    return reader.document


def read_all_yaml(text: str) -> list[Document]:
    """Read every document of a stream, without those that are empty.

    Bounds are those of one document, over all of them. A fault of syntax ends the reading: the
    last document has it then, and no data.
    """
    reader, found = _Reader(), list[Document]()
    try:
        for event in _events(text):
            if isinstance(event, yaml.DocumentEndEvent):
                found.append(reader.document)
                reader = reader.next()
                if len(found) > MOST_LONG:
                    complaint = Complaint(
                        _line(event), (), UNREAD, f"at most {MOST_LONG:,} documents"
                    )
                    return [Document(complaints=[complaint])]
            else:
                reader.take(event)
    except yaml.YAMLError as error:
        found.append(Document(complaints=[_complaint(error, text)]))
    return [one for one in found if one.complaints or one.data is not None]


def _complaint(error: yaml.YAMLError, text: str) -> Complaint:
    if isinstance(error, _Fault):
        expected = f"readable YAML ({error.problem})"
        return Complaint(error.line, error.path, error.value, expected, quotes=error.quotes)
    if isinstance(error, yaml.MarkedYAMLError):
        return _syntax(error, text)
    return Complaint(None, (), UNREAD, f"readable YAML ({' '.join(str(error).split())})")


def _events(text: str) -> Iterator[Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Complaint:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Complaint(None, (), UNREAD, f"readable YAML ({error.problem})")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if (
        "\t" in line[: len(line) - len(line.lstrip())]
        or line[mark.column : mark.column + 1] == "\t"
    ):
        return Complaint(mark.line + 1, (), "\t", "spaces, YAML takes no tab for indentation")
    context = f" {error.context}" if error.context else ""
    return Complaint(mark.line + 1, (), UNREAD, f"readable YAML ({error.problem}{context})")


class _Fault(yaml.MarkedYAMLError):
    """What this reader refuses, beyond what libyaml does."""

    def __init__(self, problem: str, mark: Any, path: Path, value: Any, *, quotes: bool) -> None:
        super().__init__(None, None, problem, mark)
        self.quotes = quotes
        self.line: int = mark.line + 1
        self.path = path
        self.value = value


@dataclass(slots=True)
class _Value:
    """A finished value, and what it weighs wherever it is repeated."""

    data: Any
    place: Place | int
    size: int = 1
    deep: int = 0


@dataclass(slots=True)
class _Frame:
    """A collection that is being filled."""

    data: Any
    place: Place
    outer: _Frame | None
    anchor: str | None
    key: Any = _NO_KEY
    merged: list[_Value] = field(default_factory=list)
    size: int = 1
    deep: int = 1

    @property
    def part(self) -> str | int:
        """Where the next value goes: its key, or its index."""
        part: str | int = len(self.data) if isinstance(self.data, list) else self.key
        return part

    @property
    def path(self) -> Path:
        """From the top of the document."""
        parts: list[str | int] = []
        frame = self.outer
        while frame is not None:
            parts.append(frame.part)
            frame = frame.outer
        return tuple(reversed(parts))


class _Reader:
    """Builds data and places from events, without recursion."""

    def __init__(self) -> None:
        self.document = Document()
        self._frames: list[_Frame] = []
        self._anchors: dict[str, _Value] = {}
        self._scalars: dict[str, Any] = {}
        self._documents = 0
        self._values = 0
        self._resolver: Any = yaml.resolver.Resolver()
        self._constructor: Any = yaml.constructor.SafeConstructor()

    def next(self) -> _Reader:
        """One for the next document of the stream, with what is left of the bound on values."""
        other = _Reader()
        other._values = self._values
        return other

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            value = _Value(self._scalar(event), _line(event))
            self._keep(event.anchor, value)
            self._put(value, event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                problem = f"unknown or recursive alias {event.anchor!r}"
                raise self._fault(problem, event, quotes=True)
            known = self._anchors[event.anchor]
            self._put(_Value(known.data, _line(event), known.size, known.deep), event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._fault("a second document", event)

    def _open(self, event: Any) -> None:
        if event.tag not in _PLAIN_TAGS:
            raise self._fault(f"unknown tag {event.tag}", event, quotes=True)
        outer = self._frames[-1] if self._frames else None
        if outer is not None and outer.part is _NO_KEY:
            raise self._fault("a key that is not text", event)
        self._not_too_deep(1, event)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._values += 1
        data: Any = {} if is_mapping else []
        place = Place(_line(event), {} if is_mapping else [])
        self._frames.append(_Frame(data, place, outer, event.anchor))

    def _close(self, event: Any) -> None:
        frame = self._frames.pop()
        for merged in frame.merged:
            for source in merged.data if isinstance(merged.data, list) else [merged.data]:
                if not isinstance(source, dict):
                    raise self._fault("expected a mapping to merge after <<", event)
                for key, value in source.items():
                    frame.data.setdefault(key, value)
        self._not_too_wide(frame, 0, event)
        value = _Value(frame.data, frame.place, frame.size, frame.deep)
        self._keep(frame.anchor, value)
        self._put(value, event)

    def _keep(self, anchor: str | None, value: _Value) -> None:
        if anchor is not None:
            self._anchors[anchor] = value

    def _put(self, value: _Value, event: Any) -> None:
        """Add a finished value to the collection around it."""
        if not self._frames:
            self.document.data, self.document.place = value.data, value.place
            return
        frame = self._frames[-1]
        within = frame.place.within
        if isinstance(within, list):
            self._count(frame, value, event)
            self._not_too_wide(frame, 1, event)
            within.append(value.place)
            frame.data.append(value.data)
        elif frame.key is _NO_KEY:
            self._set_key(frame, value.data, event)
        else:
            key, frame.key = frame.key, _NO_KEY
            self._count(frame, value, event)
            if key == _MERGE:
                frame.merged.append(value)
            elif key not in frame.data:
                frame.data[key] = value.data
                # The key's line is where a reader looks, also for a block that begins below it.
                line = within[key]
                if isinstance(value.place, Place) and isinstance(line, int):
                    value.place.line, within[key] = line, value.place

    def _count(self, frame: _Frame, value: _Value, event: Any) -> None:
        """What a value adds to the collection around it, and to the document where it is new."""
        frame.size += value.size
        frame.deep = max(frame.deep, value.deep + 1)
        if isinstance(event, yaml.CollectionEndEvent):
            return  # counted as it was filled
        self._values += value.size
        if self._values > MOST_VALUES:
            raise self._fault(f"more than {MOST_VALUES:,} values, those of aliases included", event)
        if value.deep:
            self._not_too_deep(value.deep, event)

    def _not_too_deep(self, more: int, event: Any) -> None:
        if len(self._frames) + more > MOST_DEEP:
            raise self._fault(
                f"more than {MOST_DEEP} levels of nesting, those of aliases included", event
            )

    def _not_too_wide(self, frame: _Frame, more: int, event: Any) -> None:
        is_section = frame.outer is not None and frame.outer.outer is None
        is_narrow = isinstance(frame.data, dict) and not is_section
        if len(frame.data) + more > (MOST_WIDE if is_narrow else MOST_LONG):
            what = f"{MOST_WIDE:,} keys" if is_narrow else f"{MOST_LONG:,} keys or items"
            raise self._fault(f"more than {what} in one place", event)

    def _set_key(self, frame: _Frame, key: Any, event: Any) -> None:
        line = _line(event)
        if isinstance(key, list | dict):
            raise self._fault("a key that is not text", event)
        self._not_too_wide(frame, 1, event)
        if not isinstance(key, str):
            read, written = key, getattr(event, "value", str(key))
            expected = f"text: YAML reads {written} as {yaml_word(read)}, put it in quotes"
            self.document.complain(lambda: Complaint(line, frame.path, read, expected))
            key = written
        if key in frame.data:
            first = frame.place.of(key)
            at = first.line if isinstance(first, Place) else first
            expected = f"each key once, this one is on line {at} already"
            self.document.complain(
                lambda: Complaint(line, (*frame.path, key), key, expected, quotes=False)
            )
        elif key != _MERGE:
            frame.place.within[key] = line
        frame.key = key

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is None and not event.implicit[0]:
            return text
        if event.tag is None and text in self._scalars:
            return self._scalars[text]
        tag = event.tag or self._resolver.resolve(yaml.ScalarNode, text, event.implicit)
        value = self._construct(tag, text, event)
        if event.tag is None and len(self._scalars) < _REMEMBERED:
            self._scalars[text] = value
        return value

    def _construct(self, tag: str, text: str, event: Any) -> Any:
        if tag in (_TEXT, _DATE, "!") or text == _MERGE:
            return text
        if tag not in _SCALAR_TAGS:
            raise self._fault(f"unknown tag {tag}", event, quotes=True)
        if event.tag is None and ":" in text:
            return text
        if len(text) > _LONGEST_NUMBER:
            problem = f"a value of type {tag} has at most {_LONGEST_NUMBER} characters"
            raise self._fault(problem, event, text, quotes=True)
        node = yaml.ScalarNode(tag, text, event.start_mark, event.end_mark)
        try:
            return self._constructor.construct_object(node)
        # What PyYAML lets out for `!!bool zz` and `!!int ""`, beside what it means to.
        except (ValueError, KeyError, IndexError, OverflowError) as error:
            problem = f"{text!r} is not of type {tag}: {error}"
            raise self._fault(problem, event, text, quotes=True) from error

    def _fault(
        self, problem: str, event: Any, value: Any = UNREAD, *, quotes: bool = False
    ) -> _Fault:
        """Ends the reading; names the field that was being read."""
        path: Path = ()
        if self._frames:
            frame = self._frames[-1]
            path = (*frame.path, *(() if frame.part is _NO_KEY else (frame.part,)))
        return _Fault(problem, event.start_mark, path, value, quotes=quotes)


def _line(event: Any) -> int:
    """An event's line, from 1. The reader of a document always marks its events."""
    line: int = event.start_mark.line
    return line + 1


def yaml_word(value: Any) -> str:
    """What YAML took a plain scalar for: `the number 1.1`, `false`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    return "something else than text"
