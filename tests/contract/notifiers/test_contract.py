"""What every notifier promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from adapters.errors import Retryable
from schemas.event_kinds import NoticeKind
from schemas.notice import Notice
from tests.contract.notifiers.subjects import KINDS, SECRET, Subject, subject
from tests.contract.outside import subject_of, with_members
from tests.hostile import MARKUP, TEXTS, harmless

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # Apprise's
AT = datetime(2026, 1, 1, 10, tzinfo=UTC)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    with_members(metafunc, KINDS)


@pytest.fixture
async def member(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with subject_of(request, subject) as made:
        yield made


def notice(kind: NoticeKind = NoticeKind.ROLLED_BACK, text: str = "4 % of requests fail") -> Notice:
    return Notice(
        kind=kind,
        release="shop-42",
        service="checkout",
        version="1.4.2",
        services=("ledger", "checkout"),
        environment="production",
        text=text,
        at=AT,
    )


async def test_it_arrives_once_with_title_and_text(member: Subject) -> None:
    one = notice()
    await member.notifier.notify(one)
    (text,) = member.arrived()
    assert one.title == "checkout of shop-42 rolled back (production)"
    assert one.title in text
    assert one.text in text


@pytest.mark.parametrize("text", ["zürich: 5 % → 0 %", "&amp; \\n * _x_ < 3 > 2", "a@ b"])
async def test_text_arrives_as_it_is(member: Subject, text: str) -> None:
    await member.notifier.notify(notice(text=text))
    assert text in member.arrived()[0].replace("\r\n", "\n")


async def test_commands_arrive_as_they_are_typed(member: Subject) -> None:
    command = "aviary release approve shop-4_2.x --service checkout"
    await member.notifier.notify(notice(text=f"it waits. To go on: {command}"))
    assert command in member.arrived()[0]


@pytest.mark.parametrize("kind", ["slack", "json", "mail"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_text_from_outside_does_nothing_where_it_arrives(kind: str, text: str) -> None:
    async with subject(kind) as member:
        await member.notifier.notify(notice(text=text))
        (arrived,) = member.arrived()
    told = harmless(arrived.replace("\r\n", "\n").replace("\r", ""))
    if kind == "slack":
        assert not MARKUP.search(told.split("\nrelease: ")[0])


async def test_what_is_not_taken_may_be_tried_again(member: Subject) -> None:
    member.break_down()
    with pytest.raises(Retryable):
        await member.notifier.notify(notice())
    member.mend()
    await member.notifier.notify(notice())
    assert len(member.arrived()) == 1


async def test_an_error_tells_no_secret(member: Subject) -> None:
    member.break_down()
    with pytest.raises(Retryable) as caught:
        await member.notifier.notify(notice())
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert SECRET not in str(error)
