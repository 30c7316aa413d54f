"""Words for people: causes, answers, and the page the Temporal UI shows of a workflow. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from temporalio.exceptions import FailureError

from schemas.release import (
    CanaryInput,
    CanaryPhase,
    CanaryReport,
    Command,
    ReleaseStatus,
    ServicePlan,
    ServiceStatus,
)
from schemas.verdict import Reason, Verdict, VerdictKind
from workflows.commands import Word
from workflows.queueing import Line

_PAST = {
    Word.PAUSE: "paused",
    Word.RESUME: "resumed",
    Word.APPROVE: "approved",
    Word.SKIP: "skipped the bake",
    Word.ROLLBACK: "rolled back",
}
_ROWS = 20
_NAMED = 4
"""Bounds of the page of the admission, which the UI carries in an address."""
_NO_WAY_BACK = {CanaryPhase.FINALIZING, CanaryPhase.FINALIZED}
_GOING_BACK = {
    CanaryPhase.ROLLING_BACK,
    CanaryPhase.STUCK,
    CanaryPhase.VERIFYING,
    CanaryPhase.ROLLED_BACK,
}


def command(word: Word, said: Command) -> str:
    """`rolled back by ann: too slow`."""
    text = _PAST[word]
    if said.by:
        text += f" by {said.by}"
    return f"{text}: {said.reason}" if said.reason else text


def failure(error: FailureError) -> str:
    """The innermost message of a failure, which is the one that says what happened."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause) or type(cause).__name__


def phase(where: CanaryPhase, step: int | None, steps: int) -> str:
    """`baking step 2 of 4`, `holding`."""
    words = where.value.replace("_", " ")
    if step is None or where not in {
        CanaryPhase.SHIFTING,
        CanaryPhase.BAKING,
        CanaryPhase.GATED,
        CanaryPhase.PAUSED,
    }:
        return words
    return f"{words} step {step + 1} of {steps}"


def canary_refusal(word: Word, where: CanaryPhase, *, paused: bool, at: str) -> str | None:
    """Why a command makes no sense to a canary now; None when it does.

    Args:
        word: the command.
        where: the canary's phase.
        paused: whether it already is to pause.
        at: where it is, in words, for the answer.
    """
    if where in _NO_WAY_BACK | _GOING_BACK:
        return f"too late: {at}"
    if word is Word.APPROVE and where is not CanaryPhase.GATED:
        return f"no gate is open; {at}"
    if word is Word.SKIP and where is not CanaryPhase.BAKING:
        return f"no bake is running; {at}"
    if word is Word.RESUME and not paused:
        return f"it is not paused; {at}"
    if word is Word.PAUSE and paused:
        return f"it is paused already; {at}"
    return None


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


def canary(start: CanaryInput, report: CanaryReport) -> str:
    """The page of a canary, in Markdown."""
    plan = start.plan
    where = phase(report.phase, report.step, report.steps)
    beside = f"**{plan.service} {plan.version}** beside {report.stable or 'stable'}"
    page = f"/namespaces/{{namespace}}/workflows/release%2F{start.release}"
    lines = [
        f"{beside}: **{where}** at {report.weight:g} %",
        "",
        f"Release [{start.release}]({page})",
    ]
    lines += _why(report.waits_for, report.verdict.sentence if report.verdict else "")
    if report.cause is not None:
        lines += ["", f"Goes back because: {report.cause.text}"]
    return "\n".join([*lines, "", _actions(report.phase)])


def release(status: ReleaseStatus) -> str:
    """The page of a release, in Markdown."""
    lines = [
        f"**Release {status.release}: {status.phase.value.replace('_', ' ')}**"
        + (" (paused)" if status.paused else ""),
        "",
    ]
    if status.waits_for:
        lines += [f"Waits for {status.waits_for}.", ""]
    if status.cause is not None:
        lines += [f"Goes back because: {status.cause.text}", ""]
    lines += _table(status.services)
    if not status.phase.closed:
        lines += ["", "You may: pause, resume, approve, skip, rollback (updates of these names)."]
    return "\n".join(lines)


def admission(line: Line) -> str:
    """The page of the admission, in Markdown."""
    rows = [("has", entry) for entry in line.holding.values()]
    rows += [("waits for", entry) for entry in line.in_order()]
    shown = [
        f"| [{entry.release}](/namespaces/{{namespace}}/workflows/release%2F{entry.release}) "
        f"| {does} | {_short(entry.services)} |"
        for does, entry in rows[:_ROWS]
    ]
    more = [f"| and {len(rows) - _ROWS} more | | |"] if len(rows) > _ROWS else []
    counts = f"**{len(line.holding)} releases have services, {len(line.waiting)} wait.**"
    return "\n".join([counts, "", "| release | | services |", "|---|---|---|", *shown, *more])


def _short(services: Sequence[str]) -> str:
    more = len(services) - _NAMED
    return ", ".join(services[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def summary(release_id: str, services: Sequence[ServiceStatus]) -> str:
    """One line: `shop-42: checkout 1.4.2, payments 2.0.1`."""
    return f"{release_id}: " + ", ".join(f"{one.service} {one.version}" for one in services)


def _table(services: Sequence[ServiceStatus]) -> list[str]:
    rows = ["| service | version | state | weight | why |", "|---|---|---|---|---|"]
    for one in services:
        why = one.cause.text if one.cause else one.waits_for
        if not why and one.verdict is not None:
            why = one.verdict.sentence
        link = f"[{one.service}](/namespaces/{{namespace}}/workflows/canary%2F{one.service})"
        rows.append(
            f"| {link} | {one.version} | {phase(one.phase, one.step, one.steps)} "
            f"| {one.weight:g} % | {why.replace('|', '/')} |"
        )
    return rows


def _why(waits_for: str, sentence: str) -> list[str]:
    lines = []
    if waits_for:
        lines += ["", f"Waits for {waits_for}."]
    if sentence:
        lines += ["", f"Last verdict: {sentence}"]
    return lines


def _actions(where: CanaryPhase) -> str:
    if where in _NO_WAY_BACK | _GOING_BACK:
        return "Nothing is left to decide."
    words = ["pause", "rollback"]
    if where is CanaryPhase.GATED:
        words.insert(0, "approve")
    if where is CanaryPhase.BAKING:
        words.insert(0, "skip")
    if where is CanaryPhase.PAUSED:
        words.insert(0, "resume")
    return f"You may: {', '.join(words)} (updates of these names)."
