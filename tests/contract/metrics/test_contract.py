"""What every `MetricsSource` does, on a real Prometheus."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from adapters.errors import Retryable, Terminal
from adapters.metrics.batching import BatchedMetrics
from adapters.metrics.prometheus.source import PrometheusMetrics
from adapters.ports import MetricsSource
from aviary.local.ports import LOOPBACK, FreePorts
from schemas.reading import Series
from tests.contract.metrics.conftest import AT, EVERY, SERVICES

pytestmark = pytest.mark.asyncio(loop_scope="module")
WRONG = ["requests_total{", "requests_total[5m]", "1", '"text"', "sum by requests_total"]


def one(number: int) -> str:
    return f'requests_total{{service="s{number}"}}'


def expected(number: int, *, intervals: int = 20) -> list[Series]:
    labels = {"__name__": "requests_total", "service": f"s{number}", "pod": "a"}
    return [Series(labels=labels, value=intervals * (10 + number))]


async def test_the_raw_series_are_as_of_the_time_asked_for(source: MetricsSource) -> None:
    assert await source.query(one(3), AT) == expected(3)
    earlier = AT - timedelta(seconds=5 * EVERY)
    assert await source.query(one(3), earlier) == expected(3, intervals=15)


async def test_no_data_is_no_series(source: MetricsSource) -> None:
    assert list(await source.query("nobody_counts_this", AT)) == []


@pytest.mark.parametrize("promql", WRONG)
async def test_a_wrong_query_is_terminal_and_is_named(source: MetricsSource, promql: str) -> None:
    with pytest.raises(Terminal) as caught:
        await source.query(promql, AT)
    assert repr(promql) in str(caught.value)


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


async def test_a_source_that_is_away_may_be_asked_again() -> None:
    nobody = PrometheusMetrics(f"http://{LOOPBACK}:{FreePorts().take()}")
    batched = BatchedMetrics(nobody)
    for source in (nobody, batched):
        with pytest.raises(Retryable, match="ConnectionError"):
            await source.query("up", AT)
    await batched.close()
    nobody.close()
