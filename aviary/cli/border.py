"""The border of the command line: whatever it prints goes out here, as text and nothing else.

What comes from outside (names, reasons, alerts, errors) is never markup to rich, and no character
of it acts on the terminal. Whoever lays lines out gives them through `plain` first, so that widths
are right; what was forgotten is made visible on its way out all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from schemas.outside import in_json, one_line, visible

_WIDE: Final = 4000
"""Columns where there is no terminal: a line is never wrapped."""


class PlainConsole(Console):
    """A console that knows no markup, and lets no character of a text act on the terminal."""

    def __init__(self, *, no_color: bool = False, **more: Any) -> None:
        """Write on stdout; `more` as rich's own console takes it."""
        super().__init__(
            markup=False, emoji=False, highlight=False, no_color=no_color or None, **more
        )

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with whatever acts spelt out; only rich's own controls are left as they are."""
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or text == "\n":
                yield segment
            else:
                yield Segment(visible(text, lines=True), segment.style)


def plain(value: str | Text, style: str = "") -> Text:
    """A text from anybody in one line; what is a `Text` already was made here."""
    return value if isinstance(value, Text) else Text(one_line(value), style=style)


def new_console(*, no_color: bool = False) -> PlainConsole:
    """A console on stdout; without a terminal it never wraps a line."""
    console = PlainConsole(no_color=no_color)
    return console if console.is_terminal else PlainConsole(no_color=no_color, width=_WIDE)


def show(*views: RenderableType, no_color: bool = False) -> None:
    """Print on stdout; without a terminal, lines neither wrap nor end in blanks."""
    console = new_console(no_color=no_color)
    if console.is_terminal:
        console.print(*views, sep="\n")
        return
    with console.capture() as captured:
        console.print(*views, sep="\n")
    echo("\n".join(line.rstrip() for line in captured.get().split("\n")).rstrip("\n"))


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print lines on stdout, or on stderr."""
    typer.echo(visible(text, lines=True), err=err, nl=nl)


def say(text: str, *, err: bool = False) -> None:
    """Print one line, whatever is in the text."""
    echo(one_line(text), err=err)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print plain data as one JSON document; what acts on a terminal is escaped as JSON does."""
    typer.echo(as_json(value, indent=indent))


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Plain data as JSON in which no character acts on a terminal, and none is lost."""
    return in_json(json.dumps(value, indent=indent, ensure_ascii=False))
