"""What every kind of hook promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.errors import Retryable
from aviary.kinds import registry
from schemas.hooks import RUN, HookAnswer, Said
from tests.contract.hooks.subjects import KINDS, Subject, event, subject
from tests.contract.outside import subject_of, with_members
from tests.hostile import TEXTS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    with_members(metafunc, KINDS)


@pytest.fixture
async def member(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with subject_of(request, subject) as made:
        yield made


def test_every_kind_is_a_subject() -> None:
    # An exit code says less than an answer: `run` has tests of its own (tests/unit/hooks).
    assert {kind.name for kind in registry().hooks.usable()} <= {*KINDS, RUN}


async def test_it_is_told_all_of_the_event(member: Subject) -> None:
    await member.caller.call(event())
    assert member.arrived() == [event()]


async def test_without_a_word_it_is_yes(member: Subject) -> None:
    assert (await member.caller.call(event())).said is Said.YES


@pytest.mark.parametrize(
    "answer",
    [
        HookAnswer(said=Said.YES, reason="12 requests, all fine"),
        HookAnswer(said=Said.NO, reason="3 of 12 requests failed"),
        HookAnswer(said=Said.LATER, reason="a person looks", ask_again=timedelta(seconds=7)),
    ],
)
async def test_it_hears_each_answer(member: Subject, answer: HookAnswer) -> None:
    member.says(answer)
    assert await member.caller.call(event()) == answer


async def test_a_call_that_is_made_again_is_the_same(member: Subject) -> None:
    for _ in range(2):
        await member.caller.call(event())
    first, second = member.arrived()
    assert first == second
    await member.caller.call(event(step=2))
    assert member.arrived()[-1].id != first.id


async def test_what_is_no_answer_may_be_asked_again(member: Subject) -> None:
    member.break_down()
    with pytest.raises(Retryable):
        await member.caller.call(event())


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_text_from_outside_arrives_and_does_nothing(member: Subject, text: str) -> None:
    await member.caller.call(event(cause=text))
    assert member.arrived() == [event(cause=text)]
