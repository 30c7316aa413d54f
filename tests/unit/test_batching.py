"""Joined queries: each is answered as if it had been asked alone, and few requests are made."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Retryable, Terminal, Unanswered
from adapters.metrics.batching import MARK, BatchedMetrics
from schemas.reading import Answer, Fault, Series, partial_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
_JOINED = re.compile(rf'label_replace\(\(\n(.+)\n\), "{MARK}", "(\d+)", "", ""\)')


class Source:
    """Answers `<name>` with one series; what is wrong spoils the request that it is part of."""

    def __init__(self) -> None:
        self.wrong: set[str] = set()
        self.slow: set[str] = set()
        self.odd: set[str] = set()
        self.most: int | None = None
        self.warns = ""
        self.away = False
        self.requests: list[tuple[list[str], datetime]] = []

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        joined = _JOINED.findall(promql)
        names = [name for name, _ in joined] or [promql]
        self.requests.append((names, at))
        await asyncio.sleep(0)
        if self.away or self.slow.intersection(names):
            raise Retryable("no answer")
        if self.wrong.intersection(names):
            raise Terminal(f"query {promql!r}")
        if self.most is not None and len(names) > self.most:
            raise Unanswered("too large", Fault.TOO_LARGE)
        warned = self.odd.intersection(names)
        marks = [{MARK: number} for _, number in joined] or [{}]
        rows = [
            Series(labels={"of": name} | mark, value=1)
            for name, mark in zip(names, marks, strict=True)
        ]
        return Answer(rows, self.warns or ("PromQL warning: a mix" if warned else ""))

    @property
    def sizes(self) -> list[int]:
        return [len(names) for names, _ in self.requests if names != ["vector(1)"]]


class Moment:
    """The moment is over when the test says so."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        assert seconds == 0.05
        await self.over.wait()


async def _ask(source: BatchedMetrics, *names: str, at: datetime = AT) -> list[str]:
    """The kind of answer that each got."""
    asked = (source.query(name, at) for name in names)
    found = await asyncio.gather(*asked, return_exceptions=True)
    return [
        type(one).__name__ if isinstance(one, BaseException) else one[0].labels["of"]
        for one in found
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([0, 20, 60, 200])), min_size=1),
    st.sets(st.sampled_from("abcdefgh"), max_size=3),
    st.integers(1, 5),
)
async def test_each_gets_its_own_answer(
    asked: list[tuple[str, int]], wrong: set[str], most: int
) -> None:
    source, moment = Source(), Moment()
    source.wrong = wrong
    batched = BatchedMetrics(source, most=most, sleep=moment)
    times = [AT + timedelta(milliseconds=late) for _, late in asked]
    tasks = [
        asyncio.create_task(_ask(batched, name, at=at))
        for (name, _), at in zip(asked, times, strict=True)
    ]
    await asyncio.sleep(0)
    moment.over.set()
    for (name, _), task in zip(asked, tasks, strict=True):
        assert await task == ["Terminal" if name in wrong else name]
    assert max(source.sizes) <= most
    for names, at in source.requests:
        allowed = [time for (name, _), time in zip(asked, times, strict=True) if name in names]
        assert any(at - timedelta(milliseconds=50) <= time <= at for time in allowed)


async def test_a_thousand_canaries_are_a_few_requests() -> None:
    source = Source()
    batched = BatchedMetrics(source)
    names = [f"errors_{number}" for number in range(1000)]
    assert await _ask(batched, *names) == names
    assert source.sizes == [100] * 10


async def test_a_query_that_is_too_much_is_found_and_then_asked_alone() -> None:
    source = Source()
    source.slow = {"c"}
    batched = BatchedMetrics(source)
    assert await _ask(batched, *"abcd") == ["Retryable"] * 4
    assert await _ask(batched, *"abcd") == ["a", "b", "Retryable", "d"]
    source.requests.clear()
    assert await _ask(batched, *"abcd") == ["a", "b", "Retryable", "d"]
    assert sorted(source.sizes) == [1, 3]
    source.slow = set()
    assert await _ask(batched, *"abcd") == ["a", "b", "c", "d"]
    source.requests.clear()
    assert await _ask(batched, *"abcd") == ["a", "b", "c", "d"]
    assert source.sizes == [4], "joined again"


async def test_a_source_that_was_away_is_not_asked_one_by_one() -> None:
    source = Source()
    source.away = True
    batched = BatchedMetrics(source)
    assert await _ask(batched, *"abcd") == ["Retryable"] * 4
    source.away = False
    source.requests.clear()
    assert await _ask(batched, *"abcd") == ["a", "b", "c", "d"]
    assert source.sizes == [4]


async def test_a_wrong_query_spoils_one_request() -> None:
    source = Source()
    source.wrong = {"c"}
    batched = BatchedMetrics(source)
    assert await _ask(batched, *"abcd") == ["a", "b", "Terminal", "d"]
    source.requests.clear()
    assert await _ask(batched, *"abcd") == ["a", "b", "Terminal", "d"]
    assert sorted(source.sizes) == [1, 3]


async def test_who_stops_waiting_disturbs_nobody() -> None:
    source, moment = Source(), Moment()
    batched = BatchedMetrics(source, sleep=moment)
    gone, stays = (asyncio.create_task(_ask(batched, name)) for name in "ab")
    await asyncio.sleep(0)
    gone.cancel()
    moment.over.set()
    assert await stays == ["b"]


async def test_a_bug_of_the_source_reaches_whoever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def buggy(_: str, __: datetime) -> Sequence[Series]:
        raise ZeroDivisionError

    source = Source()
    monkeypatch.setattr(source, "query", buggy)
    assert await _ask(BatchedMetrics(source), *"ab") == ["ZeroDivisionError"] * 2


@pytest.mark.parametrize("name", ["a", "slow"])
async def test_nobody_waits_for_a_closed_source(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, moment = Source(), Moment()
    batched = BatchedMetrics(source, sleep=moment)

    async def hang(_: str, __: datetime) -> Sequence[Series]:
        await asyncio.Event().wait()
        return []

    if name == "slow":
        monkeypatch.setattr(source, "query", hang)
        moment.over.set()
    waiting = asyncio.create_task(_ask(batched, name, name))
    for _ in range(5):
        await asyncio.sleep(0)
    await batched.close()
    assert await waiting == ["Retryable"] * 2


async def test_an_answer_that_is_too_large_for_one_request_is_asked_for_in_halves() -> None:
    source = Source()
    source.most = 3
    batched = BatchedMetrics(source)
    assert await _ask(batched, *"abcdefgh") == list("abcdefgh")
    assert source.sizes == [8, 4, 4, 2, 2, 2, 2]


async def test_what_one_query_is_warned_of_is_not_held_against_the_others() -> None:
    source = Source()
    source.odd = {"b"}
    batched = BatchedMetrics(source)
    for sizes in ([3, 1, 1, 1], [3, 1, 1, 1, 2, 1]):
        found = await asyncio.gather(*(batched.query(name, AT) for name in "abc"))
        assert [bool(partial_of(one)) for one in found] == [False, True, False]
        assert sorted(source.sizes) == sorted(sizes)


async def test_a_store_that_is_away_is_held_against_all_and_asked_no_more_than_before() -> None:
    source = Source()
    source.warns = "No StoreAPIs matched for this query"
    batched = BatchedMetrics(source)
    found = await asyncio.gather(*(batched.query(name, AT) for name in "abc"))
    assert [partial_of(one) for one in found] == [source.warns] * 3
    assert source.sizes == [3]
