"""A page as a reader's program sees it."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "br", "hr"}


class Page(HTMLParser):
    """Elements, texts and scripts of a page, which must be well formed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("id"), ""))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            name, text = self.scripts[-1]
            self.scripts[-1] = (name, text + data)
        elif not self._open or self._open[-1] != "style":
            self.text += data

    @property
    def figures(self) -> dict[str, Any]:
        """The charts' data."""
        found: dict[str, Any] = json.loads(dict(self.scripts)["figures"])
        return found
