"""Whether every task queue is polled, by what the SDK counts of its own polls.

A worker whose queue nobody polls does nothing, however well its process answers. The SDK counts
each poll that it sends, its answer or refusal, and how many wait for an answer now; to look at
that costs no request, and says what the server said to this very process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge

from adapters.errors import Retryable
from aviary.telemetry.temporal_metrics import TemporalMetrics
from schemas.ids import deploying_queue, effects_queue, judging_queue, waiting_queue

ENDS_AFTER_S: Final = 120.0
"""A queue that is not polled for so long, though Temporal answers, ends the process."""
_LOOK_S: Final = 1.0
_REFUSED_FOR_S: Final = 5.0
"""Refusals without an answer between them for so long are no passing trouble."""
_REFUSED_WITHIN_S: Final = 15.0
"""The SDK asks again within 10 s: a poll that was not refused for longer than that stands."""
_SETTLES_S: Final = 5.0
_SILENT_S: Final = 100.0
"""Temporal answers a poll within 60 s, with nothing if there is nothing to do."""
_PASSING: Final = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"})
"""What a server that is busy says now and then."""
_log = structlog.get_logger("aviary.polling")

Ready = Callable[[], Awaitable[None]]


class Work(StrEnum):
    """What a poll asks for; a queue may be polled for both."""

    WORKFLOWS = "workflows"
    ACTIVITIES = "activities"


@dataclass(frozen=True)
class PolledQueue:
    """One kind of work of one task queue."""

    queue: str
    work: Work

    def __str__(self) -> str:
        return f"queue {self.queue} ({self.work})"


_OPERATION: Final = {
    Work.WORKFLOWS: "PollWorkflowTaskQueue",
    Work.ACTIVITIES: "PollActivityTaskQueue",
}
_POLLERS: Final = {
    Work.WORKFLOWS: ("workflow_task", "sticky_workflow_task"),
    Work.ACTIVITIES: ("activity_task",),
}
_SLOTS: Final = {Work.WORKFLOWS: "WorkflowWorker", Work.ACTIVITIES: "ActivityWorker"}


def polled_queues(prefix: str) -> tuple[PolledQueue, ...]:
    """All that a worker polls (`aviary.queues.build_workers`)."""
    return (
        PolledQueue(prefix, Work.WORKFLOWS),
        *(
            PolledQueue(queue, Work.ACTIVITIES)
            for queue in (
                prefix,
                judging_queue(prefix),
                effects_queue(prefix),
                waiting_queue(prefix),
                deploying_queue(prefix),
            )
        ),
    )


@dataclass(frozen=True)
class Sample:
    """What was counted of one queue so far."""

    open: float
    """Polls that wait for an answer now."""
    busy: bool
    """Every slot is taken: the SDK then does not poll, and need not."""
    answered: float
    refused: float
    reason: str = ""
    """The codes of the refusals."""
    denied: float = 0.0
    """Refusals of polls for workflows that are no passing ones. The SDK counts answers of its own
    sticky queue beside them, which say nothing of the queue itself."""


def sample(metrics: TemporalMetrics, polled: PolledQueue) -> Sample:
    """Look at the SDK's own counts."""
    queue, operation = polled.queue, _OPERATION[polled.work]
    pollers = metrics.sums("temporal_num_pollers", "poller_type", task_queue=queue)
    slots = metrics.sums("temporal_worker_task_slots_available", "worker_type", task_queue=queue)
    refused = metrics.sums(
        "temporal_long_request_failure", "status_code", task_queue=queue, operation=operation
    )
    ended = metrics.sums("temporal_long_request_latency", "operation", task_queue=queue)
    return Sample(
        open=sum(pollers.get(kind, 0.0) for kind in _POLLERS[polled.work]),
        busy=slots.get(_SLOTS[polled.work], 1.0) <= 0,
        answered=ended.get(operation, 0.0) - sum(refused.values()),
        refused=sum(refused.values()),
        reason=", ".join(sorted(refused)),
        denied=sum(count for code, count in refused.items() if code not in _PASSING)
        if polled.work is Work.WORKFLOWS
        else 0.0,
    )


