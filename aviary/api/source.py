"""Where the API has releases from: what it asks of Temporal, with every failure as an answer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, NoReturn, Protocol

from pydantic import ValidationError
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.client import WorkflowExecution as Execution
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError as UnansweredUpdate
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.announce import PUBLISH
from adapters.errors import Retryable
from aviary.api.problems import Problem
from aviary.connect import connect_temporal
from aviary.history.events import first
from aviary.releases.failing import CommandError, ExitCode, UnansweredError
from aviary.releases.finding import Filters
from aviary.releases.remote import Releases
from aviary.releases.sight import Sight
from aviary.settings import Settings
from schemas import attributes, ids
from schemas.release import CanaryStatus, Command, ReleaseInput, ReleaseStatus

_PATIENCE_S: Final = 10.0
_ASK: Final = timedelta(seconds=5)
_PLANS: Final = 2000
"""Releases whose services are remembered: they never change."""
_NO_WORKER: Final = "no worker has answered"


@dataclass(frozen=True)
class Listed:
    """One release of a list, as Temporal's index has it: a moment late, and no worker is asked."""

    release: str
    state: str
    """A `ReleasePhase`, or Temporal's own word where there is no more: running, terminated …"""
    started_at: datetime
    finished_at: datetime | None
    services: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    environment: str | None = None
    verdict: str | None = None
    cause: str | None = None
    because_of: str | None = None


@dataclass(frozen=True)
class Page:
    """Some releases, newest first."""

    releases: Sequence[Listed]
    after: bytes | None
    """Where the next page begins; None: there is none."""


@dataclass(frozen=True)
class Look:
    """One release now."""

    status: ReleaseStatus
    canaries: Mapping[str, CanaryStatus]
    sights: Mapping[str, Sight]


@dataclass(frozen=True)
class Said:
    """What a release answered to a word."""

    answer: str
    kept: bool = False
    """Nobody has answered yet; Temporal keeps the word until a worker takes it."""


@dataclass(frozen=True)
class Published:
    """Some of what a release has published, in order."""

    events: Sequence[Any] = ()
    caught_up: bool = False
    """Whether that is all which had been published when the reading began."""


class ReleaseSource(Protocol):
    """What is asked about releases. Each raises `Problem`."""

    async def page(self, filters: Filters, size: int, after: bytes | None) -> Page:
        """Some of the releases that the filters want."""
        ...

    async def look(self, release: str) -> Look:
        """A release now."""
        ...

    async def services(self, release: str) -> frozenset[str]:
        """The services of a release; no worker is asked."""
        ...

    async def say(self, word: str, release: str, command: Command, once: str) -> Said:
        """Say a word to a release; the same `once` again has no second effect."""
        ...

    async def answered(self, release: str, once: str) -> Said | None:
        """What a release has answered to what was said with this `once`; None: nothing yet."""
        ...

    def events(self, release: str) -> AsyncIterator[Published]:
        """What a release has published so far and publishes from now on, until it has ended."""
        ...


