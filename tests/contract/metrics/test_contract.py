"""What is asked of a real Prometheus, directly and in batches (`test_every_source.py`: of all)."""

from __future__ import annotations

import asyncio

import pytest

from adapters.errors import Terminal
from adapters.ports import MetricsSource
from schemas.reading import Series
from tests.contract.metrics.subjects import (
    AT,
    EVERY,
    SAMPLES,
    SERVICES,
    PrometheusSubject,
    counted,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
WRONG = PrometheusSubject.wrong


def one(number: int) -> str:
    return f'requests_total{{service="s{number}"}}'


def expected(number: int, *, samples: int = SAMPLES) -> list[Series]:
    labels = {"__name__": "requests_total", "service": f"s{number}", "pod": "a"}
    return [Series(labels=labels, value=counted(number, samples))]


async def test_the_raw_series_are_as_of_the_time_asked_for(source: MetricsSource) -> None:
    assert await source.query(one(3), AT) == expected(3)
    assert await source.query(one(3), AT - 5 * EVERY) == expected(3, samples=SAMPLES - 5)


async def test_many_at_once_are_answered_each_for_itself(source: MetricsSource) -> None:
    queries = [one(number) for number in range(SERVICES)]
    odd = [
        "sum(requests_total)",
        "requests_total{service=~'s1|s2'} # with a comment",
        "nobody_counts_this",
        "-requests_total{service='s7'}",
        "sum by (pod) (requests_total) or vector(7)",
        "topk(2, requests_total)",
    ]
    asked = [*queries, *odd, *WRONG, *queries]
    found = await asyncio.gather(
        *(source.query(promql, AT) for promql in asked), return_exceptions=True
    )
    told = dict(zip(asked, found, strict=True))
    for number in range(SERVICES):
        assert told[one(number)] == expected(number)
    assert all(isinstance(told[promql], Terminal) for promql in WRONG)
    for promql in odd:
        alone = await source.query(promql, AT)
        together = told[promql]
        assert isinstance(together, list)
        assert sorted(together, key=repr) == sorted(alone, key=repr)
