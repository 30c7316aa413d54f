"""Blame: of which of several releases is a symptom the doing?

Asked while an alert waits for the answer, so that it is given soon or not at all: an answer that
lacks a suspect would blame another one, and is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from pydantic import AwareDatetime
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from activities.clock import server_now
from activities.failures import FailureReader, Failures
from activities.policy import Policy, forever, terminal_errors
from adapters.errors import AdapterError, Retryable
from analysis.blame import (
    LOOK_BACK_S,
    Ranking,
    Suspect,
    Symptom,
    looked_at,
    rank,
    relations,
    strength,
)
from analysis.blame_words import sentence, summary
from analysis.rises import Exposure, Point
from schemas.base import Model, ReleaseId, ServiceName
from schemas.blame import RANKED_MOST, Blame, BlamedRelease, Exposed
from schemas.catalog import Catalog
from schemas.ids import CANARY_WORKFLOW, QUERY_EXPOSED, Cell, canary_workflow_id, cell_of
from schemas.outside import TEXT_MOST, cut
from schemas.release import CanaryOutcome

BLAME: Final = "aviary.blame"
SUSPECTS_MOST: Final = 40
"""Canaries that are asked: of more, those that are nearest in the call graph."""
COUNTED_MOST: Final = 10
"""Of them, how many are compared with their stable versions."""
_RPC: Final = timedelta(seconds=1)


def blame_policy(within: timedelta) -> Policy:
    """Until then or never: what waits for the answer does without.

    Args:
        within: how long the answer is waited for.
    """
    return Policy(
        start_to_close=within,
        retry=forever(timedelta(milliseconds=200)),
        schedule_to_close=within,
    )


class AskBlame(Model):
    """Ask whose doing a symptom is."""

    release: ReleaseId
    """Who asks."""
    even_alone: bool = False
    """Whether to judge where no other release is a suspect: it alone, or nobody's doing."""
    symptom: ServiceName
    """The service that alerts."""
    within: timedelta
    since: AwareDatetime
    """When the alert began."""


class Canaries(Protocol):
    """Knows the canaries that run or have lately ended."""

    async def lately(self, since: datetime) -> Iterable[ServiceName]:
        """Services with a canary that runs, or has ended since then. Raises `Retryable`."""
        ...

    async def exposed(self, service: ServiceName) -> Exposed | None:
        """What a service's newest canary says of its exposure. Raises `Retryable`."""
        ...


class BlameActivities:
    """Activities over canaries, the catalog, and metrics.

    Args:
        canaries: of this cell.
        catalog: hands out the catalog; its dependencies are the call graph.
        failures: reads metrics; None: there are none to read, and nothing is known.
        clock: now, in UTC; Temporal's own when left out.
    """

    def __init__(
        self,
        canaries: Canaries,
        catalog: Callable[[], Catalog],
        failures: FailureReader | None,
        clock: Callable[[], datetime] = server_now,
    ) -> None:
        self._canaries = canaries
        self._catalog = catalog
        self._failures = failures
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "blame")

    @activity.defn(name=BLAME)
    async def blame(self, request: AskBlame) -> Blame:
        """Whose doing it is, as far as metrics tell by now; nothing goes on once it is too late."""
        with terminal_errors():
            try:
                async with asyncio.timeout(request.within.total_seconds()):
                    return await self._blame(request)
            except TimeoutError as error:
                raise Retryable(f"no answer within {request.within}") from error

    async def _blame(self, request: AskBlame) -> Blame:
        now = self._clock()
        catalog = self._catalog()
        graph = {name: spec.depends_on for name, spec in catalog.services.items()}
        exposed = await self._exposed(request.symptom, graph, now)
        others = any(one.release != request.release for one in exposed)
        if not others and not (request.even_alone and exposed):
            return Blame(alone=True)
        if self._failures is None:
            return Blame(known=False, text="there are no metrics to read")
        times = looked_at(now.timestamp())
        symptom, metric = await self._symptom(self._failures, catalog, request, exposed, times)
        if symptom is None:
            text = f"no metric of {request.symptom} counts what failed"
            return Blame(known=False, text=text)
        suspects = await self._suspects(self._failures, catalog, exposed, times, metric)
        # For many suspects a second of arithmetic: route writes share this event loop, and the
        # threads beside it.
        loop = asyncio.get_running_loop()
        return answer(await loop.run_in_executor(self._thread, rank, symptom, suspects, graph))

    async def _exposed(
        self, symptom: ServiceName, graph: Mapping[str, Iterable[str]], now: datetime
    ) -> list[Exposed]:
        """The canaries along the calls that had requests, the nearest first."""
        since = now - timedelta(seconds=LOOK_BACK_S)
        related = relations(symptom, graph)
        near = [one for one in await self._canaries.lately(since) if one in related]
        near.sort(key=lambda one: (related[one][1], one))
        found = await asyncio.gather(*map(self._canaries.exposed, near[:SUSPECTS_MOST]))
        return [one for one in found if one is not None and any(c.weight for c in one.changes)]

    async def _symptom(
        self,
        failures: FailureReader,
        catalog: Catalog,
        request: AskBlame,
        exposed: Sequence[Exposed],
        times: Sequence[float],
    ) -> tuple[Symptom | None, str]:
        """What failed of the service that alerts, by the metric that shows it best."""
        if request.symptom not in catalog.services:
            return None, ""
        service = catalog.resolve(request.symptom)
        own = next((one for one in exposed if one.service == request.symptom), None)
        versions = _versions(own) if own is not None else await failures.versions(service)
        read = await failures.read(service, versions, times)
        sums = {name: _sum(list(arms.values())) for name, arms in read.items()}
        if not sums:
            return None, ""
        best = max(sums, key=lambda name: strength(sums[name]))
        return Symptom(request.symptom, sums[best]), best

    async def _suspects(
        self,
        failures: FailureReader,
        catalog: Catalog,
        exposed: Sequence[Exposed],
        times: Sequence[float],
        metric: str,
    ) -> list[Suspect]:
        counted = await asyncio.gather(
            *(self._own(failures, catalog, one, times) for one in exposed[:COUNTED_MOST])
        )
        without: list[Failures] = [{}] * max(len(exposed) - COUNTED_MOST, 0)
        return [
            _suspect(one, read, metric)
            for one, read in zip(exposed, [*counted, *without], strict=True)
        ]

    async def _own(
        self, failures: FailureReader, catalog: Catalog, one: Exposed, times: Sequence[float]
    ) -> Failures:
        """Its own counts; none where they can't be had: then nothing is said of them."""
        if one.service not in catalog.services or one.before is None:
            return {}
        try:
            return await failures.read(catalog.resolve(one.service), _versions(one), times)
        except AdapterError as error:
            extra = {"service": one.service, "error": str(error)}
            activity.logger.warning("a suspect can't be compared", extra=extra)
            return {}


