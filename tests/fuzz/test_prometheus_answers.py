"""Whatever comes from the address of a Prometheus: never an unexpected error, never a good word."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unanswered, WrongQuery
from adapters.metrics.answers import read_answer
from analysis.judge import Judge
from schemas.judging import (
    GaugeMetric,
    HistogramMetric,
    JudgeSpec,
    MetricSpec,
    RatioMetric,
    ThresholdMetric,
)
from schemas.outside import visible
from schemas.reading import Answer, ArmReading, Fault, Gap, MetricReading, Series, partial_of
from schemas.verdict import VerdictKind
from tests.unit.analysis.readings import START, at, snapshot

ERRORS = RatioMetric(name="errors", bad='r{code=~"5.."}', total="r")
METRICS: tuple[MetricSpec, ...] = (
    ERRORS,
    RatioMetric(name="limited", bad="b", total="t", shown_by="t", slo=0.5),
    HistogramMetric(name="latency", buckets="b", edges=(0.1,)),
    HistogramMetric(name="slow", buckets="b", total="t"),
    GaugeMetric(name="memory", value="v"),
    ThresholdMetric(name="oom", value="v", limit=1e9),
)
WORDS = st.sampled_from(
    ["", "pod", "code", "200", "500", "le", "0.1", "+Inf", "nan", "job", "replica", "\x1b[2J", "ü"]
)
NUMBERS = st.one_of(
    st.sampled_from(["NaN", "+Inf", "-Inf", "1e400", "-1", "0", "5", "1_0", "0x1", " 1", "∞", ""]),
    st.integers(0, 10**6).map(str),
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
VALUES = st.one_of(st.tuples(st.just(1.0), NUMBERS).map(list), JUNK)
ROWS = st.one_of(
    st.fixed_dictionaries(
        {"metric": st.dictionaries(WORDS, WORDS, max_size=4) | JUNK, "value": VALUES}
    ),
    JUNK,
)
DATA = st.fixed_dictionaries(
    {
        "resultType": st.sampled_from(["vector", "vector", "vector", "matrix", "scalar", ""])
        | JUNK,
        "result": st.lists(ROWS, max_size=6) | JUNK,
    }
)
ENVELOPES = st.fixed_dictionaries(
    {"status": st.sampled_from(["success", "success", "error"]) | JUNK, "data": DATA | JUNK},
    optional={
        "warnings": st.lists(st.text(max_size=9), max_size=2) | JUNK,
        "infos": JUNK,
        "isPartial": JUNK,
        "error": JUNK,
        "errorType": JUNK,
    },
)
BODIES = st.one_of(
    ENVELOPES.map(lambda one: json.dumps(one).encode()),
    ENVELOPES.map(lambda one: json.dumps(one).encode()[:-3]),
    JUNK.map(lambda one: json.dumps(one).encode()),
    st.binary(max_size=60),
)
STATUSES = st.sampled_from([200] * 12 + [204, 301, 302, 400, 401, 404, 422, 429, 500, 503, 999])
HEADERS = st.dictionaries(st.sampled_from(["content-type", "location"]), st.text(max_size=20))


def read(status: int, headers: dict[str, str], body: bytes) -> Answer | Gap:
    try:
        return read_answer(status, headers, body, address="http://p", promql="up")
    except (Unanswered, WrongQuery) as error:
        return Gap(fault=error.fault, detail=str(error))


def arm(metric: MetricSpec, found: Answer | Gap) -> ArmReading | Gap:
    """As the judging activity makes it of an answer to each query of the metric."""
    if isinstance(found, Gap):
        return found
    if partial_of(found):
        return Gap(fault=Fault.PARTIAL, detail=partial_of(found))
    return ArmReading(parts={part: tuple(found) for part in metric.templates})


def verdict_of(judge: Judge) -> VerdictKind:
    zero = timedelta(0)
    found = judge.verdict(at(60), started_at=START, bake_min=zero, bake_max=zero)
    assert found.sentence
    json.dumps(judge.dump(), allow_nan=False)
    return found.kind


@given(st.lists(st.tuples(STATUSES, HEADERS, BODIES), min_size=1, max_size=4))
def test_no_answer_is_an_unexpected_error(answers: list[tuple[int, dict[str, str], bytes]]) -> None:
    judge = Judge(JudgeSpec(), METRICS)
    for index, (status, headers, body) in enumerate(answers):
        found = read(status, headers, body)
        if isinstance(found, Answer):
            assert status == 200
            assert all(isinstance(one, Series) for one in found)
        else:
            assert visible(found.detail) == found.detail
            assert len(found.detail) < 1500
        readings = {
            one.name: MetricReading(canary=arm(one, found), stable=arm(one, found))
            for one in METRICS
        }
        try:
            judge.observe(snapshot(15.0 * index, readings))
        except ValueError as error:
            if "label le" not in str(error):  # buckets without a bound: said, and not retried
                raise
            return
    verdict_of(judge)


class Truth:
    """A canary that fails 30 % of its requests, as a whole answer would show it."""

    def __init__(self) -> None:
        self.number = 0

    def rows(self, pod: str, bad: float) -> list[dict[str, Any]]:
        requests = 1000.0 * (self.number + 1)
        counts = {"200": requests * (1 - bad), "500": requests * bad}
        return [
            {"metric": {"pod": pod, "code": code}, "value": [1, f"{count:g}"]}
            for code, count in counts.items()
        ]


@given(
    st.lists(
        st.sampled_from(
            [
                "whole",
                "warned",
                "isPartial",
                "html",
                "cut",
                "nan",
                "twice",
                "empty",
                "503",
                "no bad",
            ]
        ),
        min_size=4,
        max_size=12,
    )
)
def test_no_answer_that_lacks_something_passes_a_bad_version(seen: list[str]) -> None:
    judge, truth = Judge(JudgeSpec(tolerance=0.05), [ERRORS]), Truth()
    for kind in ("whole", *seen):  # so that a part which is gone later is known to be
        canary = arm(ERRORS, _spoilt(truth.rows("c", 0.3), kind))
        stable = arm(ERRORS, _spoilt(truth.rows("s", 0.0), "whole"))
        reading = MetricReading(canary=_split(canary), stable=_split(stable))
        judge.observe(snapshot(15.0 * truth.number, {"errors": reading}))
        truth.number += 1
    assert verdict_of(judge) is not VerdictKind.PASS


def _split(found: ArmReading | Gap) -> ArmReading | Gap:
    if isinstance(found, Gap):
        return found
    total = found.parts["total"]
    bad = tuple(one for one in total if one.labels["code"] == "500" and not math.isnan(one.value))
    return ArmReading(parts={"total": total, "bad": bad})


def _spoilt(rows: list[dict[str, Any]], kind: str) -> Answer | Gap:
    more: dict[str, Any] = {}
    status = 503 if kind == "503" else 200
    if kind in {"warned", "isPartial", "no bad"}:
        rows = rows[:1]
    if kind == "warned":
        more["warnings"] = ["away"]
    if kind == "isPartial":
        more["isPartial"] = True
    if kind == "nan":
        rows = [{**row, "value": [1, "NaN"]} for row in rows]
    if kind == "twice":
        rows = [*rows, *rows]
    if kind == "empty":
        rows = []
    data = {"resultType": "vector", "result": rows}
    body = json.dumps({"status": "success", "data": data, **more}).encode()
    bodies = {"html": b"<html>Sign in</html>", "cut": body[: len(body) // 2]}
    return read(status, {}, bodies.get(kind, body))
