"""The hooks of one canary: which are called when, what they answered, and what a no does.

Those that are asked are calls of the canary, which the stage that waits for them stops. Those that
are told (`HookMoment.asks` is not so) have workflows of their own: the canary waits for none of
them, and they outlive it. A call is known by its id, whoever makes it, and however often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from schemas.decisions import DecisionRecord, Did, Heard
    from schemas.events import RELEASE_SOURCE
    from schemas.hooks import (
        CONTRACT_AFTER,
        RUN,
        AskedHook,
        Hook,
        HookData,
        HookEvent,
        HookMoment,
        LateAnswer,
        NotTaken,
        OnNo,
        RunsBeside,
        Untaken,
        at,
        call_id,
    )
    from schemas.ids import (
        CONTRACT_WORKFLOW,
        HOOK_WORKFLOW,
        contract_workflow_id,
        hook_workflow_id,
    )
    from schemas.release import CanaryInput, Cause, CauseKind, HookState
    from workflows.asking import Answered, Asking, CallBook
    from workflows.calls import Calls, Stop, not_yet
    from workflows.cell import here
    from workflows.contract import ContractInput
    from workflows.decisions import Decisions
    from workflows.hook import TOLD_TASK_TIMEOUT, HookInput
    from workflows.instances import Instances
    from workflows.outcomes import Failed, Stopped
    from workflows.traffic import Traffic
    from workflows.trying import TellFailure


class Hooks:
    """Calls the hooks of one canary.

    Args:
        start: what the canary was started with.
        steps: how many steps it has.
        traffic: its route.
        instances: of its version, which commands run with.
        calls: makes the calls.
        decisions: what it has decided.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        start: CanaryInput,
        steps: int,
        traffic: Traffic,
        instances: Instances,
        calls: Calls,
        decisions: Decisions,
    ) -> None:
        self._start = start
        self._steps = steps
        self._traffic = traffic
        self._instances = instances
        self._calls = calls
        self._decisions = decisions
        self._book = CallBook(start.resume.hooks if start.resume else ())
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def states(self) -> tuple[HookState, ...]:
        """What another run of this canary has to know."""
        return self._book.states

    @property
    def asked(self) -> tuple[AskedHook, ...]:
        """The calls that ask, as they are shown."""
        return self._book.asked

    # --- asked ---

    async def ask(  # noqa: PLR0913 - each is one thing that a call needs
        self,
        hook: Hook,
        moment: HookMoment,
        step: int | None,
        *,
        stop: Stop,
        unless: Callable[[], bool] = not_yet,
        told: TellFailure | None = None,
    ) -> Answered | Stopped | None:
        """Call a hook, and wait for its answer, until its deadline.

        Args:
            hook: which.
            moment: when.
            step: index from 0 of the step, of a moment that comes with each.
            stop: ends the wait, and the call.
            unless: makes the answer unneeded.
            told: hears why it is not answered, while it is called again.

        Returns:
            The answer; what stopped the wait; None when it became unneeded.
        """
        asking = Asking(
            hook=hook,
            event=self._event(hook, moment, step),
            beside=self._beside(hook),
            calls=self._calls,
            book=self._book,
            stop=stop,
            unless=unless,
            told=told or self._calls.told,
        )
        return await asking.end()

    def heard(self, late: LateAnswer) -> Untaken | None:
        """Take an answer that comes later; why not, or None."""
        untaken = self.refuses(late)
        if untaken is None:
            self._book.keep(late.id, late.answer)
        return untaken

    def refuses(self, late: LateAnswer) -> Untaken | None:
        """Why an answer that comes later is not taken; None where it is."""
        untaken = self._book.refuses(late)
        if untaken is None and self._decisions.now().cause is not None:
            text = f"too late: {self._start.plan.service} goes back"
            return Untaken(why=NotTaken.TOO_LATE, text=text)
        return untaken

    def heed(self, answered: Answered, doubt: Callable[[str], None]) -> Failed | None:
        """Record an answer, and do what the catalog says of it.

        Args:
            answered: what the hook said.
            doubt: has the gate that follows ask a person.

        Returns:
            Why the canary goes back, if it does.
        """
        hook, text = answered.hook, answered.text
        if not answered.yes and hook.refused is OnNo.ROLL_BACK:
            return Failed(
                Cause(
                    kind=CauseKind.HOOK,
                    service=self._start.plan.service,
                    text=text,
                    at=workflow.now(),
                )
            )
        asks = not answered.yes and hook.refused is OnNo.GATE
        if asks:
            doubt(text)
        self._note(hook, Did.ASKED if asks else Did.RECORDED, text)
        return None

    def _note(self, hook: Hook, did: Did, text: str) -> None:
        self._decisions.note(
            DecisionRecord(at=workflow.now(), heard=Heard.HOOK, did=did, name=hook.name, text=text)
        )

    # --- told ---

    def tell(self, moment: HookMoment) -> None:
        """Begin to tell all hooks of a moment that asks nothing; nothing waits for it."""
        for hook in at(self._start.plan.hooks, moment):
            task = asyncio.create_task(self._tell(hook, moment))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    @property
    def all_begun(self) -> bool:
        """Whether all that are to be told have a workflow that does so."""
        return not self._telling

    async def _tell(self, hook: Hook, moment: HookMoment) -> None:
        event = self._event(hook, moment, None)
        start: HookInput | ContractInput | None
        if moment is HookMoment.CONTRACT:
            kind, start = CONTRACT_WORKFLOW, self._contract(hook, event)
            name = contract_workflow_id(self._start.plan.service, event.id, here())
        else:
            kind, name = HOOK_WORKFLOW, hook_workflow_id(event.id, here())
            start = HookInput(
                event=event,
                call=hook.call,
                beside=self._beside(hook),
                deadline=hook.deadline,
                retries=hook.retries,
            )
        if start is None:
            return
        try:
            await workflow.start_child_workflow(
                kind,
                start,
                id=name,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                task_timeout=TOLD_TASK_TIMEOUT,
                static_summary=f"hook {hook.name}: {self._start.plan.service} {moment}",
            )
        except WorkflowAlreadyStartedError:
            return  # by this canary before a reset, or by one that was lost
        self._note(hook, Did.RECORDED, f"hook {hook.name} is told: {moment}")

    def _contract(self, hook: Hook, event: HookEvent) -> ContractInput | None:
        """None after a first deployment: there is no version before."""
        plan, before = self._start.plan, self._traffic.before
        if before is None:
            return None
        return ContractInput(
            event=event,
            call=hook.call,
            beside=self._beside(hook),
            deadline=hook.deadline,
            retries=hook.retries,
            after=hook.contract_after or CONTRACT_AFTER,
            before=before,
            router=plan.router,
            labels=plan.service_labels,
            version_labels=plan.alerts.version_labels,
            poll=self._start.tuning.preflight_poll,
        )

    # --- what they are sent ---

    def _beside(self, hook: Hook) -> RunsBeside | None:
        """The version that a command runs with; None for what is no command."""
        plan = self._start.plan
        if hook.call.kind != RUN or plan.deploy is None:
            return None
        # By the order that put it up: a command is none, and overrules none.
        wanted = plan.wanted(self._start.release, self._instances.orders, 1)
        return RunsBeside(deploy=plan.deploy, wanted=wanted)

    def _event(self, hook: Hook, moment: HookMoment, step: int | None) -> HookEvent:
        start, plan = self._start, self._start.plan
        number = None if step is None else step + 1
        call = call_id(
            environment=str(here()) + start.environment,
            release=start.release,
            service=plan.service,
            hook=hook.name,
            moment=moment,
            step=number,
        )
        now = workflow.now()
        known = self._book.begun(
            HookState(
                id=call,
                began=now,
                hook=hook.name,
                moment=moment,
                step=number,
                answer_by=now + hook.deadline,
            )
        )
        cause = self._decisions.now().cause
        return HookEvent(
            source=f"{RELEASE_SOURCE}{start.release}",
            id=call,
            time=known.began,
            subject=plan.service,
            data=HookData(
                hook=hook.name,
                moment=moment,
                environment=start.environment,
                release=start.release,
                service=plan.service,
                version=plan.version,
                stable=self._traffic.before or self._traffic.stable,
                step=number,
                steps=self._steps,
                weight=self._traffic.weight,
                cause=cause.text if cause else "",
                needs=plan.needs.get(hook.name, ""),
                answer_by=known.answer_by,
            ),
        )


