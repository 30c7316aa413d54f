"""A watch: a version that has become stable, and what takes its release back some time later.

A workflow of its own, `watch/<service>`, so that nobody's lock is kept meanwhile: the next release
of the service begins at once, and alerts go to its canary then. It is the address of alerts about a
service without a canary. It moves nothing itself: a release that takes the other one back does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.announce import NOTIFY, NOTIFY_POLICY
    from activities.blame import BLAME, blame_policy
    from activities.judge import JUDGE, JudgeRequest, JudgeResult, judge_policy
    from activities.revert import REVERT, REVERT_POLICY, Revert
    from schemas.alert import Alert
    from schemas.alert_policy import AlertAction
    from schemas.audience_judging import by_limits, limits_of
    from schemas.base import format_duration
    from schemas.blame import Accusation, Blame
    from schemas.event_kinds import NoticeKind
    from schemas.ids import (
        QUERY_STATUS,
        SIGNAL_ACCUSED,
        SIGNAL_ALERT,
        SIGNAL_ALERTS,
        SIGNAL_WATCH,
        WATCH_WORKFLOW,
        effects_queue,
        judging_queue,
    )
    from schemas.notice import Notice
    from schemas.outside import TEXT_MOST, cut
    from schemas.reverting import ObstacleKind
    from schemas.verdict import Verdict, VerdictKind
    from schemas.watching import Reverted, Watched, WatchInput
    from workflows import describe
    from workflows.alerts import Decision, SeenAlerts, alerts_in, decide
    from workflows.blaming import accuse, may_ask, over_limit, question, symptom_of

_OVER = frozenset({ObstacleKind.NEWER, ObstacleKind.REVERTED, ObstacleKind.WENT_BACK})
"""What stands in the way for good: there is nothing left to watch."""
_SPARED = timedelta(minutes=1)
"""After a limit was crossed by somebody else's doing, when it is looked at again."""


