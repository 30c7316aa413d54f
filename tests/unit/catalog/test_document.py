from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.document import read_yaml

_KEYS = st.text("abcxyz<", min_size=1, max_size=4).filter(lambda key: key != "<<")
_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
)
_DATA = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(_DATA, st.booleans())
def test_reads_what_yaml_writes(data: Any, flow: bool) -> None:
    document = read_yaml(yaml.safe_dump(data, default_flow_style=flow))
    assert document.complaints == []
    assert document.data == data


def test_knows_the_line_of_everything() -> None:
    document = read_yaml("a: 1\nb:\n  - x\n  - c: 2\n    d: {e: 3}\n")
    assert document.line(("a",)) == 1
    assert document.line(("b",)) == 2
    assert document.line(("b", 0)) == 3
    assert document.line(("b", 1, "d", "e")) == 5
    assert document.line(("b", 1, "missing", "deeper")) == 4


def test_a_key_given_twice_names_both_lines_and_keeps_the_first() -> None:
    document = read_yaml("a:\n  x: 1\n  y: 2\n  x: 3\n")
    [complaint] = document.complaints
    assert (complaint.line, complaint.path) == (4, ("a", "x"))
    assert "line 2" in complaint.expected
    assert document.data == {"a": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("key", "word"), [("no", "false"), ("1", "the number 1"), ("~", "nothing"), ("1.10", "1.1")]
)
def test_a_key_that_is_not_text_says_what_yaml_took_it_for(key: str, word: str) -> None:
    [complaint] = read_yaml(f"{key}: x\n").complaints
    assert word in complaint.expected
    assert "quotes" in complaint.expected


def test_anchors_aliases_and_merges() -> None:
    document = read_yaml("a: &base {x: 1, y: 2}\nb: {<<: *base, y: 3}\nc: [*base]\n")
    assert document.data["b"] == {"x": 1, "y": 3}
    assert document.data["c"] == [{"x": 1, "y": 2}]


def test_dates_and_quoted_numbers_stay_text() -> None:
    document = read_yaml("a: 2026-01-01\nb: '1.10'\nc: !!str 1.10\n")
    assert document.data == {"a": "2026-01-01", "b": "1.10", "c": "1.10"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a:\n\tb: 1\n", 2, "no tab"),
        ("a: [1\nb: 2\n", 2, "readable YAML"),
        ("a: *nowhere\n", 1, "nowhere"),
        ("a: &loop [*loop]\n", 1, "loop"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: !!python/object:os.system {}\n", 1, "unknown tag"),
        ("a: !secret x\n", 1, "!secret"),
        ("? [a]\n: 1\n", 1, "key that is not text"),
        ("a: {<<: 5}\n", 1, "merge"),
        ("a: !!int x\n", 1, "not of type"),
    ],
)
def test_bad_yaml_is_one_complaint_with_its_line(text: str, line: int, words: str) -> None:
    document = read_yaml(text)
    [complaint] = document.complaints
    assert complaint.line == line
    assert words in complaint.expected
    assert document.place is None


def test_control_characters_are_a_complaint() -> None:
    [complaint] = read_yaml("a: \x00\n").complaints
    assert "readable YAML" in complaint.expected


def test_deep_nesting_is_no_stack_overflow() -> None:
    document = read_yaml("[" * 900 + "]" * 900)
    assert document.complaints == []
