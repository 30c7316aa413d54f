"""The calls of hooks that a canary makes: what is known of each, and asking one to its end.

Here belongs what becomes of a call: answered at once, later, or not at all. Which hook is called
when, and what a no does, does not (`workflows/hooks.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError
from temporalio.exceptions import TimeoutError as TimeoutFailure

with workflow.unsafe.imports_passed_through():
    from activities.hooks import HOOK_POLICY, CallHook
    from schemas.base import format_duration
    from schemas.hooks import (
        AskedHook,
        Hook,
        HookAnswer,
        HookEvent,
        LateAnswer,
        NotTaken,
        RunsBeside,
        Said,
        Untaken,
    )
    from schemas.needs import held_against
    from schemas.outside import cut
    from schemas.release import HookState
    from workflows import describe
    from workflows.calls import Call, Calls, Stop, failure_of, until_done
    from workflows.outcomes import Again, Stopped
    from workflows.trying import TellFailure, only_out_of_attempts, rounds

_KEPT: Final = 60
"""Calls that a canary remembers: those of one stage, and some."""
_REASON_MOST: Final = 500
_AGAIN: Final = Again()


@dataclass(frozen=True)
class Answered:
    """What a hook said, in words; no answer in time is a no."""

    hook: Hook
    yes: bool
    text: str


class CallBook:
    """What a canary knows of its calls, each by its id.

    Args:
        known: from another run of it.
    """

    def __init__(self, known: Iterable[HookState]) -> None:
        self._known = {one.id: one for one in known}
        self._by: dict[str, Asking] = {}

    @property
    def states(self) -> tuple[HookState, ...]:
        """What another run of this canary has to know."""
        return tuple(self._known.values())[-_KEPT:]

    @property
    def asked(self) -> tuple[AskedHook, ...]:
        """The calls that ask, as they are shown."""
        return tuple(one.asked for one in self.states if one.moment.asks)

    def begun(self, call: HookState) -> HookState:
        """The call as it was first made: the same in every run."""
        return self._known.setdefault(call.id, call)

    def awaited(self, call: str, by: Asking) -> None:
        """An answer is waited for, anew where the stage is done again."""
        self._by[call] = by
        self._known[call] = self._known[call].model_copy(update={"over": ""})

    def answer(self, call: str) -> HookAnswer | None:
        """Its answer; None while there is none."""
        return self._known[call].answer

    def keep(self, call: str, answer: HookAnswer) -> None:
        """It is answered."""
        if answer.said is Said.LATER:
            raise RuntimeError("an answer that is waited for came as later")
        self._known[call] = self._known[call].model_copy(update={"answer": answer.short})

    def close(self, call: str, why: str, by: Asking) -> None:
        """Nobody waits for its answer any more, unless somebody else does by now."""
        if self._by.get(call) is by:
            self._known[call] = self._known[call].model_copy(update={"over": why})

    def refuses(self, late: LateAnswer) -> Untaken | None:
        """Why an answer that comes later is not taken; None where it is."""
        known = self._known.get(late.id)
        if known is None or not known.moment.asks:
            text = "no hook of this canary waits for such an answer"
            return Untaken(why=NotTaken.UNKNOWN, text=text)
        if known.answer is not None:
            alike = known.answer.said == late.verdict
            return Untaken(
                why=NotTaken.ALIKE if alike else NotTaken.OTHERWISE,
                text=f"hook {known.hook} has answered already: {known.answer.said}",
            )
        if known.over:
            return Untaken(why=NotTaken.TOO_LATE, text=f"too late: {known.over}")
        return None


@dataclass(frozen=True, kw_only=True)
class Asking:
    """One hook, asked to its end.

    Args:
        hook: which.
        event: what it is sent, each time.
        beside: the version that its command runs with, where it is one.
        calls: makes the calls.
        book: knows the call, and hears an answer that comes later.
        stop: ends the wait, and the call.
        unless: makes the answer unneeded.
        told: hears why it is not answered, while it is called again.
    """

    hook: Hook
    event: HookEvent
    beside: RunsBeside | None
    calls: Calls
    book: CallBook
    stop: Stop
    unless: Callable[[], bool]
    told: TellFailure

    async def end(self) -> Answered | Stopped | None:
        """The answer; what stopped the wait; None when it became unneeded."""
        self.book.awaited(self.event.id, self)
        failures, why = 0, ""
        for retry in rounds(HOOK_POLICY.retry):
            if (known := self.book.answer(self.event.id)) is not None:
                return self._said(known)
            left = self.event.data.answer_by - workflow.now()
            if left <= timedelta(0):
                return self._silent(format_duration(self.hook.deadline), why)
            again = replace(retry, maximum_attempts=self._attempts(retry, failures))
            ended = await self._call(again, left)
            if not isinstance(ended, FailureError):
                if isinstance(ended, Again):
                    continue
                return ended
            if not (why and isinstance(ended.cause, TimeoutFailure)):  # which says less
                why = describe.failure(ended)
            failures += again.maximum_attempts
            if (over := self._over(ended, failures)) is not None:
                return self._silent(over, why)
            self.told(why)
        raise AssertionError("rounds has no end")

    async def _call(
        self, retry: RetryPolicy, within: timedelta
    ) -> FailureError | Again | Stopped | None:
        """Call once more, until it is answered: by the call, or by an answer that comes later.

        Returns:
            Why it failed; that it is answered; what stopped the wait; None when it became unneeded.
        """
        request = CallHook(call=self.hook.call, event=self.event, beside=self.beside, waits=True)
        summary = f"{self.event.subject}: hook {self.hook.name}"
        handle = self.calls.start(Call.CALL_HOOK, request, summary, retry=retry, within=within)
        stopped = await until_done(handle, self.stop, lambda: self.unless() or self._answered)
        if not handle.done():
            handle.cancel()
            if self._answered:
                return _AGAIN
            if stopped is None:
                why = f"nobody waits for hook {self.hook.name} any more"
                self.book.close(self.event.id, why, self)
            return stopped
        error = failure_of(handle)
        if error is None:
            self.told("")
            if not self._answered:
                self.book.keep(self.event.id, self._meant(handle.result()))
            return _AGAIN
        return error

    def _meant(self, answer: HookAnswer) -> HookAnswer:
        """The answer, or the no that it is where something is needed that is not there."""
        data = self.event.data
        if not data.needs:
            return answer
        return held_against(answer, data.hook, data.needs, data.version, data.stable)

    @property
    def _answered(self) -> bool:
        return self.book.answer(self.event.id) is not None

    def _attempts(self, retry: RetryPolicy, failures: int) -> int:
        most = self.hook.retries
        attempts = retry.maximum_attempts
        return attempts if most is None else min(attempts, most + 1 - failures)

    def _over(self, error: FailureError, failures: int) -> str | None:
        """How much it was given, where it is not called again."""
        most = self.hook.retries
        if most is not None and failures > most:
            return f"{most} retries"
        return None if only_out_of_attempts(error) else format_duration(self.hook.deadline)

    def _said(self, answer: HookAnswer) -> Answered:
        reason = f": {cut(answer.reason, _REASON_MOST)}" if answer.reason else ""
        text = f"hook {self.hook.name} said {answer.said}{reason}"
        return Answered(self.hook, answer.said is Said.YES, text)

    def _silent(self, given: str, why: str) -> Answered:
        self.told("")
        reason = f": {cut(why, _REASON_MOST)}" if why else ""
        text = f"hook {self.hook.name} gave no answer in {given}"
        self.book.close(self.event.id, text, self)
        return Answered(self.hook, yes=False, text=text + reason)