class _Watched:
    """One queue over time, in seconds of this process's own running."""

    def __init__(self) -> None:
        self._last = Sample(open=0, busy=False, answered=0, refused=0)
        self._sign_at = 0.0
        """When there last was an answer, or reason to expect none."""
        self._refused_from: float | None = None
        self._refused_at = 0.0
        self._denied_at = -_REFUSED_WITHIN_S

    def see(self, now: Sample, at: float) -> None:
        if now.denied > self._last.denied:
            self._denied_at = at
        denied = at - self._denied_at < _REFUSED_WITHIN_S
        if (now.answered > self._last.answered and not denied) or now.busy:
            self._sign_at = at
            self._refused_from = None
        elif now.refused > self._last.refused:
            self._refused_from = at if self._refused_from is None else self._refused_from
            self._refused_at = at
        elif at - self._refused_at > _REFUSED_WITHIN_S:
            self._refused_from = None
        self._last = now

    def trouble(self, at: float) -> str:
        """Why nobody polls; empty while somebody does."""
        if self._last.busy:
            return ""
        if self._last.open <= 0:
            return "no poll is open"
        if self._refused_from is not None:
            lasted = self._refused_at - self._refused_from
            if lasted >= _REFUSED_FOR_S:
                return f"polls are refused ({self._last.reason})"
        return "polls are not answered" if at - self._sign_at > _SILENT_S else ""


class Polling:
    """Watches all queues of a worker.

    Time in which this process was frozen, or had no CPU, counts as one look: nothing could have
    polled then, and it is no sign that nothing will.
    """

    def __init__(
        self,
        watched: Sequence[PolledQueue],
        look: Callable[[PolledQueue], Sample],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Watch these queues; `look` says what was counted of one so far.

        `registry` gets `aviary_queue_polled`: 1 for each lane that is polled, else 0.
        """
        self._polled_queues = {polled: _Watched() for polled in watched}
        text = (
            "1 while this worker polls the task queue for this kind of work, 0 while it does not."
        )
        self._polled = Gauge("aviary_queue_polled", text, ["queue", "work"], registry=registry)
        self._look = look
        self._clock = clock
        self._sleep = sleep
        self._ran = 0.0
        self._told = ""
        self._looked_at = clock()

    def look(self) -> float:
        """Look once; return the seconds that count since the look before."""
        now = self._clock()
        passed = min(now - self._looked_at, 2 * _LOOK_S)
        self._looked_at = now
        self._ran += passed
        for polled, watched in self._polled_queues.items():
            watched.see(self._look(polled), self._ran)
            self._polled.labels(polled.queue, polled.work).set(not watched.trouble(self._ran))
        return passed

    def trouble(self) -> str:
        """Every queue that is not polled, and why; empty when all are."""
        found = (
            (polled, watched.trouble(self._ran)) for polled, watched in self._polled_queues.items()
        )
        return "; ".join(f"{polled}: {why}" for polled, why in found if why)

    def check(self) -> None:
        """Raise `Retryable` with the queues that are not polled."""
        if trouble := self.trouble():
            raise Retryable(f"Temporal: not polled: {trouble}")

    async def run(self, reachable: Ready) -> str:
        """Look for ever; return why not, once a queue was not polled for too long.

        Args:
            reachable: raises `Retryable` while Temporal is away: to end would change nothing then.
        """
        lasted = 0.0
        while lasted <= ENDS_AFTER_S:
            await self._sleep(_LOOK_S)
            passed = self.look()
            self._tell()
            if not self.trouble():
                lasted = 0.0
            elif await _there(reachable):
                lasted += passed
        return f"not polled for {ENDS_AFTER_S:g} s, though Temporal answers: {self.trouble()}"

    def _tell(self) -> None:
        """Log a change; all is still at rest when a worker has just begun."""
        trouble = self.trouble()
        if trouble == self._told or self._ran < _SETTLES_S:
            return
        self._told = trouble
        if trouble:
            _log.warning("not_polled", polled_queues=trouble)
        else:
            _log.info("polled_again")


async def _there(reachable: Ready) -> bool:
    try:
        await reachable()
    except Retryable:
        return False
    return True
