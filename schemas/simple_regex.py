"""Regular expressions that every router reads alike, and that none takes long to match.

A subset of RE2's: literals, `.`, classes, groups, alternatives and repeats. What is left out is
what engines differ in, or what makes those that try again take for ever: look-around,
back-references, lazy and possessive repeats, a repeat of a group.
"""

from __future__ import annotations

import re
from typing import Final

MOST_CHARACTERS: Final = 200
MOST_REPEATS: Final = 3
"""Without an end: those that try again take the length of the value to this power at worst."""
MOST_TIMES: Final = 100
_DEPTH: Final = 5

_CLASS = re.compile(r"\[\^?((?:[A-Za-z0-9 _.,:;/@%+=!~#&'\"<>*?(){}|$-]|\\[][\\^.dws-])+)\]")
_ATOM = re.compile(r"\\[dws]|\\[][\\^$.|?*+(){}/-]|[A-Za-z0-9 _,:;/@%=!~#&'\"<>-]|\.")
_REPEAT = re.compile(r"[*+?]|\{(\d{1,3})(,(\d{1,3})?)?\}")
_GROUP = re.compile(r"\((\?:|(?!\?))")


def check_regex(text: str) -> None:
    """Refuse what is no regular expression of the subset.

    Raises:
        ValueError: what was expected, and from which character on it is something else.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"expected a regular expression of at most {MOST_CHARACTERS} characters")
    unbounded = _read(text)
    if unbounded > MOST_REPEATS:
        raise ValueError(f"expected at most {MOST_REPEATS} of *, + and {{n,}}, got {unbounded}")
    try:
        re.compile(text)
    except (re.error, OverflowError) as error:
        raise ValueError(f"expected a regular expression: {error}") from None


def _read(text: str) -> int:
    """Read to the end; how many repeats have none."""
    at = depth = unbounded = 0
    repeatable: str | None = None
    while at < len(text):
        sign = text[at]
        if repeat := _REPEAT.match(text, at):
            unbounded += _take_repeat(repeat, repeatable, at)
            repeatable, at = None, repeat.end()
        elif found := _CLASS.match(text, at) or _ATOM.match(text, at):
            repeatable, at = "one", found.end()
        elif group := _GROUP.match(text, at):
            depth, repeatable, at = depth + 1, None, group.end()
        elif sign == ")" and depth:
            depth, repeatable, at = depth - 1, "group", at + 1
        elif sign == "|":
            repeatable, at = None, at + 1
        else:
            raise _unexpected(text, at)
        if depth > _DEPTH:
            raise ValueError(f"expected at most {_DEPTH} groups in each other")
    if depth:
        raise ValueError("expected ) after each (")
    return unbounded


def _take_repeat(repeat: re.Match[str], repeatable: str | None, at: int) -> int:
    """1 for a repeat without an end, else 0."""
    text, (least, comma, most) = repeat.group(), repeat.groups()
    if repeatable is None or (repeatable == "group" and text != "?"):
        what = "a repeat of one character or class (of a group only ?)"
        raise ValueError(f"expected {what}, got {text} at character {at + 1}")
    if max(int(least or 0), int(most or 0)) > MOST_TIMES:
        raise ValueError(f"expected at most {MOST_TIMES} times, got {text}")
    return int(text in {"*", "+"} or (comma is not None and most is None))


def _unexpected(text: str, at: int) -> ValueError:
    return ValueError(
        "expected literals, ., classes, groups, | and repeats (the subset of RE2 that all routers "
        f"read alike), got {text[at : at + 10]!r} at character {at + 1}"
    )


def without(text: str, sign: str) -> str:
    """The same expression, of which no part but a literal fits a sign: for a value that ends there.

    Args:
        text: of the subset.
        sign: one character that may stand in a class.
    """
    parts, at = [], 0
    while at < len(text):
        found = _CLASS.match(text, at)
        part = found.group() if found else (_ATOM.match(text, at) or _GROUP.match(text, at))
        piece = part if isinstance(part, str) else part.group() if part else text[at]
        at += len(piece)
        if piece == ".":
            piece = f"[^{sign}]"
        elif found and piece.startswith("[^"):
            piece = f"[^{sign}{piece[2:]}"
        parts.append(piece)
    return "".join(parts)
