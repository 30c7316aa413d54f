"""Durations and percentages: what is read, what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from schemas.base import Model, Percent, format_duration, parse_duration


@given(st.integers(0, 366 * 86_400_000))
def test_what_is_written_reads_the_same(milliseconds: int) -> None:
    length = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(length)) == length


@pytest.mark.parametrize(
    "wrong",
    ["", "5", 5, 5.0, True, "5 minutes", "-5m", "5m\n", "٣s", "99999999999999d", "367d", ".inf"],
)
def test_what_is_no_duration_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(wrong)


class Numbers(Model):
    whole: int = 0
    broken: float | None = None
    bounded: Annotated[float, Field(gt=0)] = 1.0
    many: tuple[float, ...] = ()
    said: bool = False
    either: bool | int = 0


@pytest.mark.parametrize("value", [True, False, "1", "0.05", " 1 "])
@pytest.mark.parametrize("name", ["whole", "broken", "bounded"])
def test_neither_true_nor_false_nor_text_is_a_number(name: str, *, value: bool | str) -> None:
    with pytest.raises(ValidationError) as caught:
        Numbers.model_validate({name: value})
    [problem] = caught.value.errors()
    assert (problem["loc"], problem["input"]) == ((name,), value)
    assert "expected a number" in problem["msg"]


def test_a_truth_in_a_list_of_numbers_is_named_by_its_place() -> None:
    with pytest.raises(ValidationError) as caught:
        Numbers.model_validate({"many": [1, True, 2]})
    assert [problem["loc"] for problem in caught.value.errors()] == [("many", 1)]


class Texts(Model):
    share: Percent = 1.0
    shares: tuple[Percent, ...] = ()
    word: float | Literal["auto"] = 0.0
    name: str | int = ""


def test_what_may_be_text_still_may() -> None:
    read = Texts.model_validate(
        {"share": "5%", "shares": ["5%", 50], "word": "auto", "name": "1"}, strict=False
    )
    assert (read.share, read.shares, read.word, read.name) == (5.0, (5.0, 50.0), "auto", "1")


def test_what_may_be_true_still_may() -> None:
    read = Numbers.model_validate_json('{"said": true, "either": true, "whole": 1, "many": [0]}')
    assert (read.said, read.either, read.whole, read.many) == (True, True, 1, (0.0,))
