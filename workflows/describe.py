"""Words for people: causes, refusals and answers. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from temporalio.exceptions import ApplicationError, FailureError, TimeoutError, TimeoutType  # noqa: A004

from schemas.base import format_duration
from schemas.catalog_check import many
from schemas.ids import STOPPED_SHORT
from schemas.outside import TEXT_MOST, cut
from schemas.release import (
    CanaryPhase,
    Cause,
    Command,
    ReleasePhase,
    ReleasePlan,
    ServicePlan,
)
from schemas.strategy import Strategy
from schemas.verdict import Reason, Verdict, VerdictKind
from workflows.commands import CommandKind
from workflows.portion import Portion

_PAST = {
    CommandKind.PAUSE: "paused",
    CommandKind.RESUME: "resumed",
    CommandKind.APPROVE: "approved",
    CommandKind.SKIP: "skipped",
    CommandKind.ROLLBACK: "rolled back",
    CommandKind.KEEP: "kept",
}
_TIMES = {
    TimeoutType.START_TO_CLOSE: "there was no answer in time",
    TimeoutType.HEARTBEAT: "the worker that did it was lost",
    TimeoutType.SCHEDULE_TO_START: "no worker took it",
    TimeoutType.SCHEDULE_TO_CLOSE: "there was no answer in time, or no worker took it",
}
_KINDS = {"Retryable", "Terminal", STOPPED_SHORT}
"""Types of failures that say nothing to a person."""
LAST_FAILURE = "last failure: "
"""Before the reason why a wait has been in vain so far."""
_STEPS = 10
"""Steps that a text spells out."""

NOBODY = "a person, no name given, in the Temporal UI"
"""Who says nothing of himself: the command line and the bridge always give a name."""


def command(kind: CommandKind, said: Command) -> str:
    """`rolled back by ann: too slow`."""
    text = f"{_PAST[kind]} by {said.by or NOBODY}"
    return f"{text}: {said.reason}" if said.reason else text


def failure(error: FailureError) -> str:
    """The innermost message of a failure, which is the one that says what happened."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, TimeoutError) and cause.type in _TIMES:
        return _TIMES[cause.type]
    if isinstance(cause, ApplicationError) and cause.type in _KINDS:
        return cause.message
    return str(cause) or type(cause).__name__


def phase(where: CanaryPhase, step: int | None, steps: int) -> str:
    """`baking step 2 of 4`, `holding`."""
    if step is None or not where.about.has_step:
        return where.words
    return f"{where.words} step {step + 1} of {steps}"


def canary_refusal(
    kind: CommandKind,
    where: CanaryPhase,
    *,
    paused: bool,
    ends_by: Collection[CommandKind] = (),
    at: str,
) -> str | None:
    """Why a command makes no sense to a canary now; None when it does.

    Args:
        kind: of the command.
        where: the canary's phase.
        paused: whether it already is to pause.
        ends_by: commands that end what it waits for, beside those that its phase is known for.
        at: where it is, in words, for the answer.
    """
    if kind in ends_by:
        return None
    if kind is CommandKind.KEEP:
        return f"no rollback waits for a healthy instance; {at}"
    if where.too_late:
        return f"too late: {at}"
    wrong = {
        CommandKind.APPROVE: "" if where.about.ends_by == kind else "no gate is open",
        CommandKind.SKIP: "" if where.about.ends_by == kind else "no bake is running",
        CommandKind.RESUME: "" if paused else "it is not paused",
        CommandKind.PAUSE: "it is paused already" if paused else "",
    }.get(kind)
    return f"{wrong}; {at}" if wrong else None


def time_elapsed(plan: ServicePlan, at: datetime) -> Verdict:
    """The verdict of a bake that has no metrics."""
    return Verdict(
        kind=VerdictKind.PASS,
        reason=Reason.TIME_ELAPSED,
        sentence=f"{plan.service} {plan.version} has no metrics; the bake ended",
        at=at,
    )


def undecided(sentence: str, at: datetime) -> Verdict:
    """The verdict of a ramp that can't go on within its budget or its time."""
    return Verdict(
        kind=VerdictKind.INCONCLUSIVE,
        reason=Reason.NOT_ENOUGH_EVIDENCE,
        sentence=f"{sentence}; the canary has no traffic now, and gets all of it when approved",
        at=at,
    )


def not_judged(plan: ServicePlan, error: FailureError, at: datetime) -> Verdict:
    """The verdict of a bake whose judge said nothing until its end."""
    return Verdict(
        kind=VerdictKind.INCONCLUSIVE,
        reason=Reason.NOT_JUDGED,
        sentence=f"{plan.service} {plan.version} could not be judged: {failure(error)}",
        at=at,
    )


def by_limits(verdict: Verdict, unlike: str) -> Verdict:
    """The verdict, which says so where the canary could not be compared with stable."""
    if not unlike:
        return verdict
    sentence = f"{verdict.sentence}; judged by limits only: {unlike}"
    return verdict.model_copy(update={"sentence": cut(sentence, TEXT_MOST)})


def made_traffic(verdict: Verdict, hooks: Collection[str]) -> Verdict:
    """The verdict, which says so where its requests were made, and were no users'."""
    if not hooks:
        return verdict
    named = f"{'hook' if len(hooks) == 1 else 'hooks'} {', '.join(hooks)}"
    sentence = f"{verdict.sentence}; judged on traffic that {named} made"
    return verdict.model_copy(update={"sentence": cut(sentence, TEXT_MOST)})


def unseen(verdict: Verdict, portion: Portion) -> Verdict:
    """The verdict, which says so where no user saw what it is of."""
    if not portion.apart:
        return verdict
    what = f"{portion.text} of the requests" if portion.copied else "requests that asked for it"
    sentence = f"{verdict.sentence}; judged on {what}"
    return verdict.model_copy(update={"sentence": cut(sentence, TEXT_MOST)})


def canary_summary(plan: ServicePlan, where: CanaryPhase, cause: Cause | None) -> str:
    """How a canary ended: `payments 2.0.1 was rolled back: errors 2 % against 0.1 %`."""
    subject = f"{plan.service} {plan.version}"
    why = cause.text if cause else "told to"
    if where is CanaryPhase.FINALIZED:
        stays = f"stays, though the release went back: {why}"
        return f"{subject} {stays if cause else 'is stable now'}"
    return f"{subject} was rolled back: {why}"


def release_summary(
    plan: ReleasePlan, where: ReleasePhase, cause: Cause | None, took: timedelta
) -> str:
    """A release in one sentence: `Rolled back after 9m: payments 2.0.1: errors 2 % against …`."""
    words = where.words.capitalize()
    why = f": {cause.text}" if cause else f": {many(len(plan.services), 'service')}"
    after = f" after {format_duration(rounded(took))}" if where.closed else ""
    return f"{words}{after}{why}"


def rounded(length: timedelta) -> timedelta:
    """Seconds are enough for people."""
    return timedelta(seconds=max(1, round(length.total_seconds())))


def steps(strategy: Strategy) -> str:
    """`10 % → 50 % (gate) → 100 %`."""
    if strategy.ramp is not None:
        return "as far as the budget of failures allows"
    words = [f"{step.text}{' (gate)' if step.gate else ''}" for step in strategy.full_steps]
    more = [f"… {len(words) - _STEPS} more"] if len(words) > _STEPS else []
    return " → ".join(words[:_STEPS] + more)
