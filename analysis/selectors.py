"""PromQL as far as one program's own series answer it: a selector of equal labels. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import promql_parser

from schemas.reading import Series

_NAME = "__name__"


class Selector(NamedTuple):
    """A name, and the labels that a series must have, or must not."""

    name: str
    equal: tuple[tuple[str, str], ...]
    unequal: tuple[tuple[str, str], ...]

    def pick(self, series: Iterable[Series]) -> tuple[Series, ...]:
        """Those that it selects; a label that is absent is empty, as in PromQL."""
        return tuple(
            one
            for one in series
            if one.labels.get(_NAME) == self.name
            and all(one.labels.get(label, "") == value for label, value in self.equal)
            and all(one.labels.get(label, "") != value for label, value in self.unequal)
        )


def selector_of(promql: str) -> Selector | None:
    """The selector that a query is; None: it is something else, and only PromQL answers it."""
    try:
        found: Any = promql_parser.parse(promql)
    except ValueError:
        return None
    while isinstance(found, promql_parser.ParenExpr):
        found = found.expr
    if not isinstance(found, promql_parser.VectorSelector) or not found.name:
        return None
    if found.offset is not None or found.at is not None or found.matchers.or_matchers:
        return None
    by: dict[str, list[tuple[str, str]]] = {"MatchOp.Equal": [], "MatchOp.NotEqual": []}
    for one in found.matchers.matchers:
        if str(one.op) not in by or one.name == _NAME:
            return None
        by[str(one.op)].append((one.name, one.value))
    return Selector(found.name, tuple(by["MatchOp.Equal"]), tuple(by["MatchOp.NotEqual"]))
