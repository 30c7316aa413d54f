"""Says what is wrong with a query in PromQL before anything asks it.

A template is filled in with sample values first. The parser is a real one (of Prometheus 2.45 and
later functions); it recurses, so what nests without measure is refused before it comes there.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import promql_parser
from promql_parser import ValueType

SAMPLES: Final = {"service": "checkout", "version": "1.4.2", "pool": "checkout@1~4~2"}
"""What stands in for `{{service}}` and its like."""

_DEEPEST: Final = 50
_MOST_OPERATORS: Final = 200
_QUOTED: Final = re.compile(
    r'"(?:[^"\\]|\\.)*+"|\'(?:[^\'\\]|\\.)*+\'|`[^`]*+`|#[^\n]*+', re.DOTALL
)
_OPERATOR: Final = re.compile(r"[-+*/%^<>]|[=!]=|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_DEPTH: Final = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_KEEP_RAW: Final = frozenset({"label_replace", "label_join", "last_over_time"})
_COMBINE_RAW: Final = frozenset({"or", "+", "-"})
_FILTER: Final = frozenset({"and", "unless"})
_RENAMED: Final = re.compile(r"\bholt_winters(?=\s*\()")
_NEW_NAME: Final = "double_exponential_smoothing"
"""Since Prometheus 3; the parser knows this name alone."""
_TO_ONE: Final = frozenset(
    {"sum", "avg", "min", "max", "count", "stddev", "stdvar", "group", "quantile"}
)
_ONE_EACH: Final = frozenset(
    {"abs", "ceil", "floor", "round", "clamp_max", "clamp_min", "ln", "sqrt"}
)
_TYPES: Final = (
    (ValueType.Vector, "vector"),
    (ValueType.Matrix, "matrix"),
    (ValueType.Scalar, "scalar"),
    (ValueType.String, "string"),
)
_KINDS: Final = {
    "MatrixSelector": "matrix",
    "SubqueryExpr": "matrix",
    "NumberLiteral": "scalar",
    "StringLiteral": "string",
}
_WORDS: Final = {
    "matrix": "a range of values, where one value a series is needed",
    "scalar": "a single number, where series are needed",
    "string": "a text, where series are needed",
}


@lru_cache(maxsize=4096)
def fault(query: str, *, raw: bool) -> str | None:
    """What is wrong with a query, in words behind "expected"; None if nothing is.

    Args:
        query: PromQL, without variables.
        raw: the series must be raw counters, which are counted exactly: no `rate`, no `sum`.
    """
    if text := _too_large(query):
        return text
    try:
        parsed = promql_parser.parse(_RENAMED.sub(_NEW_NAME, query))
    except ValueError as error:
        return (
            f"a query in PromQL ({error}); for what is newer than Prometheus 2.45, or another "
            "language, say judge: {language: other}"
        )
    kind = _kind(parsed)
    if kind != "vector":
        return f"a query for series ({_WORDS[kind]})"
    found = _not_raw(parsed) if raw else None
    if found is not None:
        return (
            f"raw series, got {found}: one series for each instance is counted exactly, "
            "so leave out rate, increase, sum and the like"
        )
    return None


def is_scalar(query: str) -> bool:
    """Whether a query, one that parses, is for a single number in place of series."""
    try:
        return _too_large(query) is None and _kind(promql_parser.parse(query)) == "scalar"
    except ValueError:
        return False


def is_one_series(query: str) -> bool:
    """Whether a query, one that parses, has one series at the most, whatever the data are."""
    try:
        return _too_large(query) is None and _is_one(promql_parser.parse(query))
    except ValueError:
        return False


def _is_one(node: Any) -> bool:
    name = type(node).__name__
    if name in {"ParenExpr", "UnaryExpr"}:
        return _is_one(node.expr)
    if name == "BinaryExpr":
        if str(node.op) == "or":
            return False
        return (_is_one(node.lhs) or _kind(node.lhs) == "scalar") and (
            _is_one(node.rhs) or _kind(node.rhs) == "scalar"
        )
    if name == "AggregateExpr":
        by = node.modifier
        return by is None and str(node.op) in _TO_ONE
    if name == "Call" and node.func.name == "histogram_quantile":
        inner = node.args[1]
        by = getattr(inner, "modifier", None)
        return type(inner).__name__ == "AggregateExpr" and by is not None and by.labels == ["le"]
    return name == "Call" and (
        node.func.name in {"vector", "absent", "absent_over_time"}
        or (node.func.name in _ONE_EACH and _is_one(node.args[0]))
    )


def _too_large(query: str) -> str | None:
    bare = _QUOTED.sub("", query)
    depth = deepest = 0
    for character in bare:
        depth += _DEPTH.get(character, 0)
        deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        return f"a query of at most {_DEEPEST} levels of brackets"
    if len(_OPERATOR.findall(bare)) > _MOST_OPERATORS:
        return f"a query of at most {_MOST_OPERATORS} operators"
    return None


def _kind(node: Any) -> str:
    """The type of a query's answer."""
    name = type(node).__name__
    if name in {"ParenExpr", "UnaryExpr"}:
        return _kind(node.expr)
    if name == "BinaryExpr":
        return "vector" if "vector" in {_kind(node.lhs), _kind(node.rhs)} else "scalar"
    if name == "Call":
        return next(word for kind, word in _TYPES if node.func.return_type == kind)
    return _KINDS.get(name, "vector")


