"""The JSON Schema refuses what the reader refuses, wherever a schema can say it."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from adapters.packs import BUILT_IN
from aviary.cli.catalogs import schema_text
from schemas.catalog_file import CatalogError
from tests.catalogs import parse

SCHEMA = Draft202012Validator(json.loads(schema_text()))
BASE: dict[str, Any] = {
    "version": 1,
    "environment": "test",
    "max_parallel": 3,
    "defaults": {
        "router": {"kind": "envoy", "directory": "/srv", "admin": ["http://127.0.0.1:9901"]},
        "strategy": "careful",
        "judge": {"alpha": 0.01, "interval": "15s", "threshold": {"quantile": 0.9}},
        "alerts": {"severities": {"warning": "rollback"}},
    },
    "strategies": {
        "careful": {"steps": [1, "5%", {"weight": 25, "bake": "5m", "gate": True}], "soak": "1m"},
        "quick": {"ramp": {"budget": 100, "cap": 40, "hold_after": "1h"}},
    },
    "services": {
        "ledger": None,
        "cart": {"depends_on": ["ledger"], "strategy": "quick"},
        "shop": {
            "router": {"kind": "memory"},
            "judge": {"pack": "envoy"},
            "metrics": [
                {"kind": "ratio", "name": "own", "bad": "x", "total": "y", "slo": 0.01},
                {"kind": "histogram", "name": "slow", "buckets": "b", "edges": [0.5], "slo": 0.1},
                {"kind": "gauge", "name": "memory", "value": "m"},
                {"kind": "threshold", "name": "oom", "value": "o", "limit": 0},
                {"kind": "ratio", "name": "errors"},
            ],
        },
    },
    "alert_labels": {"service": ["service"]},
    "admission": {"busy": "queue"},
    "cycles": "group",
    "notices": [{"channel": "oncall", "services": ["shop"]}],
}
BEYOND = re.compile(
    r"grows from step to step|no cycle of dependencies|a service of this catalog|not itself"
    r"|each dependency once|the name of a strategy|each name of a metric once|positive and grow"
    r"|marginal_score|min to be at most max|steps of 0\.01|from 0s to 366d|metric of kind ratio"
    r"|pack \w+ has no query|query \w+ of pack|a query in PromQL|a query for series|raw series"
    r"|a metric of the service|finite number|greater than or equal to 0:00:01"
    r"|greater than or equal to 1 second|less than or equal to 5 minutes|each once"
    r"|a pack with this query|pass by time alone|expected 1\.0?$"
)
"""Of many fields, another document, a language, or of numbers that a pattern can't compare."""


def read(document: Any) -> list[str]:
    """What the reader says; nothing if it takes it."""
    try:
        parse(json.dumps(document), "c", (BUILT_IN.check,))
    except CatalogError as error:
        return [str(problem) for problem in error.problems]
    return []


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path of a document."""
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    found = [path] if path else []
    if isinstance(node, dict | list):
        for key, value in inner:
            found += (
                places(value, (*path, key)) if isinstance(value, dict | list) else [(*path, key)]
            )
    return found


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(BASE)
    node: Any = document
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return document


FIELDS = ["steps", "ramp", "bake", "kind", "slo", "query", "bad", "value", "edges", "limit", "x"]
FIELDS += ["router", "strategy", "metrics", "judge", "weight", "gate", "min", "max", "pack", "Cart"]
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 5, 100, 100.01, 150, 0.5, 1e9, "", "x", "a b", [], {}, [[]]),
        *("150%", "100%", "0%", "5%", "100.5%", "99.99%", "-5%", "%", "5 m", "0s", "5m", "PT5M"),
        *("careful", "nope", "Envoy", "haproxy", "memory", "ratio", "{{service}}", "{{nope}}"),
        *([1, 2], [5, 5], ["ledger", "ledger"], ["ledger"], ["Ledger"], {"x": 1}, [0.5, 1], [-1]),
        *({"kind": "memory"}, {"kind": "nope"}, {"budget": 5}, {"budget": 0}, {"weight": "150%"}),
        *({"kind": "ratio", "name": "a"}, {"name": "a", "limit": 1}, {"min": "1m"}, [{"x": 1}]),
        *([{"kind": "ratio", "name": "a", "bad": "x"}], [{"kind": "gauge", "value": "x"}], [150]),
        *([{"kind": "ratio", "name": "a", "query": "errors", "bad": "x", "total": "y"}], ["150%"]),
        *([{"kind": "histogram", "name": "a", "slo": 0.1}], {"max": "0s"}, "http://x", ["x:9901"]),
    ]
)


def agree(document: dict[str, Any]) -> None:
    problems = read(document)
    if problems and SCHEMA.is_valid(document):
        unsaid = [problem for problem in problems if not BEYOND.search(problem)]
        assert not unsaid, "the schema takes what the reader refuses"


def test_both_take_what_is_right() -> None:
    assert read(BASE) == []
    SCHEMA.validate(BASE)


@given(st.sampled_from(places(BASE)), VALUES)
def test_a_changed_value(path: tuple[Any, ...], value: Any) -> None:
    agree(changed(path, value))


@given(
    st.sampled_from([path for path in places(BASE) if isinstance(path[-1], str)]),
    st.sampled_from(FIELDS),
    VALUES,
)
def test_an_added_field(path: tuple[Any, ...], name: str, value: Any) -> None:
    node: Any = BASE
    for part in path:
        node = node[part]
    if isinstance(node, dict):
        agree(changed(path, {**node, name: value}))


@given(st.sampled_from([path for path in places(BASE) if isinstance(path[-1], str)]))
def test_a_field_that_is_left_out(path: tuple[Any, ...]) -> None:
    document = copy.deepcopy(BASE)
    node: Any = document
    for part in path[:-1]:
        node = node[part]
    del node[path[-1]]
    agree(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("strategies", "careful", "steps", 1), "150%"),
        (("strategies", "careful", "steps", 1), "100.5%"),
        (("strategies", "careful", "steps", 0), "0%"),
        (("strategies", "careful", "ramp"), {"budget": 5}),
        (("strategies", "careful", "steps"), []),
        (("strategies", "careful", "bake"), "soon"),
        (("strategies", "careful", "bake"), "PT5M"),
        (("strategies", "quick", "steps"), [5]),
        (("strategies", "quick", "ramp"), None),
        (("strategies", "quick", "ramp", "cap"), 0),
        (("strategies", "quick", "ramp", "hold_after"), "0s"),
        (("defaults", "judge", "interval"), "0m0s"),
        (("defaults", "judge", "pack"), "apache"),
        (("defaults", "router"), None),
        (("services", "Cart"), {}),
        (("services", "cart", "depends_on"), ["ledger", "ledger"]),
        (("services", "shop", "metrics", 0, "query"), "errors"),
        (("services", "shop", "metrics", 0, "total"), None),
        (("services", "shop", "metrics", 0, "bad"), 'x{p="{{poool}}"}'),
        (("services", "shop", "metrics", 1, "edges"), [0.1, 0.5]),
        (("services", "shop", "metrics", 3), {"name": "oom", "value": "o", "limit": 0}),
    ],
)
def test_both_refuse(path: tuple[Any, ...], value: Any) -> None:
    document = changed(path, value)
    assert read(document)
    assert not SCHEMA.is_valid(document)


def test_defaults_are_written_as_a_catalog_has_them() -> None:
    text = schema_text()
    assert '"default": "15s"' in text
    assert '"PT' not in text
