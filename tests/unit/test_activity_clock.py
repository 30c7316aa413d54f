"""The time in an activity is that of Temporal's server."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.clock import server_now


async def test_it_is_the_servers_however_wrong_the_workers_clock_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        ActivityEnvironment.default_info(), started_time=long_ago
    )
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    async def told() -> list[datetime]:
        nonlocal now
        first = server_now()
        now += 7.5
        return [first, server_now()]

    assert await environment.run(told) == [long_ago, long_ago + timedelta(seconds=7.5)]