@workflow.defn(name=WATCH_WORKFLOW, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class WatchWorkflow:
    """Watches one version of one service, until its time is over or its release goes back."""

    @workflow.init
    def __init__(self, start: WatchInput) -> None:
        self._order = start
        self._seen = SeenAlerts(start.alerts)
        self._because: str | None = None
        self._untold: list[str] = []
        self._text = ""
        self._asking: set[asyncio.Task[None]] = set()
        self._judging: workflow.ActivityHandle[JudgeResult] | None = None
        self._again: asyncio.Task[None] | None = None
        self._spared = False
        """Whether people were told of a limit that is not known to be its doing."""

    @workflow.run
    async def run(self, _: WatchInput) -> Watched:
        """Wait for a reason to take the release back.

        Returns:
            How it ended: that nothing was wrong, as well. It raises only when cancelled.
        """
        while True:
            order = self._order
            self._judge_limits()
            if not await self._news(order):
                break
            if self._order is not order:
                self._begin_anew()
            elif self._untold:
                await self._tell(order, self._untold.pop(0))
            elif self._because is not None:
                ended = await self._revert(order, self._because)
                if ended is not None and self._order is order:
                    return ended
            else:
                self._hand_over(order)
        self._stop_judging()
        text = f"{_named(order)} was watched until {_time(order.until)}: nothing took it back"
        return Watched(release=order.release, text=text)

    async def _news(self, order: WatchInput) -> bool:
        """Wait for something to do; False when the time is over."""
        self._show(
            f"{_named(order)} is watched until {_time(order.until)}: an alert takes release "
            f"{order.release} back"
        )
        left = (order.until - workflow.now()).total_seconds()
        if left <= 0:
            # What an alert before the end does may be known only now.
            await workflow.wait_condition(lambda: not self._asking)
            news = self._order is not order or bool(self._untold)
            return news or self._because is not None
        try:
            await workflow.wait_condition(
                lambda: (
                    self._order is not order
                    or bool(self._untold)
                    or self._because is not None
                    or (not self._asking and workflow.info().is_continue_as_new_suggested())
                ),
                timeout=left,
                timeout_summary=f"{_named(order)} is watched",
            )
        except TimeoutError:
            return await self._news(order)
        return True

    def _begin_anew(self) -> None:
        """Another version is watched: what was said of the one before is over."""
        self._stop_judging()
        self._because = None
        self._spared = False
        self._untold.clear()
        self._seen = SeenAlerts(self._order.alerts)

    def _hand_over(self, order: WatchInput) -> None:
        self._stop_judging()
        workflow.continue_as_new(
            order.model_copy(update={"alerts": self._seen.identities}),
        )

    # --- its release goes back ---

    async def _revert(self, order: WatchInput, because: str) -> Watched | None:
        """Have the release taken back; None where it is watched on."""
        self._because = None
        self._show(f"Taking release {order.release} back: {because}")
        try:
            answer: Reverted = await workflow.execute_activity(
                REVERT,
                Revert(queue=workflow.info().task_queue, release=order.release, because=because),
                result_type=Reverted,
                task_queue=effects_queue(workflow.info().task_queue),
                summary=f"take release {order.release} back",
                **REVERT_POLICY.options,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            await self._tell(order, f"{because}; it can't be taken back: {describe.failure(error)}")
            return None
        if not answer.obstacles:
            text = f"release {answer.revert} takes {order.release} back: {because}"
            self._stop_judging()
            await self._notify(order, NoticeKind.ROLLING_BACK, text)
            return Watched(release=order.release, reverted_by=answer.revert, text=text)
        if {one.kind for one in answer.obstacles} & _OVER:
            self._stop_judging()
            return Watched(release=order.release, text=f"over: {answer.refusal}")
        await self._tell(order, f"{because}; it can't be taken back: {answer.refusal}")
        return None

    # --- limits ---

    def _judge_limits(self) -> None:
        """Hold the version against its limits, where it has any, as long as its strategy says."""
        order = self._order
        plan = order.plan
        metrics = by_limits(plan.judge, plan.metrics)
        left = order.limits_until - workflow.now()
        if self._judging is not None or not metrics or left <= timedelta(0):
            return
        request = JudgeRequest(
            router=plan.router,
            service=plan.service,
            stable=order.before,
            canary=plan.version,
            spec=limits_of(plan.judge),
            metrics=metrics,
            mixed=True,
            weight=100.0,
            weight_changed_at=order.stable_at,
            started_at=order.stable_at,
        )
        policy = replace(judge_policy(plan.judge), schedule_to_close=left)
        self._judging = judging = workflow.start_activity(
            JUDGE,
            request,
            result_type=JudgeResult,
            task_queue=judging_queue(workflow.info().task_queue),
            summary=f"{_named(order)} against its limits",
            **policy.options,
        )
        judging.add_done_callback(self._judged)

    def _judged(self, judging: asyncio.Task[JudgeResult]) -> None:
        """A limit that is crossed takes the release back; that its time is over says nothing."""
        if judging.cancelled():
            return
        error = judging.exception()
        if judging is not self._judging:
            return
        if error is not None:
            workflow.logger.info("limits are not watched any more", extra={"error": str(error)})
            return
        verdict = judging.result().verdict
        if verdict.kind is not VerdictKind.FAIL:
            return
        if over_limit(verdict, self._order.plan):
            self._see_to(self._look_at_limit(verdict, self._order))
        else:
            self._because = cut(verdict.sentence, TEXT_MOST)

    async def _look_at_limit(self, verdict: Verdict, order: WatchInput) -> None:
        """Ask whose doing it is that a limit was crossed; where that breaks, it goes back."""
        told = cut(verdict.sentence, TEXT_MOST)
        try:
            because = await self._limit(told, verdict, order)
        except Exception:  # noqa: BLE001 - a bug here must not cost the verdict
            workflow.logger.exception("nobody is blamed")
            because = told
        if self._order is not order:
            return
        self._because = self._because or because
        if because is None:
            self._again = asyncio.create_task(self._judge_again(order))

    async def _judge_again(self, order: WatchInput) -> None:
        await workflow.sleep(_SPARED, summary="until limits are looked at again")
        if self._order is order:
            self._judging = None
            self._judge_limits()

    async def _limit(self, told: str, verdict: Verdict, order: WatchInput) -> str | None:
        """Why it goes back; None: it is another release's doing, or nobody knows whose."""
        blame = await self._ask(order.plan.service, verdict.at, order)
        if blame is None or blame.alone or not blame.known:
            return told
        if blame.culprit == order.release:
            return cut(f"{told}; {blame.text}", TEXT_MOST)
        told_it = blame.culprit is not None and await accuse(blame, None, order.plan.service)
        if not told_it and not self._spared:
            self._untold.append(f"{told}; {blame.text}")
            self._spared = True
        return None

    def _stop_judging(self) -> None:
        judging, self._judging = self._judging, None
        if judging is not None and not judging.done():
            judging.cancel()

    # --- what comes in ---

    @workflow.signal(
        name=SIGNAL_WATCH, description="Not for people: from a canary, a newer version to watch."
    )
    def watch(self, order: WatchInput | None = None) -> None:
        """Watch a newer version in place of the one before."""
        if order is not None and order.stable_at > self._order.stable_at:
            self._order = order

    @workflow.signal(
        name=SIGNAL_ALERT, description="Not for people: from the bridge, an alert on this service."
    )
    def alert(self, alert: Alert | None = None) -> None:
        """Act on an alert, once; the catalog says how."""
        if alert is not None:
            self._take(alert)

    @workflow.signal(
        name=SIGNAL_ALERTS, description="Not for people: from the bridge, a list of alerts."
    )
    def alerts(self, value: Any = None) -> None:
        """Act on each alert of a batch; one that is malformed hides none of the others."""
        found, wrong = alerts_in(value)
        for error in wrong:
            workflow.logger.warning("dropped a malformed alert", extra={"error": error})
        for alert in found:
            self._take(alert)

    def _take(self, alert: Alert) -> None:
        order = self._order
        if not self._seen.is_new(alert):
            return
        decided = decide(alert, order.plan, began_at=order.began_at, stable=order.before)
        if may_ask(decided, order.plan) and not self._asking:
            self._see_to(self._look_at_alert(alert, decided, order))
        else:
            self._act(decided, order)

    def _see_to(self, looks: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(looks)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def _act(self, decided: Decision, order: WatchInput) -> None:
        """Do what the catalog says, whoever's doing it is."""
        if decided.action is AlertAction.ROLLBACK:
            self._blamed(decided.text, order)
        elif decided.action is AlertAction.PAUSE:
            self._untold.append(decided.text)

    def _blamed(self, text: str, order: WatchInput) -> None:
        after = describe.rounded(workflow.now() - order.stable_at)
        told = f"{cut(text, TEXT_MOST - 100)}, {format_duration(after)} after it was stable"
        self._because = self._because or told

    async def _look_at_alert(self, alert: Alert, decided: Decision, order: WatchInput) -> None:
        """Ask whose doing an alert is; whatever goes wrong with that, it does what it does."""
        try:
            await self._look_into(alert, decided, order)
        except Exception:  # noqa: BLE001 - a bug here must not cost the alert
            if self._order is order:
                self._act(decided, order)
            workflow.logger.exception("nobody is blamed")

    async def _look_into(self, alert: Alert, decided: Decision, order: WatchInput) -> None:
        symptom = symptom_of(alert, order.plan)
        blame = await self._ask(symptom, alert.starts_at, order)
        if self._order is not order:
            return
        if blame is None or blame.alone or not blame.known:
            self._act(decided, order)
        elif blame.culprit == order.release:
            self._blamed(f"{decided.what}; {blame.text}", order)
        elif blame.culprit is None:
            self._untold.append(f"{decided.what}; {blame.text}")
        elif not await accuse(blame, alert, order.plan.service):
            self._untold.append(f"{decided.what}; {blame.text}; nobody of it is there to be told")

    async def _ask(self, symptom: str, since: datetime, order: WatchInput) -> Blame | None:
        """None where there is no answer in time."""
        request = question(order.release, symptom, since, order.plan)
        try:
            blame: Blame = await workflow.execute_activity(
                BLAME,
                request,
                result_type=Blame,
                task_queue=effects_queue(workflow.info().task_queue),
                summary=f"{symptom} is not well: whose doing is it?",
                **blame_policy(request.within).options,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("nobody is blamed", extra={"error": str(error.cause)})
            return None
        return blame

    @workflow.signal(
        name=SIGNAL_ACCUSED,
        description="Not for people: from another release's canary, that this one is the culprit.",
    )
    def accused(self, about: Accusation | None = None) -> None:
        """Take the release back for an alert on another service."""
        order = self._order
        asks = order.plan.alerts.blame_within > timedelta(0)
        if about is not None and about.release == order.release and asks:
            self._blamed(about.sentence, order)

    @workflow.query(name=QUERY_STATUS, description="What is watched, and until when. No input.")
    def status(self, _: Any = None) -> str:
        """In a sentence."""
        return self._text

    # --- what is told ---

    async def _tell(self, order: WatchInput, what: str) -> None:
        """Ask people, where nothing is done without them."""
        how = f"`aviary release revert {order.release}` takes the release back"
        await self._notify(order, NoticeKind.WAITING, f"{cut(what, TEXT_MOST - 300)}. {how}")

    async def _notify(self, order: WatchInput, kind: NoticeKind, text: str) -> None:
        """A notice is tried for a minute; nothing else waits for it."""
        notice = Notice(
            kind=kind,
            release=order.release,
            service=order.plan.service,
            version=order.plan.version,
            text=text,
            at=workflow.now(),
            environment=order.environment,
        )
        try:
            await workflow.execute_activity(
                NOTIFY,
                notice,
                task_queue=effects_queue(workflow.info().task_queue),
                summary=f"notice: {kind}",
                **NOTIFY_POLICY.options,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("a notice could not be delivered", extra={"error": str(error)})

    def _show(self, text: str) -> None:
        self._text = text
        workflow.set_current_details(text)


def _named(order: WatchInput) -> str:
    return f"{order.plan.service} {order.plan.version}"


def _time(at: datetime) -> str:
    return f"{at:%d %B %H:%M:%S} UTC"
