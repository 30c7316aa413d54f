"""What is wrong is said in few words and in linear time, however much is wrong."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from schemas.deploy import DEPLOY_TYPE, LABELS_MOST, SERVICES_MOST, parse_deploy
from schemas.rejection import Rejected, load_json, show

SECONDS = 5.0
"""Generous for what takes a fifth of a second; the quadratic ways took minutes."""


def test_a_number_without_end_is_told_in_words_for_everybody() -> None:
    with pytest.raises(Rejected) as caught:
        load_json(b'{"a": ' + b"9" * 100_000 + b"}")
    assert "a number of 100,000 digits, expected at most 4,000" in caught.value.text
    assert "sys." not in caught.value.text
    assert load_json(b"9" * 4000) == int("9" * 4000)


def _event(**data: Any) -> bytes:
    event = {"specversion": "1.0", "type": DEPLOY_TYPE, "source": "/ci", "id": "1"}
    return json.dumps({**event, "data": {"release": "r", **data}}).encode()


_MANY = {f"f{n}": 1 for n in range(40_000)}
_GOOD = [{"service": f"s{n}", "version": "1"} for n in range(SERVICES_MOST)]
LARGE = {
    "the last name twice": b"{" + b",".join(b'"%d":1' % n for n in range(90_000)) + b',"89999":2}',
    "twice in an object within": b'{"data":{'
    + b",".join(b'"%d":1' % n for n in range(90_000))
    + b',"89999":2}}',
    "every name twice": b"{" + b",".join(b'"%d":1' % (n % 45_000) for n in range(90_000)) + b"}",
    "unknown fields": _event(services=_GOOD[:1], **_MANY),
    "unknown fields of services": _event(services=[{**each, "x": 1} for each in _GOOD[:9_000]]),
    "services that are none": _event(services=[{"service": "A", "version": " "}] * 9_000),
    "too many services": _event(services=[*_GOOD, _GOOD[0]]),
    "too many labels": _event(services=_GOOD[:1], labels=_MANY),
    "one service very often": _event(services=_GOOD[:1] * SERVICES_MOST),
    "a long label": _event(services=_GOOD[:1], labels={"x": "y" * 900_000}),
    "a long name of a label": _event(services=_GOOD[:1], labels={"y" * 900_000: "x"}),
    "a long strategy": _event(services=_GOOD[:1], strategy="x" * 900_000),
    "a long unknown field": json.dumps({"x" * 1_000_000: 1}).encode(),
    "lists in a list": b"[" + b"[]," * 300_000 + b"[]]",
    "numbers": b"[" + b"1," * 500_000 + b"1]",
    "long numbers": b"[" + b"9" * 4_000 + (b"," + b"9" * 4_000) * 250 + b"]",
    "a number too long": b"9" * 1_000_000,
    "a long fraction": b"[0." + b"1" * 1_000_000 + b"]",
    "levels": b"[" * 500_000 + b"]" * 500_000,
    "levels that the parser takes": b"[" * 500 + b"]" * 500,
    "objects within each other": b'{"a":' * 500 + b"1" + b"}" * 500,
    "halves of pairs": b'["' + rb"\ud83d" * 150_000 + b'"]',
    "not UTF-8": b"\xff" * 1_000_000,
}


@pytest.mark.parametrize("what", LARGE)
def test_what_is_large_and_wrong_is_refused_soon_and_in_few_words(what: str) -> None:
    before = time.process_time()
    with pytest.raises(Rejected) as caught:
        parse_deploy(LARGE[what])
    assert time.process_time() - before < SECONDS
    assert 0 < len(caught.value.text) <= 4000
    assert str(caught.value) == caught.value.text


def test_the_largest_that_is_good_is_read_soon() -> None:
    labels = {f"l{n}": "x" * 1000 for n in range(LABELS_MOST)}
    before = time.process_time()
    event = parse_deploy(_event(services=_GOOD, labels=labels))
    assert len(event.deploy.digest()) == 64
    assert time.process_time() - before < SECONDS
    assert len(event.deploy.services) == SERVICES_MOST


def test_each_problem_is_named_as_far_as_there_are_few() -> None:
    with pytest.raises(Rejected) as caught:
        parse_deploy(_event(services=[{"service": "A", "version": "1"}] * 12))
    text = caught.value.text
    assert "data.services[0].service: " in text
    assert "data.services[9].service: " in text
    assert text.endswith("; and 2 more problems")


@pytest.mark.parametrize(
    ("most", "document", "fits"),
    [(3, b"[1,2]", True), (3, b"[1,2,3]", False), (5, b'{"a":[1,2],"b":1}', True)],
)
def test_values_are_counted_at_all_levels(most: int, document: bytes, fits: bool) -> None:
    if fits:
        assert load_json(document, values=most) == json.loads(document)
    else:
        with pytest.raises(Rejected, match="more than 3 values") as caught:
            load_json(document, values=most)
        assert caught.value.reason == "too_large"


def test_levels_are_counted() -> None:
    assert load_json(b"[" * 64 + b"]" * 64, values=1000)
    with pytest.raises(Rejected, match="more than 64 levels"):
        load_json(b"[" * 67 + b"]" * 67, values=1000)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 5_000_000, "'" + "x" * 79 + "…"),
        (b"x" * 5_000_000, "b'" + "x" * 78 + "…"),
        ([], "[]"),
        ({"a": 1}, "{'a': 1}"),
        ("a'b", '"a\'b"'),
    ],
)
def test_a_value_is_shown_as_far_as_it_is_readable(value: Any, shown: str) -> None:
    assert show(value) == shown


def test_of_a_large_value_little_is_looked_at() -> None:
    before = time.process_time()
    for _ in range(1000):
        assert len(show([["x" * 100_000] * 10_000] * 100)) <= 81
    assert time.process_time() - before < SECONDS
