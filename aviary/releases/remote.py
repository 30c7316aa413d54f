"""What the command line asks of Temporal about releases, with every failure in one line."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import TypeVar
from uuid import uuid4

from pydantic import ValidationError
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from adapters.errors import Retryable
from aviary.attributes import WANTED
from aviary.bridge.temporal import TemporalGateway
from aviary.connect import connect_temporal
from aviary.history.events import first
from aviary.history.fetch import fetch_timeline
from aviary.hook_answers import Given, give
from aviary.releases.failing import CommandError, ExitCode, UnansweredError
from aviary.releases.finding import Filters
from aviary.releases.reverting import Looked, Reverter, UnknownRelease
from aviary.releases.sight import Sight, sight_of
from aviary.settings import Settings
from schemas import attributes, ids
from schemas.hooks import LateAnswer
from schemas.release import (
    CanaryPhase,
    CanaryStatus,
    Command,
    ReleaseInput,
    ReleasePlan,
    ReleaseStatus,
    Tuning,
)
from schemas.timeline import Timeline

_T = TypeVar("_T")
_STATE = SearchAttributeKey.for_keyword(attributes.STATE)
_LOOK_TIMEOUT = timedelta(seconds=3)
_AT_ONCE = 10
_AWAY = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
}
_NO_WORKER = "no worker has answered; is `aviary worker` running, and well?"


@dataclass(frozen=True)
class Found:
    """One release in a list; `status` is None where Temporal alone could say nothing more."""

    release: str
    execution: str
    """What Temporal knows: the state it lists, or its own word: running, completed, terminated …"""
    started_at: datetime
    status: ReleaseStatus | None
    planned: Mapping[str, str] = field(default_factory=dict)
    """Versions by service as the release was started with, where it does not answer."""
    running: bool = False


@asynccontextmanager
async def failures_told(doing: str) -> AsyncIterator[None]:
    """Turn what can go wrong with Temporal into one line and exit code 1."""
    try:
        yield
    except Retryable as error:
        raise CommandError(ExitCode.FAILURE, _one_line(str(error))) from None
    except RPCError as error:
        text = _one_line(f"{doing}: {error.status.name}: {error.message}")
        kind = UnansweredError if error.status in _AWAY else CommandError
        raise kind(ExitCode.FAILURE, text) from None


class Releases:
    """The releases of one namespace."""

    def __init__(self, client: Client, settings: Settings) -> None:
        """Work on the namespace that the client is connected to."""
        self.client = self._client = client
        self._settings = settings
        self._cell = settings.in_cell

    @classmethod
    async def connect(cls, settings: Settings) -> Releases:
        """Connect to Temporal.

        Raises:
            CommandError: it can't be reached.
        """
        try:
            return cls(await connect_temporal(settings, runtime=_runtime()), settings)
        except Retryable as error:
            # The SDK prints its native error with all its layers; the innermost says it.
            reasons = re.findall(r'message: "([^"]+)"', str(error))
            why = f" ({reasons[-1]})" if reasons else f": {_one_line(str(error))}"
            text = f"Temporal at {settings.temporal_address} can't be reached{why}"
            raise CommandError(ExitCode.FAILURE, text) from None

    async def start(self, plan: ReleasePlan, digest: str) -> bool:
        """Start a release as the bridge does; False if the same release is known already.

        Raises:
            schemas.rejection.Rejected: the release id is known, and stands for something else.
        """
        async with failures_told(f"starting release {plan.release}"):
            tuning = Tuning(search_attributes=await self._has_attributes())
            gateway = TemporalGateway(self._client, self._settings.main_queue, tuning, self._cell)
            return await gateway.start(plan, digest, str(uuid4()))

    async def _has_attributes(self) -> bool:
        """Whether releases may be found by search attributes; the bridge adds them, not a person.

        Where that may not be asked, they go without.
        """
        request = ListSearchAttributesRequest(namespace=self._client.namespace)
        try:
            answer = await self._client.operator_service.list_search_attributes(
                request, timeout=_LOOK_TIMEOUT
            )
        except RPCError as error:
            if error.status in _AWAY:
                raise
            return False
        return WANTED.items() <= dict(answer.custom_attributes).items()

    async def status(self, release: str) -> ReleaseStatus:
        """Where a release is: its own answer while it runs, its result once it has ended.

        Raises:
            CommandError: no such release (4); no worker answers, or it ended without a result (1).
        """
        described = await self._describe(release)
        status = await self._status_of(described, release)
        if status is None:
            state = _word(described.status)
            if state == "running":
                raise UnansweredError(ExitCode.FAILURE, f"release {release}: {_NO_WORKER}")
            text = f"release {release}: it was {state} without a result"
            text += f"; `aviary release explain {release}` tells how far it came"
            raise CommandError(ExitCode.FAILURE, text)
        return status

    async def canaries(self, status: ReleaseStatus) -> dict[str, CanaryStatus]:
        """The canaries of a release that run and answer, by service.

        One that has not begun is not asked: an earlier release's would answer, from its history.
        """
        names = _begun(status)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def ask(service: str) -> CanaryStatus | None:
            handle = self._client.get_workflow_handle(ids.canary_workflow_id(service, self._cell))
            async with limit:
                found = await _query(handle, CanaryStatus)
            return found if found is not None and found.release == status.release else None

        answers = await asyncio.gather(*(ask(name) for name in names))
        return {answer.service: answer for answer in answers if answer is not None}

    async def sights(self, status: ReleaseStatus) -> dict[str, Sight]:
        """What Temporal itself says of the canaries that run, by service: no worker is asked."""
        names = _begun(status)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def ask(service: str) -> Sight | None:
            handle = self._client.get_workflow_handle(ids.canary_workflow_id(service, self._cell))
            async with limit:
                try:
                    described = await handle.describe(rpc_timeout=_LOOK_TIMEOUT)
                except RPCError as error:
                    if error.status is RPCStatusCode.NOT_FOUND:
                        return None
                    raise
            mine = described.parent_id == ids.release_workflow_id(status.release, self._cell)
            return sight_of(described) if mine else None

        async with failures_told(f"release {status.release}"):
            answers = await asyncio.gather(*(ask(name) for name in names))
        return {n: one for n, one in zip(names, answers, strict=True) if one is not None}

    async def timeline(self, release: str) -> Timeline:
        """The timeline of a release, from its history and its canaries'.

        Raises:
            CommandError: no such release (4), or it can't be read (1).
        """
        await self._describe(release)
        async with failures_told(f"release {release}"):
            try:
                return await fetch_timeline(self._client, release, cell=self._cell)
            except ValidationError as error:
                text = f"release {release}: its history is of another version of Aviary: {error}"
                raise CommandError(ExitCode.FAILURE, _one_line(text)) from None

    async def find(self, filters: Filters, limit: int) -> list[Found]:
        """The latest releases, newest first, at most `limit` of them."""
        async with failures_told("listing releases"):
            try:
                check = Filters(waiting=filters.waiting)
                return await self._find(filters.query(), check, limit)
            except RPCError as error:
                unknown = (
                    error.status is RPCStatusCode.INVALID_ARGUMENT and "Aviary" in error.message
                )
                if not unknown:
                    raise
        if filters.needs_attributes:
            text = (
                "--environment: this Temporal does not have Aviary's search attributes; "
                "the bridge adds them when it starts, if it may"
            )
            raise CommandError(ExitCode.FAILURE, text)
        async with failures_told("listing releases"):
            return await self._find(filters.plain_query(), filters, limit)

    async def _find(self, query: str, check: Filters, limit: int) -> list[Found]:
        found: list[Found] = []
        batch: list[WorkflowHandle[object, object]] = []
        begins = ids.release_workflow_id("", self._cell)
        query += f" AND WorkflowId STARTS_WITH '{begins}'"
        async for execution in self._client.list_workflows(query, page_size=min(limit, 100)):
            batch.append(self._client.get_workflow_handle(execution.id, run_id=execution.run_id))
            if len(batch) == min(_AT_ONCE, limit):
                found += await self._look_at(batch, check)
                batch = []
            if len(found) >= limit:
                return found[:limit]
        found += await self._look_at(batch, check)
        return found[:limit]

    async def _look_at(
        self, handles: list[WorkflowHandle[object, object]], check: Filters
    ) -> list[Found]:
        found = await asyncio.gather(*(self._look(handle) for handle in handles))
        return [one for one in found if check.matches(one.status)]

    async def _look(self, handle: WorkflowHandle[object, object]) -> Found:
        described = await handle.describe(rpc_timeout=_LOOK_TIMEOUT)
        release = described.id.removeprefix(ids.release_workflow_id("", self._cell))
        status = await self._status_of(described, release)
        running = described.status is WorkflowExecutionStatus.RUNNING
        state = described.typed_search_attributes.get(_STATE) if running else None
        planned = await self._planned(described) if status is None else {}
        word = state or _word(described.status)
        return Found(release, word, described.start_time, status, planned, running)

    async def _planned(self, described: WorkflowExecutionDescription) -> dict[str, str]:
        """What a release was started with, from its history: no worker is asked."""
        handle = self._client.get_workflow_handle(described.id, run_id=described.run_id)
        async for event in handle.fetch_history_events(page_size=1):
            start = first(event.workflow_execution_started_event_attributes.input) or {}
            try:
                plan = ReleaseInput.model_validate(start).plan
            except ValidationError:  # of another version of Aviary
                return {}
            return {name: one.version for name, one in plan.services.items()}
        return {}

    async def command(self, word: str, release: str, command: Command, patience: timedelta) -> str:
        """Say a word to a release and return its answer.

        A rollback that no worker takes within the time-out is left as a signal: Temporal keeps it
        until one does.

        Raises:
            CommandError: no such release (4); refused, ended already, or nobody answers (1).
        """
        handle = self._client.get_workflow_handle(ids.release_workflow_id(release, self._cell))
        try:
            answer: str = await handle.execute_update(
                word, command, result_type=str, rpc_timeout=patience, id=str(uuid4())
            )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            reason = cause.message if isinstance(cause, ApplicationError) else str(cause or error)
            raise CommandError(ExitCode.FAILURE, f"release {release}: refused: {reason}") from None
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            return await self._unanswered(handle, word, release, command)
        except RPCError as error:
            await self._ended_or_missing(error, release)
            if error.status == RPCStatusCode.FAILED_PRECONDITION:  # its workflow task fails
                return await self._unanswered(handle, word, release, command)
            text = _one_line(f"{word} {release}: {error.status.name}: {error.message}")
            raise CommandError(ExitCode.FAILURE, text) from None
        return answer

    async def way_back(self, release: str) -> Looked:
        """What taking back a release that has ended would do, or what stands in the way.

        Raises:
            CommandError: no such release, or how it ended is not known (4); nobody answers (1).
        """
        async with failures_told(f"release {release}"):
            try:
                return await self._reverter.look(release)
            except UnknownRelease as error:
                raise CommandError(ExitCode.NOT_FOUND, str(error)) from None

    async def take_back(self, looked: Looked, because: str) -> bool:
        """Start the release that takes it back; False if that was started already.

        Raises:
            CommandError: Temporal did not say yes.
            schemas.rejection.Rejected: Temporal will never take it.
        """
        async with failures_told(f"starting release {looked.preview.revert}"):
            return await self._reverter.start(looked, because)

    @property
    def _reverter(self) -> Reverter:
        return Reverter(self._client, self._settings.main_queue, self._cell)

    async def answer(self, service: str, late: LateAnswer, patience: timedelta) -> Given:
        """Give the answer of a hook to a service's canary.

        Raises:
            CommandError: nobody answers (1).
        """
        async with failures_told(f"the canary of {service}"):
            return await give(self._client, service, late, cell=self._cell, patience=patience)

    async def _unanswered(
        self, handle: WorkflowHandle[object, object], word: str, release: str, command: Command
    ) -> str:
        await self._describe(release)
        if word != ids.SIGNAL_ROLLBACK:
            text = f"release {release}: {_NO_WORKER} (the {word} may still count once one does)"
            raise CommandError(ExitCode.FAILURE, text)
        async with failures_told(f"{word} {release}"):
            await handle.signal(word, command)
        return "no worker has answered yet; Temporal keeps the rollback until one does"

    async def _ended_or_missing(self, error: RPCError, release: str) -> None:
        """Tell what NOT_FOUND means: no such release, or one that has ended."""
        if error.status == RPCStatusCode.NOT_FOUND:
            described = await self._describe(release)
            status = await self._status_of(described, release)
            state = status.phase.value if status is not None else _word(described.status)
            text = f"release {release}: has ended ({state})"
            raise CommandError(ExitCode.FAILURE, text)

    async def _describe(self, release: str) -> WorkflowExecutionDescription:
        handle = self._client.get_workflow_handle(ids.release_workflow_id(release, self._cell))
        async with failures_told(f"release {release}"):
            try:
                return await handle.describe(rpc_timeout=_LOOK_TIMEOUT)
            except RPCError as error:
                namespace = self._settings.temporal_namespace
                if error.status != RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                    raise
                text = f"release {release}: there is no such release in namespace {namespace}"
                raise CommandError(ExitCode.NOT_FOUND, text) from None

    async def _status_of(
        self, described: WorkflowExecutionDescription, release: str
    ) -> ReleaseStatus | None:
        """Its result if it has one (needs no worker), its own answer while it runs, else None."""
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return await self._result(described, release)
        return await _query(
            self._client.get_workflow_handle(described.id, run_id=described.run_id), ReleaseStatus
        )

    async def _result(
        self, described: WorkflowExecutionDescription, release: str
    ) -> ReleaseStatus | None:
        handle = self._client.get_workflow_handle(
            described.id, run_id=described.run_id, result_type=ReleaseStatus
        )
        async with failures_told(f"release {release}"):
            try:
                result: ReleaseStatus = await handle.result(rpc_timeout=_LOOK_TIMEOUT)
            except WorkflowFailureError:
                return None
        return result


@cache
def _runtime() -> Runtime:
    """The SDK without its own lines: whatever matters is raised, and told in words."""
    logging.getLogger("temporalio").addHandler(logging.NullHandler())
    return Runtime(telemetry=TelemetryConfig(logging=None))


def _begun(status: ReleaseStatus) -> list[str]:
    """The services whose canaries run."""
    running = (one for one in status.services if not one.phase.closed)
    return [one.service for one in running if one.phase is not CanaryPhase.WAITING]


async def _query(handle: WorkflowHandle[object, object], answer: type[_T]) -> _T | None:
    """Ask a workflow for its status; None if it isn't there or nobody answers for it."""
    try:
        answered: _T = await handle.query(
            ids.QUERY_STATUS, result_type=answer, rpc_timeout=_LOOK_TIMEOUT
        )
    except WorkflowQueryFailedError:
        return None
    except RPCError as error:
        if error.status is RPCStatusCode.UNAVAILABLE:
            raise
        return None
    return answered


def _word(status: WorkflowExecutionStatus | None) -> str:
    return status.name.lower() if status is not None else "unknown"


def _one_line(text: str) -> str:
    return " ".join(text.split())