def _versions(one: Exposed) -> tuple[str, ...]:
    return (one.version,) if one.before in {None, one.version} else (one.version, str(one.before))


def _sum(arms: Sequence[tuple[Point, ...]]) -> tuple[Point, ...]:
    return tuple(
        Point(row[0].at, sum(one.bad for one in row), sum(one.total for one in row))
        for row in zip(*arms, strict=True)
    )


def _suspect(one: Exposed, read: Failures, metric: str) -> Suspect:
    arms = read.get(metric) or next(iter(read.values()), {})
    return Suspect(
        release=one.release,
        service=one.service,
        version=one.version,
        exposures=tuple(Exposure(each.at.timestamp(), each.weight) for each in one.changes),
        canary=arms.get(one.version, ()),
        stable=arms.get(one.before or "", ()),
    )


def answer(ranking: Ranking) -> Blame:
    """A ranking, for those who asked."""
    culprit = ranking.culprit
    return Blame(
        known=ranking.onset is not None,
        culprit=culprit.release if culprit is not None else None,
        text=cut(summary(ranking), TEXT_MOST),
        ranked=tuple(
            BlamedRelease(
                release=one.release,
                services=tuple(dict.fromkeys(each.suspect.service for each in one.evidence)),
                chance=min(one.chance, 1.0),
                text=cut(sentence(one), TEXT_MOST),
            )
            for one in ranking.releases[:RANKED_MOST]
        ),
        others=min(ranking.others, 1.0),
    )


class TemporalCanaries:
    """`Canaries`, as Temporal knows them: those of the cell of the workflow that asks."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def lately(self, since: datetime) -> list[ServiceName]:
        """Those that Temporal lists. It may be a second behind: one so new has no requests yet."""
        prefix = canary_workflow_id("", _cell())
        query = (
            f"WorkflowType = '{CANARY_WORKFLOW}' AND WorkflowId STARTS_WITH '{prefix}' AND "
            f"(ExecutionStatus = 'Running' OR CloseTime > '{since.astimezone(UTC).isoformat()}')"
        )
        try:
            found = {
                one.id.removeprefix(prefix): None
                async for one in self._client.list_workflows(query, rpc_timeout=_RPC)
                if one.id.startswith(prefix)
            }
        except RPCError as error:
            raise Retryable(f"listing canaries: {error.status.name}: {error.message}") from error
        return list(found)

    async def exposed(self, service: ServiceName) -> Exposed | None:
        """Asked of a canary that runs, and read from the outcome of one that has ended."""
        workflow_id = canary_workflow_id(service, _cell())
        try:
            handle = self._client.get_workflow_handle(workflow_id)
            found: Any = await handle.query(
                QUERY_EXPOSED,
                result_type=Exposed,
                reject_condition=QueryRejectCondition.NOT_OPEN,
                rpc_timeout=_RPC,
            )
        except WorkflowQueryRejectedError:
            return await self._of_outcome(workflow_id)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise Retryable(f"{workflow_id}: {error.status.name}: {error.message}") from error
        return Exposed.model_validate(found)

    async def _of_outcome(self, workflow_id: str) -> Exposed | None:
        """None of one that was ended from outside: its traffic is another run's, or drift's."""
        try:
            handle = self._client.get_workflow_handle(workflow_id)
            if (
                await handle.describe(rpc_timeout=_RPC)
            ).status != WorkflowExecutionStatus.COMPLETED:
                return None
            handle = self._client.get_workflow_handle(workflow_id, result_type=CanaryOutcome)
            outcome: CanaryOutcome = await handle.result(rpc_timeout=_RPC)
        except RPCError as error:
            raise Retryable(f"{workflow_id}: {error.status.name}: {error.message}") from error
        return outcome.exposed


def _cell() -> Cell:
    return cell_of(activity.info().workflow_id or "")
