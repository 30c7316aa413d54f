"""Where a series of bad requests is absent: is it 0, or not known?

An error series is often born with the first error, so its absence may mean that there was none. It
may as well mean that the query asks for a label that does not exist, or that the answer lacks a
part. So an absent series is 0 only where the same answer shows that there can be one:

- another instance of the same version has one now, or had one before;
- the catalog (or the pack) names series that are there whenever bad ones can be: `shown_by`;
- the bad requests are a part of the total, by name, and the total has the labels that pick them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import promql_parser

from schemas.judging import TEMPLATE_VARIABLES, RatioMetric, render
from schemas.reading import Series

_NAME: Final = "__name__"
_STAND_IN: Final = dict.fromkeys(TEMPLATE_VARIABLES, "x")


def picking_labels(metric: RatioMetric) -> frozenset[str] | None:
    """Labels that pick the bad ones from series of one name; None: they are told otherwise."""
    if metric.bad is None or metric.total is None:
        return None
    bad, total = (_selector(render(text, _STAND_IN)) for text in (metric.bad, metric.total))
    if bad is None or total is None or bad[0] != total[0]:
        return None
    return frozenset(name for name, how in bad[1] if (name, how) not in total[1])


def _selector(promql: str) -> tuple[str, frozenset[tuple[str, str]]] | None:
    """Name and matchers of a plain selector."""
    try:
        found: Any = promql_parser.parse(promql)
    except ValueError:
        return None
    while isinstance(found, promql_parser.ParenExpr):
        found = found.expr
    if not isinstance(found, promql_parser.VectorSelector) or found.matchers.or_matchers:
        return None
    matchers = {(one.name, f"{one.op}{one.value}") for one in found.matchers.matchers}
    named = [one.value for one in found.matchers.matchers if one.name == _NAME]
    name = found.name or (named[0] if len(named) == 1 else None)
    return (name, frozenset(one for one in matchers if one[0] != _NAME)) if name else None


def can_be_there(total: Sequence[Series], labels: frozenset[str]) -> bool:
    """Whether the series of one instance have all of these labels."""
    return all(any(one.labels.get(label) for one in total) for label in labels)
