"""What every source of metrics promises, whatever its store and the language of its questions."""

from __future__ import annotations

import asyncio

import pytest

from adapters.errors import Retryable, Terminal
from tests.contract.metrics.subjects import AT, EVERY, SAMPLES, SERVICES, Subject, counted


async def values(member: Subject, query: str, samples_ago: int = 0) -> list[float]:
    """Of the series that are answered."""
    return [one.value for one in await member.source.query(query, AT - samples_ago * EVERY)]


async def test_a_counter_is_raw_and_as_of_the_time_asked_for(member: Subject) -> None:
    assert await values(member, member.counter(3)) == [counted(3)]
    assert await values(member, member.counter(3), samples_ago=5) == [counted(3, SAMPLES - 5)]


async def test_no_data_is_no_series(member: Subject) -> None:
    assert await values(member, member.counter(SERVICES)) == []


async def test_a_wrong_query_is_terminal_and_is_named(member: Subject) -> None:
    assert member.wrong
    for query in member.wrong:
        with pytest.raises(Terminal) as caught:
            await member.source.query(query, AT)
        assert repr(query) in str(caught.value)


async def test_many_at_once_are_answered_each_for_itself(member: Subject) -> None:
    queries = [member.counter(number) for number in range(SERVICES)]
    asked = [*queries, *member.wrong, member.counter(SERVICES), *queries]
    told = await asyncio.gather(*(values(member, one) for one in asked), return_exceptions=True)
    by_number = [[counted(number)] for number in range(SERVICES)]
    assert told[:SERVICES] == by_number
    assert told[-SERVICES:] == by_number
    assert told[-SERVICES - 1] == []
    assert all(isinstance(one, Terminal) for one in told[SERVICES : -SERVICES - 1])


async def test_a_source_that_is_away_may_be_asked_again(member: Subject) -> None:
    await member.break_down()
    with pytest.raises(Retryable):
        await member.source.query(member.counter(3), AT)
