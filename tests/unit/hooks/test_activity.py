"""Calling a hook: asked again as long as it says later, and never silent to the server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.hooks import CallHook, HookActivities
from adapters.errors import Retryable, Terminal
from adapters.memory import MemoryHook
from adapters.ports import RunCommand
from schemas.hooks import HookAnswer, HookCall, HookEvent, Said
from tests.contract.hooks.subjects import event

CALL = HookCall(kind="http", connection="c")
NO = HookAnswer(said=Said.NO, reason="frozen")


class Napping:
    """Sleeps at once, and counts."""

    def __init__(self, hook: MemoryHook, then: HookAnswer, after_s: float) -> None:
        self.slept = 0.0
        self._hook, self._then, self._after_s = hook, then, after_s

    async def __call__(self, seconds: float) -> None:
        self.slept += seconds
        if self.slept >= self._after_s:
            self._hook.answers["smoke-test"] = self._then


class Polled(MemoryHook):
    """Answers what it is told, in turn, by how it is asked."""

    def __init__(self, answers: dict[str, list[HookAnswer]]) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.slept = 0.0
        self._answers = answers

    async def call(self, event: HookEvent, run: RunCommand | None = None) -> HookAnswer:
        return self._next("sent")

    async def poll(self, event: HookEvent, at: str) -> HookAnswer:
        assert at == "https://tests.example/jobs/7"
        return self._next("polled")

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def _next(self, how: str) -> HookAnswer:
        self.heard.append(how)
        return self._answers[how].pop(0)


async def run(
    activities: HookActivities, *, waits: bool, heartbeats: list[Any] | None = None
) -> Any:
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_: heartbeats.append(1) if heartbeats is not None else None
    request = CallHook(call=CALL, event=event(), waits=waits)
    return await environment.run(activities.call, request)


async def test_an_answer_is_handed_back() -> None:
    hook = MemoryHook()
    hook.answers["smoke-test"] = NO
    assert await run(HookActivities(lambda _: hook), waits=True) == NO


@pytest.mark.parametrize(("again", "slept"), [(None, 30), (timedelta(seconds=7), 28)])
async def test_later_is_asked_again_with_the_same_event(
    again: timedelta | None, slept: float
) -> None:
    hook = MemoryHook()
    heartbeats: list[int] = []
    hook.answers["smoke-test"] = HookAnswer(said=Said.LATER, ask_again=again)
    nap = Napping(hook, NO, 25)
    assert await run(HookActivities(lambda _: hook, nap), waits=True, heartbeats=heartbeats) == NO
    assert nap.slept == slept
    assert len({one.id for one in hook.calls}) == 1
    assert len(heartbeats) > len(hook.calls)


async def test_it_is_asked_where_it_says_and_sent_again_where_that_is_forgotten() -> None:
    there = HookAnswer(said=Said.LATER, ask_at="https://tests.example/jobs/7")
    forgotten = HookAnswer(said=Said.LATER)
    hook = Polled({"sent": [there, there], "polled": [there, forgotten, NO]})
    assert await run(HookActivities(lambda _: hook, hook.sleep), waits=True) == NO
    assert hook.heard == ["sent", "polled", "polled", "sent", "polled"]
    assert hook.slept == 40


async def test_who_does_not_wait_takes_later_for_an_answer() -> None:
    hook = MemoryHook()
    hook.answers["smoke-test"] = HookAnswer(said=Said.LATER)
    assert (await run(HookActivities(lambda _: hook), waits=False)).said is Said.LATER


async def test_what_can_never_be_asked_is_not_tried_again() -> None:
    hook = MemoryHook()
    hook.failure = Terminal("not installed")
    with pytest.raises(ApplicationError) as found:
        await run(HookActivities(lambda _: hook), waits=True)
    assert found.value.non_retryable
    hook.failure = Retryable("away")
    with pytest.raises(Retryable):
        await run(HookActivities(lambda _: hook), waits=True)


async def test_a_call_ends_with_the_activity() -> None:
    called, ended = asyncio.Event(), asyncio.Event()

    class Slow(MemoryHook):
        async def call(self, event: HookEvent, run: RunCommand | None = None) -> HookAnswer:
            called.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError

    hook, environment = Slow(), ActivityEnvironment()
    request = CallHook(call=CALL, event=event(), waits=True)
    running = asyncio.create_task(environment.run(HookActivities(lambda _: hook).call, request))
    await called.wait()
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
