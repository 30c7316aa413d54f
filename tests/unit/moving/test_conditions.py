"""Conditions of Argo: read as limits that say the same, or refused in their own words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.moving.conditions import Bound, Condition, NotUnderstoodError, failure, success


@pytest.mark.parametrize(
    ("text", "operator", "number"),
    [
        ("result[0] < 0.05", "<", 0.05),
        ("result[0]>=0.95", ">=", 0.95),
        ("0.95 <= result[0]", ">=", 0.95),
        ("(result[0] > -1.5e3)", ">", -1500.0),
        ("asFloat(result[0]) <= 5", "<=", 5.0),
        ("not (result[0] > 5)", "<=", 5.0),
        ("!(result[0] > 5)", "<=", 5.0),
        ("!!(result[0] > 5)", ">", 5.0),
        ("all(result, {# < 0.5})", "<", 0.5),
    ],
)
def test_one_comparison_is_one_limit(text: str, operator: str, number: float) -> None:
    assert success(text).bounds == (Bound(operator, number),)


def test_a_failure_is_good_where_it_does_not_hold() -> None:
    assert failure("result[0] >= 0.05").bounds == (Bound("<", 0.05),)
    assert failure("result[0] > 5 || result[0] < 1").bounds == (Bound("<=", 5), Bound(">=", 1))


def test_several_limits_hold_at_once() -> None:
    assert success("result[0] >= 1 && result[0] <= 5").bounds == (Bound(">=", 1), Bound("<=", 5))
    assert success("result[0] == 3").bounds == (Bound("<=", 3), Bound(">=", 3))


@pytest.mark.parametrize(
    "text",
    [
        "len(result) == 0 || result[0] >= 0.95",
        "result[0] >= 0.95 || len(result) < 1",
        "isNaN(result[0]) || result[0] >= 0.95",
        "isNil(result) or isNaN(result[0]) or result[0] >= 0.95",
        "default(result[0], 1) >= 0.95",
    ],
)
def test_no_data_may_be_good(text: str) -> None:
    assert success(text) == Condition(
        (Bound(">=", 0.95),), lack_is_good=True, names_lack=True, first_only=True
    )


@pytest.mark.parametrize(
    "text", ["len(result) > 0 && result[0] >= 0.95", "!isNaN(result[0]) and result[0] >= 0.95"]
)
def test_no_data_may_be_bad(text: str) -> None:
    found = success(text)
    assert found.bounds == (Bound(">=", 0.95),)
    assert not found.lack_is_good


def test_a_failure_that_asks_for_data_is_good_without() -> None:
    assert failure("len(result) > 0 && result[0] > 2").lack_is_good
    assert not failure("isNaN(result[0]) || result[0] > 2").lack_is_good


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "result",
        "result[0]",
        "result[1] < 5",
        "result[0] < result[1]",
        "result[0] * 100 < 5",
        "result[0] < 5; result[0] > 3",
        "result.ok == true",
        'result == "true"',
        "asInt(result[0]) < 5",
        "isInf(result[0]) || result[0] < 5",
        "any(result, {# < 5})",
        "all(result, {# < 5}) && result[0] < 3",
        "len(result) == 2",
        "len(result) == 0",
        "result[0] < 5 && (result[0] > 1 || result[0] < 0) || result[0] == 9",
        "result[0] < 5 5",
        "result[0] < 1e999",
        "(" * 100 + "result[0] < 5" + ")" * 100,
        "result[0] < 5 " + "&& result[0] < 5 " * 1000,
        "result[0] ? 1 : 0",
        "result[0] < 5 || true",
        "asFloat(" * 500,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    for read in (success, failure):
        with pytest.raises(NotUnderstoodError) as refused:
            read(text)
        assert str(refused.value)


@pytest.mark.parametrize("text", ["result[0] < 5 || result[0] > 7", "result[0] != 5"])
def test_alternatives_are_no_limits(text: str) -> None:
    with pytest.raises(NotUnderstoodError):
        success(text)
    assert len(failure(text).bounds) == 2


def test_that_all_series_are_bad_is_no_limit() -> None:
    with pytest.raises(NotUnderstoodError, match="one of all series"):
        failure("all(result, {# > 5})")


_PIECES = ["result[0]", "result", "len(result)", "isNaN(result[0])", "<", "<=", ">", ">=", "=="]
_PIECES += ["!=", "&&", "||", "!", "(", ")", "0", "0.5", "-1", "default(result[0], 1)", "x", " "]


@given(st.lists(st.sampled_from(_PIECES), max_size=12))
def test_what_is_read_means_what_it_says(pieces: list[str]) -> None:
    """Held against Python, whose comparisons of numbers are those of the language."""
    text = " ".join(pieces)
    try:
        found = success(text)
    except NotUnderstoodError:
        return
    python = text.replace("&&", " and ").replace("||", " or ").replace("!=", "≠")
    python = python.replace("!", " not ").replace("≠", "!=")
    for value in (-2.0, -1.0, 0.0, 0.25, 0.5, 0.75, 2.0):
        names = {
            "isNaN": math.isnan,
            "default": lambda given, _: given,
            "len": len,
            "result": _Number(value) if found.plain else [value],
        }
        said = bool(eval(python, {"__builtins__": {}}, names))
        assert said == all(_holds(bound, value) for bound in found.bounds), text


class _Number(float):
    """A number that has a length, as `len(result)` of a series there."""

    def __len__(self) -> int:
        return 1


def _holds(bound: Bound, value: float) -> bool:
    beyond = value < bound.number if bound.lower else value > bound.number
    return not beyond and not (bound.strict and value == bound.number)
