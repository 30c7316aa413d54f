"""Queries of other tools: their variables filled in, then held against PromQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from aviary.moving.source import Node, RefusedError, quoted
from schemas.promql import fault, is_scalar

_VARIABLE: Final = re.compile(r"(?<!\{)\{\{([^{}]*+)\}\}")
_MOST: Final = 10_000
"""Characters of a query in a catalog."""

Value = str | RefusedError
"""What a variable stands for, or why nothing does; told only where it is used."""


def fill(node: Node, variables: Mapping[str, Value], prefix: str = "") -> str:
    """A text with its `{{ variables }}` filled in, once: what they stand for has none itself.

    Args:
        node: where the text stands.
        variables: by name.
        prefix: what stands before each name (`args.`).

    Raises:
        RefusedError: one is not known, or more than a plain variable stands in braces.
    """
    text = node.text()

    def value(match: re.Match[str]) -> str:
        written = match[1].strip()
        known = variables.get(written.removeprefix(prefix))
        if known is None or not written.startswith(prefix):
            names = ", ".join(sorted(variables)) or "there is none"
            raise RefusedError(
                node.place,
                f"{quoted(match[0])} is no plain variable that is known here ({names}), "
                f"in {quoted(text)}",
            )
        if isinstance(known, RefusedError):
            raise RefusedError(node.place, f"{quoted(match[0])}: {known.text}, in {quoted(text)}")
        return known

    if len(text) > _MOST:
        raise RefusedError(node.place, f"longer than {_MOST:,} characters: {quoted(text)}")
    filled = _VARIABLE.sub(value, text)
    if len(filled) > _MOST:
        raise RefusedError(node.place, f"longer than {_MOST:,} characters, filled in")
    if "{{" in filled or "}}" in _VARIABLE.sub("", text):
        raise RefusedError(node.place, f"braces that are no plain variable, in {quoted(text)}")
    return filled


def promql(node: Node, query: str) -> str:
    """A query as a threshold metric takes it: for series, so that a number is made one.

    Raises:
        RefusedError: it is not PromQL.
    """
    query = query.strip()
    if query and is_scalar(query):
        query = f"vector({query})"
    expected = fault(query, raw=False) if query else "a query"
    if expected:
        raise RefusedError(node.place, f"{quoted(query)}: expected {expected}")
    return query
