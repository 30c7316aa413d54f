"""What a canary has heard and decided: the state that its plan goes by, and a record of each."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.decisions import DECISIONS_MOST, DecisionRecord, Did, Heard, heard_as
    from schemas.release import CanaryInput, Cause
    from workflows import canary_plan
    from workflows.canary_plan import Action, End, Interrupt, State
    from workflows.outbox import Reports
    from workflows.outcomes import Failed, Outcome
    from workflows.reset import resets
    from workflows.traffic import Traffic


def first_state(start: CanaryInput) -> State:
    """Where a canary begins: at its beginning, or where an earlier run of it was."""
    stages, before = start.plan.stages, start.resume
    if start.promote:
        return canary_plan.promoting(stages)
    if start.restore is not None:
        return canary_plan.restoring(stages, start.restore)
    if before is None:
        return State(stages)
    return State(
        stages,
        at=before.at,
        touched=frozenset(before.touched),
        cause=before.cause,
        finalize=before.finalize,
        pause=before.pause,
        go_on=before.go_on,
        alerted=before.alerted,
    )


class Decisions:
    """The state of one canary, and every change of it.

    Args:
        start: what it was started with.
        traffic: its route, as far as it is known.
        reports: whether its release hears it.
    """

    def __init__(self, start: CanaryInput, traffic: Traffic, reports: Reports) -> None:
        self._state = first_state(start)
        self._traffic = traffic
        self._reports = reports
        self._records = deque(start.resume.decisions if start.resume else (), DECISIONS_MOST)
        self._facts: tuple[bool, ...] = ()

    # --- what is next ---

    def now(self) -> State:
        """The state, with what the route and Temporal tell by now."""
        traffic = self._traffic
        facts = (
            traffic.route is not None,
            traffic.unchanged,
            traffic.first,
            traffic.began_at is not None,
            self._reports.orphaned,
            resets() > 0,
        )
        if facts != self._facts:
            self._facts = facts
            routed, unchanged, first, begun, orphaned, reset = facts
            self._state = replace(
                self._state,
                routed=routed,
                unchanged=unchanged,
                first=first,
                begun=begun,
                orphaned=orphaned,
                reset=reset,
            )
        return self._state

    def next_action(self) -> Action | End | Interrupt | None:
        """What is to be done now."""
        return canary_plan.next_action(self.now())

    @property
    def goes_on(self) -> bool:
        """Whether what is under way is still what is to be done."""
        return canary_plan.goes_on(self.now())

    # --- what was done ---

    def begin(self, action: Action) -> None:
        """An action is begun."""
        self._state = canary_plan.began(self.now(), action)

    def touch(self) -> bool:
        """The stage that is under way is about to have its effect; whether for the first time."""
        before = self.now().touched
        self._state = canary_plan.touches(self._state)
        return self._state.touched != before

    def untouch(self) -> None:
        """It was refused its effect."""
        self._state = canary_plan.untouched(self.now())

    def asked(self) -> None:
        """Preflight asks what fires."""
        self._state = canary_plan.asked(self.now())

    def end(self, outcome: Outcome) -> None:
        """What was under way has ended."""
        if isinstance(outcome, Failed):
            self.trouble(outcome.cause)
        self._state = canary_plan.ended(self.now(), outcome)

    def release_decided(self, *, final: bool) -> None:
        """What the release had decided, that no longer is there."""
        self._state = canary_plan.release_decided(self.now(), final=final)
        text = "the release is gone; it had begun to finalize" if final else "the release is gone"
        self._note(Heard.ORDER, Did.FORWARD if final else Did.BACK, text)

    def explain(self, more: str) -> None:
        """Say more of why it goes back."""
        cause = self._state.cause
        if cause is not None:
            text = f"{cause.text}; {more}"
            self._state = replace(self._state, cause=cause.model_copy(update={"text": text}))

    # --- what was heard ---

    def trouble(
        self,
        cause: Cause,
        *,
        name: str = "",
        identity: str = "",
        ranked: tuple[str, ...] = (),
    ) -> Did:
        """A cause to go back, other than the release's order."""
        self._state, did = canary_plan.trouble(self.now(), cause)
        self._note(
            heard_as(cause.kind),
            did,
            cause.text,
            name=name,
            by=cause.by,
            identity=identity,
            ranked=ranked,
        )
        return did

    def ordered_back(self, cause: Cause) -> None:
        """The release's order to go back."""
        self._state, did = canary_plan.ordered_back(self.now(), cause)
        if did is not Did.KNOWN:  # it orders each that it was told by as well
            self._note(Heard.ORDER, did, cause.text)

    def ordered_final(self) -> None:
        """The release's order to become stable."""
        self._state, did = canary_plan.ordered_final(self.now())
        self._note(Heard.ORDER, did, "all services of the release hold")

    def let_on(self, point: int) -> None:
        """All of its group have come to a point."""
        self._state = canary_plan.let_on(self.now(), point)

    def waits_anew(self) -> None:
        """It comes to a point of its group."""
        self._state = canary_plan.waits_anew(self.now())

    def alerted(self) -> None:
        """An alert came."""
        self._state = canary_plan.alerted(self.now())

    def pause(self, why: str | None) -> None:
        """Paused, or resumed with None."""
        self._state = canary_plan.paused(self.now(), why)

    def foreign_change(self, what: str) -> None:
        """Somebody else has changed the route: a person decides whether it is written over."""
        known = self.now().pause is not None
        if not known:
            self.pause(f"{what}; going on writes over that")
        self._note(Heard.FOREIGN_CHANGE, Did.KNOWN if known else Did.PAUSED, what)

    def overruled(self, what: str) -> None:
        """Somebody else had changed the route, past the point of no return: it is written over."""
        self._note(Heard.FOREIGN_CHANGE, Did.OVERRULED, what)

    def keep(self, why: str) -> None:
        """A person keeps the version that went back."""
        self._state = canary_plan.kept(self.now(), why)

    # --- the record ---

    @property
    def records(self) -> tuple[DecisionRecord, ...]:
        """The newest decisions, oldest first."""
        return tuple(self._records)

    def note(self, record: DecisionRecord) -> None:
        """Record what was decided elsewhere."""
        number = self._records[-1].number + 1 if self._records else 0
        self._records.append(record.model_copy(update={"number": number}))

    def _note(self, heard: Heard, did: Did, text: str, **more: Any) -> None:
        self.note(DecisionRecord(at=workflow.now(), heard=heard, did=did, text=text, **more))
