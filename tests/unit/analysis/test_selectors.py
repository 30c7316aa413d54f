"""Which queries a program's own series answer, and how."""

from __future__ import annotations

import pytest

from adapters.packs import BUILT_IN
from adapters.routers.envoy.capabilities import COUNTERS
from analysis.selectors import selector_of
from schemas.judging import render
from schemas.reading import Series

FAILED = Series(labels={"__name__": "rq", "pool": "a", "code": "5"}, value=1)
FINE = Series(labels={"__name__": "rq", "pool": "a", "code": "2"}, value=2)
BARE = Series(labels={"__name__": "rq"}, value=3)
OTHER = Series(labels={"__name__": "cx", "pool": "a", "code": "5"}, value=4)


@pytest.mark.parametrize(
    ("promql", "picked"),
    [
        ('rq{pool="a",code="5"}', (FAILED,)),
        ('(rq{pool="a",code!="5"})', (FINE,)),
        ('rq{pool=""}', (BARE,)),
        ("rq", (FAILED, FINE, BARE)),
        ('rq{pool="b"}', ()),
    ],
)
def test_a_selector_picks_as_promql_does(promql: str, picked: tuple[Series, ...]) -> None:
    selector = selector_of(promql)
    assert selector is not None
    assert selector.pick([FAILED, FINE, BARE, OTHER]) == picked


@pytest.mark.parametrize(
    "promql",
    [
        'rq{pool=~"a"}',
        "rq offset 1m",
        "rq @ 0",
        "rq[1m]",
        "sum(rq)",
        "rq or cx",
        '{__name__="rq"}',
        'rq{a="b" or c="d"}',
        "rq{",
    ],
)
def test_what_only_promql_answers_is_no_selector(promql: str) -> None:
    assert selector_of(promql) is None


def test_envoy_shows_what_its_pack_asks_for() -> None:
    names = {"service": "a", "version": "1", "pool": "a@1"}
    parts = [text for one in BUILT_IN.load("envoy").queries.values() for text in one.parts.values()]
    selectors = [selector_of(render(text, names)) for text in parts]
    assert {one.name for one in selectors if one is not None} == set(COUNTERS)
    assert None not in selectors
