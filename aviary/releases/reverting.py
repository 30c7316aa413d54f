"""Takes a release back that has ended: what Temporal remembers of it, and the release that does it.

What is decided of that is in `workflows.revert_planning`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import uuid4

from pydantic import ValidationError
from temporalio.api.common.v1 import Payloads
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.cell import here
from activities.revert import Revert
from adapters.errors import Retryable, Terminal
from aviary.bridge.temporal import TemporalGateway
from schemas import ids
from schemas.base import Model
from schemas.deployment import WantedVersion
from schemas.hooks import HookMoment, at, call_id
from schemas.phases import ReleasePhase
from schemas.rejection import Rejected
from schemas.release import CanaryOutcome, ReleaseInput, ReleasePlan, ReleaseStatus, ServicePlan
from schemas.reverting import Obstacle, ObstacleKind, RevertPreview, revert_id
from schemas.stages import FlagsStage
from schemas.step_flags import WantedFlag
from schemas.watching import Reverted
from workflows.contract import ContractOutcome, ContractStatus
from workflows.revert_planning import (
    ContractState,
    EndedRelease,
    LaterFlag,
    ServiceNow,
    plan_revert,
    preview,
)

_T = TypeVar("_T", bound=Model)
_LOOK: Final = timedelta(seconds=5)
_AT_ONCE: Final = 10
_ATTEMPTS: Final = 20
"""Reverts of one release that may go back themselves; then a person releases the versions."""


class UnknownRelease(Terminal):
    """Temporal does not know the release, or not how it ended."""


@dataclass(frozen=True)
class Looked:
    """A release that is to be taken back: what that would do, and all that it takes."""

    preview: RevertPreview
    ended: EndedRelease | None
    """None: it runs."""
    start: ReleaseInput


class Reverter:
    """Takes releases back.

    Args:
        client: of Temporal.
        task_queue: of releases.
        cell: that they are in.
    """

    def __init__(self, client: Client, task_queue: str, cell: ids.Cell = ids.NO_CELL) -> None:
        self._client = client
        self._queue = task_queue
        self._cell = cell

    async def look(self, release: str) -> Looked:
        """What taking a release back would do, or what stands in the way.

        Raises:
            UnknownRelease: there is none, or how it ended is not known.
            Retryable: Temporal, or a worker, does not answer now.
        """
        try:
            return await self._look(release)
        except RPCError as error:
            raise Retryable(f"release {release}: {error.status.name}: {error.message}") from error
        except ValidationError as error:
            text = f"release {release}: its history is of another version of Aviary: {error}"
            raise UnknownRelease(text) from error

    async def start(self, looked: Looked, because: str) -> bool:
        """Start the release that takes another one back; nothing stands in the way.

        Returns:
            False where it was started already.

        Raises:
            Retryable: Temporal did not say yes; the same call again has one effect.
            schemas.rejection.Rejected: Temporal will never take it.
        """
        if looked.ended is None or looked.preview.obstacles:
            raise ValueError(f"release {looked.preview.release}: {looked.preview.refusal}")
        plan = plan_revert(looked.ended, looked.preview.revert, because)
        gateway = TemporalGateway(self._client, self._queue, looked.start.tuning, self._cell)
        asked = f"revert {plan.reverts} by {plan.release}"
        digest = hashlib.sha256(asked.encode()).hexdigest()
        return await gateway.start(plan, digest, str(uuid4()))

    # --- the release ---

    async def _look(self, release: str) -> Looked:
        workflow_id = ids.release_workflow_id(release, self._cell)
        described = await self._describe(workflow_id)
        if described is None:
            raise UnknownRelease(f"there is no release {release}")
        recorded = await self._record(described, release)
        if recorded.status is None:
            running = described.status is WorkflowExecutionStatus.RUNNING
            if not running:
                text = f"release {release} has ended without a result: release the versions before"
                raise UnknownRelease(text)
            obstacle = Obstacle(kind=ObstacleKind.NOT_ENDED, text=_runs(release))
            refused = RevertPreview(
                release=release, revert=revert_id(release), obstacles=(obstacle,)
            )
            return Looked(refused, None, recorded.start)
        revert, reverted = await self._attempt(release)
        plan = recorded.start.plan
        services, flags = await self._services(recorded), await self._flags(plan)
        ended = EndedRelease(plan, recorded.status, services, flags)
        seen = preview(ended, revert)
        if reverted is not None:
            seen = seen.model_copy(update={"obstacles": (reverted,)})
        return Looked(seen, ended, recorded.start)

    async def _record(self, described: WorkflowExecutionDescription, release: str) -> _Recorded:
        """What a release was started with, how its canaries ended, and how it did."""
        start: ReleaseInput | None = None
        status: ReleaseStatus | None = None
        outcomes: dict[str, CanaryOutcome] = {}
        handle = self._client.get_workflow_handle(described.id, run_id=described.run_id)
        async for event in handle.fetch_history_events(rpc_timeout=_LOOK):
            match event.WhichOneof("attributes"):
                case "workflow_execution_started_event_attributes":
                    begun = event.workflow_execution_started_event_attributes
                    start = await self._decoded(begun.input, ReleaseInput)
                case "child_workflow_execution_completed_event_attributes":
                    child = event.child_workflow_execution_completed_event_attributes
                    outcome = await self._decoded(child.result, CanaryOutcome)
                    outcomes[outcome.service] = outcome
                case "workflow_execution_completed_event_attributes":
                    ended = event.workflow_execution_completed_event_attributes
                    status = await self._decoded(ended.result, ReleaseStatus)
        if start is None:
            raise UnknownRelease(f"release {release}: its history has no beginning")
        return _Recorded(start, status, outcomes)

    async def _decoded(self, payloads: Payloads, kind: type[_T]) -> _T:
        (value,) = await self._client.data_converter.decode(payloads.payloads, [kind])
        return kind.model_validate(value)

    async def _attempt(self, release: str) -> tuple[str, Obstacle | None]:
        """The id of the next release that takes it back, unless one does so, or has."""
        for attempt in range(1, _ATTEMPTS + 1):
            revert = revert_id(release, attempt)
            described = await self._describe(ids.release_workflow_id(revert, self._cell))
            if described is None:
                return revert, None
            if described.status is WorkflowExecutionStatus.RUNNING:
                text = f"release {revert} takes {release} back now"
                return revert, Obstacle(kind=ObstacleKind.REVERTED, text=text)
            status = await self._result(described, ReleaseStatus)
            if status is not None and status.phase is ReleasePhase.FINALIZED:
                text = f"release {revert} has taken {release} back"
                return revert, Obstacle(kind=ObstacleKind.REVERTED, text=text)
        raise UnknownRelease(f"{_ATTEMPTS} releases have tried to take {release} back in vain")

    # --- its services ---

    async def _services(self, recorded: _Recorded) -> Mapping[str, ServiceNow]:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(planned: ServicePlan) -> ServiceNow:
            async with limit:
                outcome = recorded.outcomes.get(planned.service)
                return await self._service(
                    recorded.start, planned, None if outcome is None else outcome.before
                )

        plans = recorded.start.plan.services
        found = await asyncio.gather(*(one(planned) for planned in plans.values()))
        return dict(zip(plans, found, strict=True))

    async def _service(
        self, start: ReleaseInput, planned: ServicePlan, before: WantedVersion | None
    ) -> ServiceNow:
        contracts = [
            await self._contract(start, planned, hook.name)
            for hook in at(planned.hooks, HookMoment.CONTRACT)
        ]
        known = ServiceNow(before=before, contracts=tuple(contracts))
        described = await self._describe(ids.canary_workflow_id(planned.service, self._cell))
        if described is None or described.parent_id is None:
            return known
        newest = described.parent_id.removeprefix(ids.release_workflow_id("", self._cell))
        moves = described.status is WorkflowExecutionStatus.RUNNING
        outcome = None if moves else await self._result(described, CanaryOutcome)
        if outcome is None and not moves:
            return known  # terminated: the route will tell
        return ServiceNow(
            newest=newest,
            moves=moves,
            serves=outcome.version if outcome else None,
            before=before,
            contracts=tuple(contracts),
        )

    async def _flags(self, plan: ReleasePlan) -> tuple[LaterFlag, ...]:
        """The flags that steps of a release name, and that a later release has turned on."""
        wanted: dict[str, WantedFlag] = {}
        needs: dict[str, set[str]] = {}
        for service, planned in plan.services.items():
            stages = [one for one in planned.stages if isinstance(one, FlagsStage)]
            for flag in (flag for stage in stages for flag in stage.flags):
                if flag.flag not in plan.services:
                    wanted[flag.flag] = flag
                    needs.setdefault(flag.flag, set()).add(service)
        found = [await self._flag(flag, frozenset(needs[name])) for name, flag in wanted.items()]
        return tuple(flag for flag in found if flag is not None)

    async def _flag(self, wanted: WantedFlag, needs: frozenset[str]) -> LaterFlag | None:
        described = await self._describe(ids.canary_workflow_id(wanted.flag, self._cell))
        if described is None or described.parent_id is None:
            return None
        moves = described.status is WorkflowExecutionStatus.RUNNING
        outcome = None if moves else await self._result(described, CanaryOutcome)
        if not moves and (outcome is None or outcome.version in {None, wanted.variant}):
            return None
        parent = await self._describe(described.parent_id)
        release = described.parent_id.removeprefix(ids.release_workflow_id("", self._cell))
        if parent is None:
            return None
        later = (await self._record(parent, release)).start.plan.services[wanted.flag]
        return LaterFlag(later, wanted.variant, release, needs, moves=moves)

    async def _contract(
        self, start: ReleaseInput, planned: ServicePlan, hook: str
    ) -> ContractState:
        call = call_id(
            environment=str(self._cell) + start.plan.environment,
            release=start.plan.release,
            service=planned.service,
            hook=hook,
            moment=HookMoment.CONTRACT,
            step=None,
        )
        described = await self._describe(
            ids.contract_workflow_id(planned.service, call, self._cell)
        )
        if described is None:
            text = f"what became of hook {hook} is not known any more"
            return ContractState(hook=hook, done=True, text=text)
        if described.status is WorkflowExecutionStatus.RUNNING:
            now = await self._asked(described)
            return ContractState(hook=hook, done=now.gone, text=now.text)
        outcome = await self._result(described, ContractOutcome)
        if outcome is None:
            return ContractState(hook=hook, done=False, text="it was cancelled")
        return ContractState(hook=hook, done=outcome.gone, text=outcome.text)

    async def _asked(self, described: WorkflowExecutionDescription) -> ContractStatus:
        handle = self._client.get_workflow_handle(described.id, run_id=described.run_id)
        try:
            now: ContractStatus = await handle.query(
                ids.QUERY_STATUS, result_type=ContractStatus, rpc_timeout=_LOOK
            )
        except WorkflowQueryFailedError as error:
            raise Retryable(f"{described.id} does not say where it is: {error}") from error
        return now

    # --- Temporal ---

    async def _describe(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        try:
            return await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=_LOOK)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                raise
            return None

    async def _result(self, described: WorkflowExecutionDescription, kind: type[_T]) -> _T | None:
        """Of one that has ended; None where it has none."""
        handle: WorkflowHandle[Any, _T] = self._client.get_workflow_handle(
            described.id, run_id=described.run_id, result_type=kind
        )
        try:
            return await handle.result(rpc_timeout=_LOOK)
        except WorkflowFailureError:
            return None


async def take_back(client: Client, asked: Revert) -> Reverted:
    """Take a release back, as a watch asks for it.

    Raises:
        UnknownRelease, Retryable: as `Reverter`.
        Terminal: Temporal will never take it.
    """
    reverter = Reverter(client, asked.queue, here())
    looked = await reverter.look(asked.release)
    if any(one.kind is ObstacleKind.NOT_ENDED for one in looked.preview.obstacles):
        raise Retryable(looked.preview.refusal)  # others of its services become stable still
    if not looked.preview.obstacles:
        try:
            await reverter.start(looked, asked.because)
        except Rejected as why:
            raise Terminal(why.text) from why
    return Reverted(revert=looked.preview.revert, obstacles=looked.preview.obstacles)


@dataclass(frozen=True)
class _Recorded:
    """What the history of a release holds."""

    start: ReleaseInput
    status: ReleaseStatus | None
    outcomes: Mapping[str, CanaryOutcome]


def _runs(release: str) -> str:
    return f"release {release} has not ended: `aviary release rollback {release}` takes it back"
