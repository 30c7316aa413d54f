"""Alerts and limits that may be the doing of several releases: whose, asked soon, or never mind.

What is asked stands in no way: the answer comes within the time that the catalog allows, or the
alert does what it would have done without. Meanwhile the canary goes no further.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.blame import AskBlame
    from schemas.alert import Alert
    from schemas.blame import Accusation, Blame
    from schemas.fitting import fitted
    from schemas.ids import SIGNAL_ACCUSED, canary_workflow_id, watch_workflow_id
    from schemas.outside import NAME_MOST, TEXT_MOST, cut
    from schemas.release import CAUSE_ALERT_BYTES, CanaryState, Cause, ServicePlan
    from schemas.verdict import Reason, Verdict
    from workflows.alerts import Decision, dependent_of
    from workflows.calls import Call, Calls, failure_of, never, until_done
    from workflows.cell import here
    from workflows.decisions import Decisions

AGAIN: Final = (timedelta(minutes=1),)
"""After an answer by which it pauses, when it is asked again, as long as the alert lasts. What
later answers are worth is not measured."""
_QUIET: Final = timedelta(minutes=2)
"""How long no limit has to be crossed, beyond what a check takes, until a victim goes on."""
_LIMIT: Final = "limit"
"""What stands for the limit among alerts that it is a victim of."""
_STAYS: Final = timedelta(minutes=1)
"""How long an answer is one for other alerts on the same service."""
_AT_ONCE: Final = 4
"""Questions that are under way; further alerts do what they do without an answer."""
_REMEMBERED: Final = 20


def symptom_of(alert: Alert, plan: ServicePlan) -> str:
    """The service that an alert is about."""
    return dependent_of(alert, plan) or plan.service


def may_ask(decided: Decision, plan: ServicePlan) -> bool:
    """Whether evidence about other releases may change what an alert does."""
    return decided.blamable and asks(plan)


def over_limit(verdict: Verdict | None, plan: ServicePlan) -> bool:
    """Whether a verdict may be another release's doing.

    One that holds a version against its stable one is evidence itself: what another release does
    befalls both.
    """
    return verdict is not None and verdict.reason is Reason.OVER_LIMIT and asks(plan)


def asks(plan: ServicePlan) -> bool:
    """Whether there may be other suspects, and the catalog has them looked for."""
    return plan.has_neighbours and plan.alerts.blame_within > timedelta(0)


def question(release: str, symptom: str, since: datetime, plan: ServicePlan) -> AskBlame:
    """What is asked.

    A release whose own service is not well, and that is alone, goes back at once. One that is only
    called by what alerts would pause: there it is worth asking whether it is its doing at all.

    Args:
        release: who asks.
        symptom: the service that is not well.
        since: when that began, as far as is known.
        plan: of the service that asks.
    """
    return AskBlame(
        release=release,
        even_alone=symptom != plan.service,
        symptom=symptom,
        within=plan.alerts.blame_within,
        since=since,
    )


def told(blame: Blame) -> tuple[str, ...]:
    """The ranked releases, each in a sentence with its chance."""
    return tuple(f"{one.release}, {100 * one.chance:.3g} %: {one.text}" for one in blame.ranked)


@dataclass(frozen=True)
class BlameEvents:
    """What a canary does with an answer."""

    as_decided: Callable[[Alert, Decision], None]
    """What the alert does without one."""
    back: Callable[[Alert, str, tuple[str, ...]], None]
    """It is the culprit."""
    pause: Callable[[Alert | None, str, tuple[str, ...]], None]
    """It is not, or nobody knows. Without an alert, it is a limit that was crossed."""
    resume: Callable[[str], None]
    """The symptom has ended, of which it was a victim."""


class Blaming:
    """What one canary asks of the alerts that it hears, and what became of each.

    Args:
        release: its own.
        plan: of its service.
        calls: makes the calls.
        decisions: whether it is paused, and why.
        events: what is done with an answer.
        resume: of the run before.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the canary's parts
        self,
        release: str,
        plan: ServicePlan,
        calls: Calls,
        decisions: Decisions,
        events: BlameEvents,
        resume: CanaryState | None,
    ) -> None:
        self._release = release
        self._plan = plan
        self._calls = calls
        self._decisions = decisions
        self._events = events
        self._asked: dict[str, asyncio.Task[Blame | None]] = {}
        """Questions that are under way, by the service that alerts."""
        self._known: dict[str, tuple[datetime, Blame]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._acting = 0
        """Alerts of which what an answer means is not done yet."""
        self._ended: dict[str, None] = {}
        self._quiet_at: datetime | None = None
        """Until when no limit has to be crossed, for a victim of that to go on."""
        self._looks: str | None = None
        """What a pause says while an answer is waited for."""
        self.victim_of = dict.fromkeys(resume.victim_of if resume else ())
        """Alerts that it pauses for, and goes on after."""
        self.victim_pause = resume.victim_pause if resume else None
        """What that pause says."""

    @property
    def pauses(self) -> tuple[str, ...]:
        """What pauses of its own say, which a newer one may replace."""
        return tuple(one for one in (self._looks, self.victim_pause) if one is not None)

    @property
    def asking(self) -> bool:
        """Whether an answer is waited for, or acted upon."""
        return bool(self._asked or self._acting)

    def take(self, alert: Alert, decided: Decision) -> bool:
        """Ask whose doing an alert is; False where it does what it does without an answer."""
        symptom = symptom_of(alert, self._plan)
        busy = symptom not in self._asked and len(self._asked) >= _AT_ONCE
        if not may_ask(decided, self._plan) or busy:
            return False
        if self._decisions.now().pause is None:
            self._looks = cut(f"{decided.what}: it is looked into whose doing it is", TEXT_MOST)
            self._decisions.pause(self._looks)
        task = asyncio.create_task(self._see_to(alert, decided, symptom))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def over_limit(self, cause: Cause) -> Cause | None:
        """Ask whose doing it is that a limit was crossed.

        Args:
            cause: the verdict that it was.

        Returns:
            Why it goes back: also where nobody can tell in time, or asking breaks. None: it pauses
            and is judged on.
        """
        if self._decisions.now().pause is None:
            self._looks = cut(f"{cause.text}: it is looked into whose doing it is", TEXT_MOST)
            self._decisions.pause(self._looks)
        self._acting += 1
        try:
            return await self._limit(cause)
        except Exception:  # noqa: BLE001 - a bug here must not cost the verdict
            workflow.logger.exception("nobody is blamed")
            return cause
        finally:
            self._acting -= 1

    async def _limit(self, cause: Cause) -> Cause | None:
        blame = await self._answer(self._plan.service, cause.at)
        if blame is None or blame.alone or not blame.known:
            return cause
        if blame.culprit == self._release:
            return cause.model_copy(update={"text": cut(f"{cause.text}; {blame.text}", TEXT_MOST)})
        if blame.culprit is None:
            self.victim_of.pop(_LIMIT, None)
            text = f"{cause.text}; it pauses: {blame.text}; a person decides"
        else:
            told_it = await accuse(blame, None, self._plan.service)
            known = _LIMIT in self.victim_of and self._pauses_for_blame
            self.victim_of[_LIMIT] = None
            self.go_on_when_quiet()
            if known:
                return None
            to_do = "goes on when no limit is crossed any more" + _revert(blame, told_it=told_it)
            text = f"{cause.text}; it pauses as a victim, and {to_do}; {blame.text}"
        self._pause(None, cut(text, TEXT_MOST), blame)
        return None

    def go_on_when_quiet(self) -> None:
        """Have a victim of a limit go on some time later, unless it is crossed again meanwhile."""
        if _LIMIT not in self.victim_of:
            return
        waits = self._quiet_at is not None
        limits = self._plan.judge.threshold
        self._quiet_at = workflow.now() + _QUIET + limits.window * limits.checks
        if not waits:
            task = asyncio.create_task(self._wait_for_quiet())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _wait_for_quiet(self) -> None:
        while self._quiet_at is not None:
            left = self._quiet_at - workflow.now()
            if left <= timedelta(0):
                break
            await workflow.sleep(left, summary="until no limit was crossed for long enough")
        self._quiet_at = None
        was = _LIMIT in self.victim_of
        self.victim_of.pop(_LIMIT, None)
        if was and not self.victim_of and self._pauses_for_blame:
            self.victim_pause = None
            self._events.resume("no limit is crossed any more: it goes on")

    def ended(self, alert: Alert) -> None:
        """An alert has ended: a victim of it goes on."""
        occurrence = cut(alert.occurrence, NAME_MOST)
        self._ended[occurrence] = None
        while len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]
        if occurrence not in self.victim_of:
            return
        del self.victim_of[occurrence]
        pause = self._decisions.now().pause
        if not self.victim_of and pause is not None and pause == self.victim_pause:
            self.victim_pause = None
            self._events.resume(f"alert {alert.name} ended, of which it was a victim: it goes on")

    # --- one alert ---

    async def _see_to(self, alert: Alert, decided: Decision, symptom: str) -> None:
        """Ask, and act; whatever goes wrong with that, the alert does what it does without."""
        try:
            await self._look_into(alert, decided, symptom)
        except Exception:  # noqa: BLE001 - a bug here must not cost the alert
            self._events.as_decided(alert, decided)
            workflow.logger.exception("nobody is blamed")

    async def _look_into(self, alert: Alert, decided: Decision, symptom: str) -> None:
        blame = await self._answer(symptom, alert.starts_at)
        if blame is None or blame.alone or not blame.known:
            self._events.as_decided(alert, decided)
            return
        occurrence = cut(alert.occurrence, NAME_MOST)
        for pause in AGAIN:
            if await self._settled(alert, decided, blame, occurrence):
                return
            await workflow.sleep(pause, summary=f"alert {cut(alert.name, NAME_MOST)} lasts")
            if occurrence in self._ended or not self._pauses_for_blame:
                return
            blame = await self._answer(symptom, alert.starts_at) or blame
        await self._settled(alert, decided, blame, occurrence)

    async def _settled(
        self, alert: Alert, decided: Decision, blame: Blame, occurrence: str
    ) -> bool:
        self._acting += 1
        try:
            return await self._act(alert, decided, blame, occurrence)
        finally:
            self._acting -= 1

    async def _act(self, alert: Alert, decided: Decision, blame: Blame, occurrence: str) -> bool:
        """Do what an answer means; whether that was the last word."""
        if blame.culprit == self._release:
            self._events.back(alert, _text(decided, blame.text), told(blame))
            return True
        if blame.culprit is None:
            text = _text(decided, f"it pauses: {blame.text}; a person decides")
            self._pause(alert, text, blame)
            return False
        if occurrence in self._ended:
            if self._looks is not None and self._decisions.now().pause == self._looks:
                self._events.resume(f"alert {alert.name} ended, of which it was a victim")
            return True
        told_it = await accuse(blame, alert, self._plan.service)
        to_do = f"goes on when alert {alert.name} ends" + _revert(blame, told_it=told_it)
        self.victim_of[occurrence] = None
        text = _text(decided, f"it pauses as a victim, and {to_do}; {blame.text}")
        self._pause(alert, text, blame)
        return False

    def _pause(self, alert: Alert | None, text: str, blame: Blame) -> None:
        """Say so once, however often the answer is the same."""
        if self._decisions.now().pause != text:
            self._events.pause(alert, text, told(blame))
        self.victim_pause = text

    @property
    def _pauses_for_blame(self) -> bool:
        state = self._decisions.now()
        return state.cause is None and state.pause is not None and state.pause == self.victim_pause

    # --- answers ---

    async def _answer(self, symptom: str, since: datetime) -> Blame | None:
        """Of the last minute, or asked now, together with others; None: there is none in time."""
        at, known = self._known.get(symptom, (None, None))
        if at is not None and workflow.now() - at < _STAYS:
            return known
        task = self._asked.get(symptom)
        if task is None:
            task = self._asked[symptom] = asyncio.create_task(self._ask(symptom, since))
        return await asyncio.shield(task)

    async def _ask(self, symptom: str, since: datetime) -> Blame | None:
        request = question(self._release, symptom, since, self._plan)
        try:
            handle = self._calls.start(
                Call.BLAME, request, f"{symptom} is not well: whose doing is it?"
            )
            await until_done(handle, never)
        finally:
            del self._asked[symptom]
        error = failure_of(handle)
        if error is not None:
            workflow.logger.warning("nobody is blamed", extra={"error": str(error.cause)})
            return None
        blame: Blame = handle.result()
        if not blame.alone:
            self._known[symptom] = (workflow.now(), blame)
        return blame