def _not_raw(node: Any) -> str | None:
    """The first part of a query for series after which they are no raw counters any more."""
    name = type(node).__name__
    if name == "ParenExpr":
        found = _not_raw(node.expr)
    elif name == "BinaryExpr":
        found = _not_raw_sides(node)
    elif name == "Call" and node.func.name in _KEEP_RAW:
        found = _not_raw(node.args[0])
    elif name == "VectorSelector":
        found = None if node.at is None else "@, which stands still"
    elif name == "MatrixSelector":
        found = None
    else:
        found = _named(name, node)
    return found


def _named(name: str, node: Any) -> str:
    if name == "AggregateExpr":
        return f"{str(node.op).lower()}()"
    return f"{node.func.name}()" if name == "Call" else "arithmetic"


def _joined(node: Any) -> Any | None:
    """The counters in `counters * on (pod) group_left (version) info`, which only adds labels.

    What stands on the side of the one is taken for an info metric, whose value is 1.
    """
    card = node.modifier and node.modifier.card
    if card == promql_parser.VectorMatchCardinality.ManyToOne:
        return node.lhs
    return node.rhs if card == promql_parser.VectorMatchCardinality.OneToMany else None


def _offsets(node: Any) -> frozenset[Any]:
    """Of all selectors in what keeps counters raw."""
    name = type(node).__name__
    if name == "VectorSelector":
        return frozenset({node.offset})
    if name == "MatrixSelector":
        return _offsets(node.vector_selector)
    if name == "BinaryExpr":
        return _offsets(node.lhs) | _offsets(node.rhs)
    inner = node.expr if name == "ParenExpr" else node.args[0] if name == "Call" else None
    return frozenset() if inner is None else _offsets(inner)


def _not_raw_sides(node: Any) -> str | None:
    """Counters of the same instances may be added, taken apart and put beside each other."""
    operator = str(node.op)
    if operator in _FILTER:
        return _not_raw(node.lhs)
    if operator == "*" and (counted := _joined(node)) is not None:
        return _not_raw(counted)
    if operator not in _COMBINE_RAW:
        return f"operator {operator}"
    if _kind(node.lhs) != "vector" or _kind(node.rhs) != "vector":
        return f"operator {operator} with a number"
    found = _not_raw(node.lhs) or _not_raw(node.rhs)
    if found is None and operator == "-" and _offsets(node.lhs) != _offsets(node.rhs):
        return "a difference of two times"
    return found