class Beside:
    """Hooks that are called beside something that goes on, such as a bake.

    Args:
        hooks: of the canary.
        called: those to call, all at once.
        place: when, and the index from 0 of the step.
        stop: ends the calls.
        doubt: has the gate that follows ask a person.
    """

    def __init__(
        self,
        hooks: Hooks,
        called: Sequence[Hook],
        place: tuple[HookMoment, int | None],
        stop: Stop,
        doubt: Callable[[str], None],
    ) -> None:
        self._hooks = hooks
        self._place = place
        self._stop = stop
        self._doubt = doubt
        self._over = False
        self.failed: Failed | None = None
        """Why the canary goes back, once a hook says so."""
        self._tasks = [asyncio.create_task(self._ask(hook)) for hook in called]

    @property
    def done(self) -> bool:
        """Whether all have answered."""
        return all(task.done() for task in self._tasks)

    def end(self) -> None:
        """Whoever has not answered is not waited for any more."""
        self._over = True

    async def _ask(self, hook: Hook) -> None:
        answered = await self._hooks.ask(
            hook, *self._place, stop=self._stop, unless=lambda: self._over, told=_to_nobody
        )
        if isinstance(answered, Answered):
            self.failed = self._hooks.heed(answered, self._doubt) or self.failed


def _to_nobody(_: str) -> None:
    """The bake says what is waited for."""