class TemporalReleases:
    """The releases of a Temporal, to which it connects when there is the first question.

    Args:
        settings: where Temporal is.
        client: of Temporal, where there is one already.
    """

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self._settings = settings
        self._cell = settings.in_cell
        self._client = client
        self._connecting = asyncio.Lock()
        self._plans: OrderedDict[str, frozenset[str]] = OrderedDict()
        self.patience_s = _PATIENCE_S
        """Seconds that a worker may take to answer."""

    async def page(self, filters: Filters, size: int, after: bytes | None) -> Page:
        """See `ReleaseSource`."""
        client = await self._connected()
        begins = ids.release_workflow_id("", self._cell)
        try:
            query = f"{filters.query()} AND WorkflowId STARTS_WITH '{begins}'"
        except CommandError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, "bad_filter", error.text) from error
        found = client.list_workflows(
            query, page_size=size, next_page_token=after, rpc_timeout=_ASK
        )
        async with _told("releases"):
            try:
                await found.fetch_next_page()
            except RPCError as error:
                _explain_query(error)
        seen: dict[str, Listed] = {}
        for one in found.current_page or ():
            listed = _listed(one, one.id.removeprefix(begins))
            seen.setdefault(listed.release, listed)  # of a release that was reset, the later run
        return Page(list(seen.values()), found.next_page_token)

    async def look(self, release: str) -> Look:
        """See `ReleaseSource`."""
        releases = Releases(await self._connected(), self._settings)
        async with _told(f"release {release}"):
            status = await releases.status(release)
            if status.phase.closed:
                return Look(status, {}, {})
            asked = asyncio.gather(releases.canaries(status), releases.sights(status))
            return Look(status, *(await asked))

    async def services(self, release: str) -> frozenset[str]:
        """See `ReleaseSource`."""
        client = await self._connected()
        async with _told(f"release {release}"):
            handle = client.get_workflow_handle(ids.release_workflow_id(release, self._cell))
            described = await handle.describe(rpc_timeout=_ASK)
            known = self._plans.get(described.run_id)
            if known is not None:
                return known
            handle = client.get_workflow_handle(described.id, run_id=described.run_id)
            async for event in handle.fetch_history_events(page_size=1, rpc_timeout=_ASK):
                start = first(event.workflow_execution_started_event_attributes.input)
                named = await asyncio.to_thread(_planned, start)
                self._plans[described.run_id] = named
                if len(self._plans) > _PLANS:
                    self._plans.popitem(last=False)
                return named
        raise _gone(release)

    async def say(self, word: str, release: str, command: Command, once: str) -> Said:
        """See `ReleaseSource`; a rollback that nobody takes is left with Temporal, once."""
        client = await self._connected()
        workflow = ids.release_workflow_id(release, self._cell)
        handle = client.get_workflow_handle(workflow)
        try:
            answer: str = await handle.execute_update(
                word,
                command,
                id=once,
                result_type=str,
                rpc_timeout=timedelta(seconds=self.patience_s),
            )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            why = cause.message if isinstance(cause, ApplicationError) else str(cause or error)
            raise Problem(
                HTTPStatus.CONFLICT, "refused", f"release {release}: refused: {why}"
            ) from error
        except UnansweredUpdate:
            return await self._unanswered(word, workflow, command, once)
        except RPCError as error:
            if error.status is RPCStatusCode.FAILED_PRECONDITION:  # its workflow task fails
                return await self._unanswered(word, workflow, command, once)
            if error.status is RPCStatusCode.NOT_FOUND and "completed" in error.message:
                text = f"release {release}: has ended"
                raise Problem(HTTPStatus.CONFLICT, "ended", text) from error
            raise _of_rpc(error, f"release {release}") from error
        return Said(answer)

    async def answered(self, release: str, once: str) -> Said | None:
        """See `ReleaseSource`; what was refused may be said again."""
        client = await self._connected()
        handle = client.get_workflow_handle(ids.release_workflow_id(release, self._cell))
        asked = handle.get_update_handle(once, result_type=str)
        try:
            return Said(await asked.result(rpc_timeout=timedelta(seconds=self.patience_s)))
        except (WorkflowUpdateFailedError, UnansweredUpdate):
            return None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise _of_rpc(error, f"release {release}") from error

    async def _unanswered(self, word: str, workflow: str, command: Command, once: str) -> Said:
        if word != ids.SIGNAL_ROLLBACK:
            text = f"{_NO_WORKER}: the {word} may count once one does; ask again with the same key"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no_worker", text)
        client = await self._connected()
        request = SignalWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow),
            signal_name=word,
            input=Payloads(payloads=await client.data_converter.encode([command])),
            request_id=once,  # by which Temporal takes the same signal once
        )
        async with _told(workflow):
            await client.workflow_service.signal_workflow_execution(request, timeout=_ASK)
        return Said(f"{_NO_WORKER} yet; Temporal keeps the rollback until one does", kept=True)

    async def events(self, release: str) -> AsyncIterator[Published]:
        """See `ReleaseSource`.

        They are read from the release's own history, which has each before Kafka does.
        """
        client = await self._connected()
        async with _told(f"release {release}"):
            handle = client.get_workflow_handle(ids.release_workflow_id(release, self._cell))
            described = await handle.describe(rpc_timeout=_ASK)
            handle = client.get_workflow_handle(described.id, run_id=described.run_id)
            pages = handle.fetch_history_events(page_size=500, wait_new_event=True)
            async for event in pages:
                caught_up = event.event_id >= described.history_length
                if events := _published(event):
                    yield Published(events, caught_up)
                elif caught_up:
                    yield Published(caught_up=True)

    async def _connected(self) -> Client:
        try:
            async with asyncio.timeout(_PATIENCE_S), self._connecting:
                self._client = self._client or await connect_temporal(self._settings)
        except (TimeoutError, Retryable) as error:
            text = "Temporal can't be reached now"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "away", text) from error
        return self._client


