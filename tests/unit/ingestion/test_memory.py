from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.errors import Retryable
from adapters.memory import MemoryEventLog, MemoryMetricsSource, MemoryNotifier
from schemas.event_kinds import EventType, NoticeKind
from schemas.events import event
from schemas.notice import Notice
from schemas.reading import Series

AT = datetime(2026, 1, 1, tzinfo=UTC)


async def test_an_event_published_twice_is_kept_once() -> None:
    log = MemoryEventLog()
    one = event("release/r", 0, EventType.RELEASE_STARTED, release="r", subject="r", time=AT)
    await log.publish([one, one])
    await log.publish([one])
    assert log.events == [one]


async def test_notices_are_kept() -> None:
    notifier = MemoryNotifier()
    notice = Notice(kind=NoticeKind.STUCK, release="r", text="router away", at=AT)
    await notifier.notify(notice)
    assert notifier.notices == [notice]


async def test_metrics_answer_what_they_were_told() -> None:
    source = MemoryMetricsSource()
    series = Series(labels={"a": "b"}, value=1.0)
    source.answer("up", series)
    assert list(await source.query("up", AT)) == [series]
    assert list(await source.query("down", AT)) == []
    assert source.asked == [("up", AT), ("down", AT)]


async def test_they_fail_on_demand() -> None:
    source = MemoryMetricsSource()
    source.failure = Retryable("away")
    with pytest.raises(Retryable, match="away"):
        await source.query("up", AT)
