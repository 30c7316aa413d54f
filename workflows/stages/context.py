"""What a stage is given: the canary's plan and parts, and waits that end when it is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.hooks import Hook, HookMoment
    from schemas.release import CanaryInput, CanaryPhase
    from schemas.strategy import Bake, OnInconclusive
    from schemas.verdict import Reason, Verdict
    from workflows.alerts import SeenAlerts
    from workflows.blaming import Blaming, over_limit
    from workflows.calls import Call, Calls, Stop, not_yet
    from workflows.canary_reporter import CanaryReporter
    from workflows.commands import CommandKind
    from workflows.decisions import Decisions
    from workflows.hooks import Beside, Hooks
    from workflows.instances import Instances
    from workflows.judging import Judging, Stops
    from workflows.outcomes import DONE, INTERRUPTED, TOO_LONG, Done, Failed, Outcome, Stopped
    from workflows.stable_size import StableSize
    from workflows.traffic import Traffic


SOON: Final = timedelta(seconds=5)
"""A wait that ends within it is not judged in."""
SPARED: Final = timedelta(seconds=30)
"""After a limit was crossed by somebody else's doing, when it is judged again."""


@dataclass
class Answers:
    """What people said to the stage that waits for it; forgotten once it was obeyed."""

    approved: bool = False
    skip: bool = False
    asks_alerts: bool = False
    """Preflight asks: both words let the version begin, whatever fires."""
    let_by: bool = False
    overrule: bool = False
    """What somebody else has changed of the route was told: going on writes over it."""
    begin: bool = False
    """Its turn has come, where it was begun ahead of it; kept."""
    doubt: str | None = None
    """Why the gate that follows asks a person: an inconclusive bake, or a hook's no."""

    def add_doubt(self, text: str) -> None:
        """One more reason to ask a person."""
        self.doubt = text if self.doubt is None else f"{self.doubt}; {text}"


@dataclass(frozen=True)
class Context:
    """One canary, as its stages see it."""

    start: CanaryInput
    calls: Calls
    traffic: Traffic
    instances: Instances
    stable: StableSize
    judging: Judging
    decisions: Decisions
    reporter: CanaryReporter
    alerts: SeenAlerts
    hooks: Hooks
    blaming: Blaming
    answers: Answers

    # --- whether it goes on ---

    def halt(self) -> Stopped | None:
        """What stops a write: something else is to be done."""
        return None if self.decisions.goes_on else INTERRUPTED

    def stop(self) -> Stopped | None:
        """What stops a wait: likewise, or a history that is too long."""
        if not self.decisions.goes_on:
            return INTERRUPTED
        return TOO_LONG if workflow.info().is_continue_as_new_suggested() else None

    # --- waits ---

    async def until(
        self, condition: Callable[[], bool], stop: Stop | None = None
    ) -> Stopped | None:
        """Wait for a condition; what stopped the wait, if it did."""
        ends = stop or self.stop
        await workflow.wait_condition(lambda: condition() or ends() is not None)
        return None if condition() else ends()

    async def call(
        self,
        call: Call,
        request: Any,
        summary: str,
        *,
        unless: Callable[[], bool] = not_yet,
    ) -> Any:
        """Call an activity, as `Calls.make` does; it is cancelled when the stage is to stop."""
        return await self.calls.make(call, request, summary, stop=self.stop, unless=unless)

    async def judge(
        self,
        bake: Bake | None,
        until: Callable[[], bool],
        *,
        exposure: float = 1.0,
        compare: str = "",
    ) -> Verdict | Stopped | None:
        """Judge, as `Judging.judge` does.

        Where somebody else has changed the route a person is asked, and what is judged then is not
        the weight any more, until it is written again. Where a limit that was crossed is another
        release's doing, or nobody knows whose, it is judged again a little later.
        """
        stops = Stops(stop=self.stop, halt=self.halt, until=until)
        known = self.answers.overrule
        while True:
            before = self.judging.evidence
            answer = await self.judging.judge(
                bake, stops, exposure=exposure, overruled=known, compare=compare
            )
            if not isinstance(answer, Failed):
                break
            answer = await self._blamed(answer)
            if answer is not None:
                return answer
            self.judging.evidence = before  # which has not crossed the limit
            try:
                await workflow.wait_condition(
                    lambda: until() or self.stop() is not None,
                    timeout=SPARED,
                    timeout_summary="until it is judged again",
                )
            except TimeoutError:
                continue
            return None if until() else self.stop()
        if not isinstance(answer, Verdict) or answer.reason is not Reason.FOREIGN_CHANGE:
            return answer
        self.answers.overrule = True
        self.decisions.foreign_change(answer.sentence)
        self.reporter.tell()
        return None

    async def _blamed(self, failed: Failed) -> Stopped | None:
        """Ask whose doing a verdict is; None: it is spared. What else is to be done, is at once."""
        if not over_limit(failed.cause.verdict, self.start.plan):
            return failed
        asking = asyncio.create_task(self.blaming.over_limit(failed.cause))
        await workflow.wait_condition(lambda: asking.done() or self.halt() is not None)
        if not asking.done():
            asking.cancel()
            return self.halt()
        cause = asking.result()
        return None if cause is None else Failed(cause)

    async def watch(self, until: Callable[[], bool]) -> Stopped | None:
        """Wait until told, and judge what has traffic meanwhile."""
        while True:
            answer = await self.judge(None, until)
            if isinstance(answer, Stopped):
                return answer
            if until():
                return None

    async def watch_soon(self, until: Callable[[], bool]) -> Stopped | None:
        """The same; what takes no longer than `SOON` costs no judge."""
        if self.judging.watched and not until():
            try:
                await workflow.wait_condition(
                    lambda: until() or self.stop() is not None,
                    timeout=SOON,
                    timeout_summary="until it is judged meanwhile",
                )
            except TimeoutError:
                pass
            else:
                return None if until() else self.stop()
        return None if until() else await self.watch(until)

    # --- what is said and written ---

    def enter(
        self,
        phase: CanaryPhase,
        waits_for: str = "",
        *,
        by_judge: bool = False,
        show_later: bool = False,
        ends_by: tuple[CommandKind, ...] = (),
    ) -> None:
        """Enter a phase, as `CanaryReporter.enter` does."""
        self.reporter.enter(
            phase, waits_for, by_judge=by_judge, show_later=show_later, ends_by=ends_by
        )

    def undecided(self, verdict: Verdict, then: OnInconclusive) -> Outcome:
        """Never on by silence: back, or the gate that follows asks a person."""
        if then is OnInconclusive.ROLL_BACK:
            return Failed(self.judging.cause(verdict))
        self.answers.add_doubt(verdict.sentence)
        return DONE

    def beside(
        self,
        called: Sequence[Hook],
        place: tuple[HookMoment, int | None],
        doubt: Callable[[str], None],
    ) -> Beside:
        """Call hooks beside what the stage does; see `Beside`."""
        return Beside(self.hooks, called, place, self.stop, doubt)


@dataclass(frozen=True)
class StageKind:
    """How a kind of stage is done and undone."""

    do: Callable[[Context, Any], Awaitable[Outcome]]
    calls: frozenset[Call]
    """What it calls, forward and back."""
    most_events: int
    """Of the canary's history, when it is done once and nothing goes wrong."""
    undo: Callable[[Context], Awaitable[Done]] | None = None
    ends_by: tuple[CommandKind, ...] = ()
    """What a person may say to end its wait."""
