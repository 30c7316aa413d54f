"""HTML in which every text is escaped unless it was made here. Pure.

Release ids, labels, reasons and alert texts are other people's words: `tag` escapes whatever is not
`Markup` already, so that forgetting to escape is not possible. Characters that act on how the text
around them is read, such as those that turn its direction, are spelt out.

No template engine, for safety: Jinja escapes what HTML takes for markup, but not those characters,
and only as long as no template says `safe`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any

from schemas.outside import in_json, visible

_VOID = {"br", "meta", "hr"}
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]
"""None is nothing; a list is its members."""


def tag(name: str, /, *children: Child, **attributes: str | bool | int | None) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: what is in it; text is escaped.
        attributes: `class_` for class, `data_x` for data-x; None and False leave one out.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        spelled = key.rstrip("_").replace("_", "-")
        parts.append(spelled if value is True else f'{spelled}="{_text(value)}"')
    begin = f"<{' '.join(parts)}>"
    return Markup(begin if name in _VOID else f"{begin}{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Children one after another."""
    return Markup("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str | int | float):
        return Markup(_text(child))
    return join(child)


def _text(value: str | float) -> str:
    return html.escape(visible(str(value), lines=True))


def raw_json(value: Any) -> Markup:
    """Plain data as JSON that can't end the script element it is in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(in_json(text).translate(_UNSAFE))


def table(
    caption: str, heads: Iterable[Child], rows: Iterable[Iterable[Child]], *, stacks: bool = False
) -> Markup:
    """A table whose first column names its rows; wide ones scroll on a screen.

    One that `stacks` has its cells below each other where the screen is narrow.
    """
    body = [
        tag("tr", (tag("td", cell) if i else tag("th", cell, scope="row") for i, cell in cells))
        for cells in (enumerate(row) for row in rows)
    ]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption),
            tag("thead", tag("tr", (tag("th", head, scope="col") for head in heads))),
            tag("tbody", body),
            class_="stacks" if stacks else None,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )
