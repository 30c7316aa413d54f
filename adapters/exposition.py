"""Prometheus' text format, as programs expose their metrics in it.

What a program says is not trusted: a line that is not of the format is an error, and not left out,
since a counter that is missed is one that seems not to grow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from schemas.outside import cut
from schemas.reading import Series

_LINE: Final = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]{0,255})(?:\{(.*)\})?"
    r"[ \t]+([^\s_]{1,40})(?:[ \t]+-?[0-9]{1,20})?"
)
_LABEL: Final = re.compile(
    r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]{0,127})="((?:[^"\\\n]|\\.)*)"[ \t]*(?:,|$)'
)
_ESCAPED: Final = re.compile(r"\\(.)")
_SIGNS: Final = {"n": "\n"}
_LONGEST: Final = 20_000
_SHOWN: Final = 120


def read_exposition(content: bytes, labels: Mapping[str, str]) -> list[Series]:
    """Every series of a text in Prometheus' format.

    Args:
        content: UTF-8, of a length that is bounded by who read it.
        labels: what each series is given besides, as a scrape does; they win.

    Raises:
        ValueError: a line is not of the format.
    """
    found = []
    # Not splitlines(): a label may hold other signs that it takes for ends of lines.
    for line in content.decode(errors="replace").split("\n"):
        text = line.strip("\r \t")
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text) if len(text) <= _LONGEST else None
        if match is None:
            raise ValueError(f"expected a series and its value, got {cut(repr(text), _SHOWN)}")
        name, inside, value = match.groups()
        own = _labels((inside or "").strip(" \t"), text)
        found.append(Series(labels={"__name__": name, **own, **labels}, value=_number(value, text)))
    return found


def _labels(inside: str, line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(inside):
        match = _LABEL.match(inside, at)
        if match is None:
            raise ValueError(f"expected labels, got {cut(repr(line), _SHOWN)}")
        found[match[1]] = _ESCAPED.sub(lambda sign: _SIGNS.get(sign[1], sign[1]), match[2])
        at = match.end()
    return found


def _number(text: str, line: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number as value, got {cut(repr(line), _SHOWN)}") from None
