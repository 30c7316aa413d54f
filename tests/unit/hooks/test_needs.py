"""What a version needs, held against what there is: in both directions, and never by silence."""

from __future__ import annotations

import json
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from adapters.hooks.run.caller import RunHook
from schemas.catalog_file import CatalogError
from schemas.hooks import HookAnswer, Said
from schemas.needs import Bounds, held_against, is_number, meets
from tests.catalogs import parse
from tests.contract.hooks.subjects import event
from tests.unit.hooks.test_hooks import document
from tests.unit.hooks.test_run import Runner

BOUNDS: TypeAdapter[str] = TypeAdapter(Bounds)
SIGNS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from(list(SIGNS)))
def test_a_bound_is_arithmetic(has: int, number: int, sign: str) -> None:
    assert meets(str(has), f"{sign} {number}") == SIGNS[sign](has, number)


@given(st.text(max_size=30))
def test_whatever_is_said_is_a_number_or_none(text: str) -> None:
    if is_number(text):
        assert meets(text, f"== {text}")
    else:
        with pytest.raises(ValueError, match="expected a number"):
            meets(text, ">= 0")


@pytest.mark.parametrize(
    ("has", "bounds", "met"),
    [
        ("42", ">= 42, < 50", True),
        ("50", ">= 42, < 50", False),
        ("4.10", "> 4.9", True),
        ("42.0", "== 42", True),
        ("41", ">= 42", False),
    ],
)
def test_all_bounds_have_to_hold(has: str, bounds: str, *, met: bool) -> None:
    assert meets(has, BOUNDS.validate_python(bounds)) is met


@pytest.mark.parametrize(
    "text", ["", "42", ">= x", ">= 1,", "=> 1", ">= 1 < 2", ">= -1", ">" * 300]
)
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        BOUNDS.validate_python(text)


@pytest.mark.parametrize(
    ("answer", "stable", "why"),
    [
        ({"has": "42", "stable_works": True}, "1.4.1", None),
        ({"has": "42"}, None, None),
        ({}, None, "did not say which schema there is"),
        ({"has": "newest", "stable_works": True}, "1.4.1", "did not say which schema there is"),
        ({"has": "41", "stable_works": True}, "1.4.1", "1.4.2 needs schema >= 42, there is 41"),
        ({"has": "42"}, "1.4.1", "did not say whether 1.4.1 works with schema 42"),
        ({"has": "43", "stable_works": False}, "1.4.1", "1.4.1 does not work with schema 43"),
    ],
)
def test_a_yes_is_one_only_both_ways(
    answer: dict[str, Any], stable: str | None, why: str | None
) -> None:
    said = HookAnswer(said=Said.YES, **answer)
    held = held_against(said, "schema", ">= 42", "1.4.2", stable)
    if why is None:
        assert held == said
    else:
        assert held.said is Said.NO
        assert why in held.reason


@given(st.text(max_size=20), st.none() | st.booleans(), st.sampled_from(["1.4.1", None]))
def test_a_no_stays_one(has: str, works: bool | None, stable: str | None) -> None:
    no = HookAnswer(said=Said.NO, reason="locked", has=has, stable_works=works)
    assert held_against(no, "schema", ">= 42", "1.4.2", stable) == no


async def test_a_command_says_it_in_its_last_line() -> None:
    last = '{"has": 42, "stable_works": true}'
    answer = await RunHook(["x"]).call(event(), Runner("looking", last))
    assert (answer.has, answer.stable_works) == ("42", True)
    for junk in ("", "[42]", '{"has": true}', '{"has": 42, "stable_works": "yes"}'):
        answer = await RunHook(["x"]).call(event(), Runner(junk))
        assert (answer.has, answer.stable_works) == ("", None)


# --- in a catalog ---


def needing(when: list[str], name: str = "schema") -> dict[str, Any]:
    hook = {"name": name, "when": when, "call": {"kind": "run", "command": ["./state"]}}
    service = {"needs": {"schema": ">= 42"}, "hooks": [hook], "deploy": {"kind": "memory"}}
    made: dict[str, Any] = document(services={"checkout": service})
    return made


def test_a_need_is_in_the_catalog() -> None:
    catalog = parse(json.dumps(needing(["before_canary", "after_step"])))
    assert catalog.services["checkout"].needs == {"schema": ">= 42"}


@pytest.mark.parametrize(
    ("when", "name"),
    [
        (["before_canary"], "schema"),
        (["after_step"], "schema"),
        (["before_canary", "after_step"], "database"),
    ],
)
def test_a_need_that_nobody_is_asked_for_is_refused(when: list[str], name: str) -> None:
    with pytest.raises(CatalogError) as found:
        parse(json.dumps(needing(when, name)))
    assert "a hook schema of checkout, asked before_canary and during_bake" in str(found.value)
