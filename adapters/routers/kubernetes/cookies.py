"""Cookies, where a platform knows only headers: as an expression over the header `cookie`."""

from __future__ import annotations

import re


def pattern(name: str, value: str) -> str:
    """An expression (RE2) that takes the whole header with this cookie in it, and no other."""
    return f"^(?:.*;[ \t]*)?{_quoted(name)}={_quoted(value)}[ \t]*(?:;.*)?$"


def _quoted(text: str) -> str:
    """The text for RE2, which knows fewer escapes than Python does."""
    return re.sub(r"([^0-9A-Za-z_ -])", r"\\\1", text)
