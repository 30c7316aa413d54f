"""Reads a YAML document and remembers on which line everything stands.

Built on libyaml's events: four times as fast as PyYAML's own loader, which a catalog of 10,000
services makes felt. Beyond that loader, a key that is there twice is refused, and so is one that is
not text. Dates stay text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from schemas.catalog_check import Path

_TEXT = "tag:yaml.org,2002:str"
_DATE = "tag:yaml.org,2002:timestamp"
_PLAIN_TAGS = (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_MERGE = "<<"
_NO_KEY = object()


@dataclass(frozen=True)
class Complaint:
    """What is wrong with the document as YAML."""

    line: int | None
    path: Path
    value: Any
    expected: str


@dataclass
class Place:
    """The line of a value (from 1), and the places of what is in it."""

    line: int
    within: dict[str | int, Place] = field(default_factory=dict)


@dataclass
class Document:
    """Plain data, where each part of it stands, and what is wrong with it as YAML."""

    data: Any = None
    place: Place | None = None
    complaints: list[Complaint] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """The line of what is at `path`, or of the nearest thing around it that is there."""
        place = self.place
        for part in path:
            if place is None or part not in place.within:
                break
            place = place.within[part]
        return place.line if place else None


def read_yaml(text: str) -> Document:
    """Read one document. Faults are in `complaints`; after one of syntax there is no data."""
    reader = _Reader()
    try:
        for event in _events(text):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        return Document(complaints=[_syntax(error, text)])
    except yaml.YAMLError as error:
        expected = f"readable YAML ({' '.join(str(error).split())})"
        return Document(complaints=[Complaint(None, (), None, expected)])
    return reader.document


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
        return Complaint(None, (), None, f"readable YAML ({error.problem})")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if (
        "\t" in line[: len(line) - len(line.lstrip())]
        or line[mark.column : mark.column + 1] == "\t"
    ):
        return Complaint(mark.line + 1, (), "\t", "spaces, YAML takes no tab for indentation")
    context = f" {error.context}" if error.context else ""
    return Complaint(mark.line + 1, (), None, f"readable YAML ({error.problem}{context})")


@dataclass
class _Frame:
    """A collection that is being filled."""

    data: Any
    place: Place
    path: Path
    anchor: str | None
    key: Any = _NO_KEY
    merged: list[Any] = field(default_factory=list)


class _Reader:
    """Builds data and places from events, without recursion."""

    def __init__(self) -> None:
        self.document = Document()
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Any] = {}
        self._scalars: dict[str, Any] = {}
        self._documents = 0
        self._resolver: Any = yaml.resolver.Resolver()
        self._constructor: Any = yaml.constructor.SafeConstructor()

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
            self._keep(event.anchor, value)
            self._put(value, event, Place(_line(event)))
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _fault(f"unknown or recursive alias {event.anchor!r}", event)
            self._put(self._anchors[event.anchor], event, Place(_line(event)))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _fault("a second document", event)

    def _open(self, event: Any) -> None:
        if event.tag not in _PLAIN_TAGS:
            raise _fault(f"unknown tag {event.tag}", event)
        top = self._frames[-1] if self._frames else None
        path: Path = ()
        if top is not None:
            part = len(top.data) if isinstance(top.data, list) else top.key
            if part is _NO_KEY:
                raise _fault("a key that is not text", event)
            path = (*top.path, part)
        data: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._frames.append(_Frame(data, Place(_line(event)), path, event.anchor))

    def _close(self, event: Any) -> None:
        frame = self._frames.pop()
        for merged in frame.merged:
            for source in merged if isinstance(merged, list) else [merged]:
                if not isinstance(source, dict):
                    raise _fault("expected a mapping to merge after <<", event)
                for key, value in source.items():
                    frame.data.setdefault(key, value)
        self._keep(frame.anchor, frame.data)
        self._put(frame.data, event, frame.place)

    def _keep(self, anchor: str | None, value: Any) -> None:
        if anchor is not None:
            self._anchors[anchor] = value

    def _put(self, value: Any, event: Any, place: Place) -> None:
        """Add a finished value to the collection around it."""
        if not self._frames:
            self.document.data, self.document.place = value, place
            return
        frame = self._frames[-1]
        if isinstance(frame.data, list):
            frame.place.within[len(frame.data)] = place
            frame.data.append(value)
        elif frame.key is _NO_KEY:
            self._set_key(frame, value, event)
        else:
            key, frame.key = frame.key, _NO_KEY
            if key == _MERGE:
                frame.merged.append(value)
            elif key not in frame.data:
                frame.data[key] = value
                # The key's line is where a reader looks, also for a block that begins below it.
                frame.place.within[key].within = place.within

    def _set_key(self, frame: _Frame, key: Any, event: Any) -> None:
        line = _line(event)
        if not isinstance(key, str):
            written = getattr(event, "value", str(key))
            expected = f"text: YAML reads {written} as {yaml_word(key)}, put it in quotes"
            self.document.complaints.append(Complaint(line, frame.path, key, expected))
            key = written
        if key in frame.data:
            first = frame.place.within[key].line
            expected = f"each key once, this one is on line {first} already"
            self.document.complaints.append(Complaint(line, (*frame.path, key), key, expected))
        elif key != _MERGE:
            frame.place.within[key] = Place(line)
        frame.key = key

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is None and not event.implicit[0]:
            return text
        if event.tag is None and text in self._scalars:
            return self._scalars[text]
        tag = event.tag or self._resolver.resolve(yaml.ScalarNode, text, event.implicit)
        value = self._construct(tag, text, event)
        if event.tag is None:
            self._scalars[text] = value
        return value

    def _construct(self, tag: str, text: str, event: Any) -> Any:
        if tag in (_TEXT, _DATE, "!") or text == _MERGE:
            return text
        node = yaml.ScalarNode(tag, text, event.start_mark, event.end_mark)
        try:
            return self._constructor.construct_object(node)
        except ValueError as error:
            problem = f"{text!r} is not of type {tag}: {error}"
            raise _fault(problem, event) from error


def _line(event: Any) -> int:
    """An event's line, from 1. The reader of a document always marks its events."""
    line: int = event.start_mark.line
    return line + 1


def _fault(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, problem, event.start_mark)


def yaml_word(value: Any) -> str:
    """What YAML took a plain scalar for: `the number 1.1`, `false`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    return "something else than text"
