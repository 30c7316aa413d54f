"""What only the version before needs, taken away once nobody can want it back: a contract.

A workflow of its own, which outlives release and canary by a day or more. Until it has called its
hook, the service can go back to the version before; after it, it can't, and the page says so.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.hooks import CALL_HOOK, HOOK_POLICY, CallHook
    from activities.preflight import PREFLIGHT, PREFLIGHT_POLICY, Firing, Preflight
    from activities.traffic import READ, ReadRoute, traffic_policy
    from schemas.base import Duration, Model, SomeDuration, Version, format_duration
    from schemas.hooks import HookAnswer, HookCall, HookEvent, RunsBeside, Said
    from schemas.ids import CONTRACT_WORKFLOW, QUERY_STATUS, SIGNAL_APPROVE, waiting_queue
    from schemas.outside import cut
    from schemas.route import Route
    from schemas.router_spec import RouterSpec
    from workflows import describe

_LOOK_AGAIN: Final = timedelta(minutes=10)
"""How often it is looked whether a release of the service is over."""
_ROUTE: Final[Any] = Route | None
_CAP: Final = timedelta(seconds=10)
_APPROVE: Final = "Contract all the same, although an alert fired. Input may be left out."


class ContractInput(Model):
    """Calls a hook once a version has been stable for long, and nothing was wrong with it."""

    event: HookEvent
    call: HookCall
    beside: RunsBeside | None = None
    """The version that a command runs with."""
    deadline: SomeDuration
    retries: int | None = None
    after: Duration
    before: Version
    """The version that can't be gone back to afterwards."""
    router: RouterSpec
    labels: tuple[str, ...]
    """That may name the service of an alert."""
    version_labels: tuple[str, ...] = ()
    poll: Duration


class ContractOutcome(Model):
    """How it ended."""

    hook: str
    contracted: bool
    gone: bool = False
    """What only the version before needs has been taken away, or may have been."""
    text: str


class ContractStatus(Model):
    """Where it is."""

    gone: bool
    """As of `ContractOutcome`: it is calling its hook, or has."""
    text: str


@workflow.defn(name=CONTRACT_WORKFLOW, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class ContractWorkflow:
    """One contract; on whatever build is current, as it lasts for days."""

    @workflow.init
    def __init__(self, start: ContractInput) -> None:
        self._start = start
        self._data = start.event.data
        self._approved = False
        self._gone = False
        self._text = "not begun"

    @workflow.run
    async def run(self, _: ContractInput) -> ContractOutcome:
        """Wait, look, and call the hook once.

        Returns:
            How it ended; a service that went back is an outcome. It raises only when cancelled.
        """
        fired = await self._quiet()
        if fired is not None:
            self._show(
                f"held: {fired.sentence} fired on {self._data.service}. More Actions > Send a "
                f"Signal > {SIGNAL_APPROVE} contracts all the same; Request Cancellation never"
            )
            await workflow.wait_condition(lambda: self._approved)
        if back := await self._gone_back():
            return self._ended(back, contracted=False)
        return await self._contract()

    @workflow.signal(name=SIGNAL_APPROVE, description=_APPROVE)
    def approve(self, _: Any = None) -> None:
        """Contract all the same."""
        self._approved = True

    @workflow.query(name=QUERY_STATUS, description="Whether there still is a way back. No input.")
    def status(self, _: Any = None) -> ContractStatus:
        """Where it is."""
        return ContractStatus(gone=self._gone, text=self._text)

    async def _quiet(self) -> Firing | None:
        """Let the time pass; what fired in it, if anything did."""
        start, data = self._start, self._data
        due = workflow.now() + start.after
        self._show(f"until {due:%d %B %H:%M} UTC {data.service} can go back to {start.before}")
        watch = workflow.start_activity(
            PREFLIGHT,
            Preflight(
                service=data.service,
                labels=start.labels,
                version_labels=start.version_labels,
                version=data.version,
                stable=None,
                poll=start.poll,
                known=Firing(),
            ),
            result_type=Firing,
            task_queue=waiting_queue(workflow.info().task_queue),
            summary=f"{data.service}: does an alert fire?",
            **PREFLIGHT_POLICY.options,
        )
        try:
            await workflow.wait_condition(
                watch.done, timeout=start.after, timeout_summary=f"until {data.hook} may be called"
            )
        except TimeoutError:
            watch.cancel()
            return None
        fired: Firing = watch.result()
        return fired

    async def _gone_back(self) -> str:
        """Why there is nothing to contract: the version before serves again. Empty: it does not.

        A release of the service that is under way is waited for: it may be the way back.
        """
        start, data = self._start, self._data
        while True:
            route: Route | None = await workflow.execute_activity(
                READ,
                ReadRoute(router=start.router, service=data.service, may_be_missing=True),
                result_type=_ROUTE,
                summary=f"{data.service}: does {start.before} serve again?",
                **traffic_policy(_CAP).options,
            )
            if route is not None and route.stable == start.before:
                return f"{start.before} of {data.service} serves again"
            if route is not None and route.canary is None:
                return ""
            what = f"the release of {data.service} {route.canary} to end" if route else "a route"
            self._show(f"waits for {what}")
            await workflow.sleep(_LOOK_AGAIN, summary="until the release is over")

    async def _contract(self) -> ContractOutcome:
        start, data = self._start, self._data
        now = workflow.now()
        told = data.model_copy(update={"answer_by": now + start.deadline})
        event = start.event.model_copy(update={"time": now, "data": told})
        retry = HOOK_POLICY.retry
        if start.retries is not None:
            retry = replace(retry, maximum_attempts=start.retries + 1)
        policy = replace(HOOK_POLICY, schedule_to_close=start.deadline, retry=retry)
        self._gone = True
        self._show(f"calls hook {data.hook}: {data.service} may not go back to {start.before} now")
        try:
            answer: HookAnswer = await workflow.execute_activity(
                CALL_HOOK,
                CallHook(call=start.call, event=event, beside=start.beside, waits=True),
                result_type=HookAnswer,
                task_queue=waiting_queue(workflow.info().task_queue),
                summary=f"hook {data.hook}",
                **policy.options,
            )
        except ActivityError as error:
            why = f"hook {data.hook} gave no answer in {format_duration(start.deadline)}: "
            return self._ended(why + describe.failure(error), contracted=False)
        if answer.said is Said.NO:
            self._gone = False
            return self._ended(f"hook {data.hook} said no: {answer.reason}", contracted=False)
        return self._ended(f"{data.service} can't go back to {start.before}", contracted=True)

    def _ended(self, text: str, *, contracted: bool) -> ContractOutcome:
        text = f"{'contracted' if contracted else 'not contracted'}: {cut(text, 1000)}"
        self._show(text)
        return ContractOutcome(
            hook=self._data.hook, contracted=contracted, gone=self._gone, text=text
        )

    def _show(self, text: str) -> None:
        self._text = text
        workflow.set_current_details(text)