@asynccontextmanager
async def _told(what: str) -> AsyncIterator[None]:
    """Every failure of what is asked of Temporal as an answer."""
    try:
        yield
    except RPCError as error:
        raise _of_rpc(error, what) from error
    except UnansweredError as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no_worker", error.text) from error
    except CommandError as error:
        if error.code is ExitCode.NOT_FOUND:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown", error.text) from error
        raise Problem(HTTPStatus.CONFLICT, "no_result", error.text) from error


def _of_rpc(error: RPCError, what: str) -> Problem:
    if error.status is RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
        return Problem(HTTPStatus.NOT_FOUND, "unknown", f"{what}: there is none of this id")
    text = f"{what}: Temporal answers {error.status.name}"
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "away", text)


def _gone(release: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "unknown", f"release {release}: there is none of this id")


def _explain_query(error: RPCError) -> NoReturn:
    """Tell a query that Temporal can't answer from a Temporal that is away."""
    if error.status is not RPCStatusCode.INVALID_ARGUMENT:
        raise error
    if "Aviary" in error.message:
        text = (
            "this Temporal does not have Aviary's search attributes, which such a filter needs; "
            "the bridge adds them when it starts, if it may"
        )
        raise Problem(HTTPStatus.NOT_IMPLEMENTED, "no_attributes", text) from error
    text = "after: expected what the page before said of the next one"
    raise Problem(HTTPStatus.BAD_REQUEST, "bad_page", text) from error


def _published(event: HistoryEvent) -> list[Any]:
    """The events of a call that publishes some; none of any other event of a history."""
    if event.event_type != EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        return []
    scheduled = event.activity_task_scheduled_event_attributes
    if scheduled.activity_type.name != PUBLISH:
        return []
    batch = first(scheduled.input)
    events = batch.get("events") if isinstance(batch, dict) else None
    return events if isinstance(events, list) else []


def _planned(start: Any) -> frozenset[str]:
    try:
        return frozenset(ReleaseInput.model_validate(start or {}).plan.services)
    except ValidationError:  # of another version of Aviary: nobody's service is named
        return frozenset()


_KEYS: Final = {
    name: SearchAttributeKey.for_keyword(name)
    for name in (
        attributes.STATE,
        attributes.ENVIRONMENT,
        attributes.VERDICT,
        attributes.CAUSE,
        attributes.CAUSE_SERVICE,
    )
}
_LISTS: Final = {
    name: SearchAttributeKey.for_keyword_list(name) for name in attributes.KEYWORD_LISTS
}
_ENDED_OTHERWISE: Final = {
    WorkflowExecutionStatus.TERMINATED,
    WorkflowExecutionStatus.FAILED,
    WorkflowExecutionStatus.TIMED_OUT,
    WorkflowExecutionStatus.CANCELED,
}
"""Such a release keeps the last state that it had, which is not where it is."""


def _listed(one: Execution, release: str) -> Listed:
    known = one.typed_search_attributes
    word = one.status.name.lower() if one.status is not None else "unknown"
    state = known.get(_KEYS[attributes.STATE])
    return Listed(
        release=release,
        state=word if state is None or one.status in _ENDED_OTHERWISE else state,
        started_at=one.start_time,
        finished_at=one.close_time,
        services=tuple(known.get(_LISTS[attributes.SERVICE]) or ()),
        versions=tuple(known.get(_LISTS[attributes.VERSION]) or ()),
        environment=known.get(_KEYS[attributes.ENVIRONMENT]),
        verdict=known.get(_KEYS[attributes.VERDICT]),
        cause=known.get(_KEYS[attributes.CAUSE]),
        because_of=known.get(_KEYS[attributes.CAUSE_SERVICE]),
    )