def _text(decided: Decision, more: str) -> str:
    return cut(f"{decided.what}; {more}", TEXT_MOST)


def _revert(blame: Blame, *, told_it: bool) -> str:
    """What a person can do where nobody of the culprit is there to be told."""
    return "" if told_it else f" (`aviary release revert {blame.culprit}` takes the culprit back)"


async def accuse(blame: Blame, alert: Alert | None, service: str) -> bool:
    """Tell the culprit, which may not hear of this alert; whether any of it is there to be told.

    Args:
        blame: with a culprit.
        alert: the symptom; None: a limit that was crossed.
        service: whose canary or watch found it out.
    """
    ranked = next((one for one in blame.ranked if one.release == blame.culprit), None)
    if ranked is None:
        return False
    about = Accusation(
        release=ranked.release,
        service=service,
        alert=None if alert is None else fitted(alert, CAUSE_ALERT_BYTES),
        text=blame.text,
    )
    told_it = False
    for each in ranked.services:
        for workflow_id in (canary_workflow_id(each, here()), watch_workflow_id(each, here())):
            told_it = told_it or await _heard(workflow_id, about)
    return told_it


async def _heard(workflow_id: str, about: Accusation) -> bool:
    """Whether a workflow that runs was told."""
    try:
        handle = workflow.get_external_workflow_handle(workflow_id)
        await handle.signal(SIGNAL_ACCUSED, about)
    except FailureError:
        return False
    return True
