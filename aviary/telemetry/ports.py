"""Measuring and tracing adapters from outside: each port wrapped, its behaviour unchanged.

What a release does is counted where it takes effect (a confirmed write, a durable event), in
activities and never in workflows, so that a replay counts nothing. An activity that is repeated
because its worker died after the effect counts twice: these are for dashboards, not for accounts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Histogram

from adapters.errors import AdapterError, Terminal, fault_of
from adapters.kafka import Outgoing, Writer
from adapters.ports import EventLog, MetricsSource, Router
from aviary.telemetry.carrier import from_context, received, to_record
from aviary.telemetry.spans import span
from schemas.event_kinds import EventType
from schemas.events import CloudEvent
from schemas.phases import ReleasePhase
from schemas.reading import Fault, Series, partial_of
from schemas.release import CauseKind
from schemas.route import Confirmation, Route

RESTORED_BUCKETS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 1800)
_WRITE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_WRITE_ERRORS: Final = (
    "Retryable",
    "Terminal",
    "UnknownRoute",
    "Unsupported",
    "StaleGeneration",
    "ForeignChange",
)
_FAILURES: Final = ("worse_than_stable", "over_limit", "kayenta_score", "sample_ratio_mismatch")
_UNJUDGED: Final = ("not_judged", "no_data")
_CANARY: Final = "dev.aviary.canary."
_STATES: Final = {phase.about.event: phase.value for phase in ReleasePhase}


class WorkerMetrics:
    """What a worker counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all of them; series that must be seen to grow from 0 are made at once."""

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"aviary_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"aviary_{name}", text, labels, buckets=buckets, registry=registry)

        self.events = counter("events", "Events published, by type.", "type")
        self.unpublished = counter("events_unpublished", "Events that can never be published.")
        self.releases = counter("releases", "Times a release entered a state.", "state")
        self.rollbacks = counter("rollbacks", "Releases that began to go back, by cause.", "cause")
        self.verdicts = counter("verdicts", "Final verdicts.", "kind", "reason", "service")
        self.stuck = counter("stuck", "Rollbacks that became stuck.")
        self.drift = counter("drift_found", "Canaries that nobody looked after, taken back.")
        text = "Seconds from an alert at the webhook to the write that gave stable all requests."
        self.restored = histogram("alert_to_restored_seconds", text, RESTORED_BUCKETS)
        text = "Seconds that a confirmed router write took."
        self.writes = histogram("router_write_seconds", text, _WRITE_BUCKETS, "router")
        text = "Router writes that failed, by kind of error."
        self.write_failures = counter("router_write_failures", text, "router", "error")
        text = "Seconds that a request to the metrics source took, with the queries of a moment."
        self.queries = histogram("judge_query_seconds", text, _WRITE_BUCKETS)
        text = "Requests to the metrics source that failed, by kind of fault."
        self.query_failures = counter("judge_query_failures", text, "error")
        text = "Readings of a metric that were no evidence, by kind of fault."
        self.readings_missed = counter("judge_readings_missed", text, "fault")
        for kind in EventType:
            self.events.labels(_short(kind))
        for phase in ReleasePhase:
            self.releases.labels(phase.value)
        for cause in CauseKind:
            self.rollbacks.labels(cause.value)
        for fault in Fault:
            self.query_failures.labels(fault.value)
            self.readings_missed.labels(fault.value)

    def missed(self, fault: Fault) -> None:
        """A reading of a metric was no evidence."""
        self.readings_missed.labels(fault.value).inc()


def _short(kind: str) -> str:
    return kind.removeprefix("dev.aviary.").removesuffix(".v1")


class MeasuredRouter:
    """A router whose writes are measured, and seen in the trace."""

    def __init__(
        self,
        router: Router,
        kind: str,
        metrics: WorkerMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._router = router
        self._kind = kind
        self._metrics = metrics
        self._clock = clock
        for error in _WRITE_ERRORS:
            metrics.write_failures.labels(kind, error)

    async def read(self, service: str) -> Route:
        """As the router has it."""
        return await self._router.read(service)

    async def aclose(self) -> None:
        """As the router does."""
        await self._router.aclose()

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """As the router does; a write that restores stable's traffic for an alert is timed."""
        began = time.perf_counter()
        with span(
            f"router write {self._kind}",
            SpanKind.CLIENT,
            aviary__service=route.service,
            aviary__release=route.owner,
            aviary__weight=route.weight,
            aviary__generation=route.generation,
        ):
            try:
                confirmation = await self._router.apply(route, over)
            except AdapterError as error:
                self._metrics.write_failures.labels(self._kind, type(error).__name__).inc()
                raise
            self._metrics.writes.labels(self._kind).observe(time.perf_counter() - began)
            at = received()
            if at is not None and route.canary is None:
                self._tell_restored(max(0.0, self._clock() - at))
        return confirmation

    def _tell_restored(self, seconds: float) -> None:
        self._metrics.restored.observe(seconds)
        current = trace.get_current_span()
        current.add_event("traffic restored", {"aviary.seconds_since_alert": seconds})


class MeasuredSource:
    """A metrics source whose answers are timed, and whose failures are counted."""

    def __init__(self, source: MetricsSource, metrics: WorkerMetrics) -> None:
        self._source = source
        self._metrics = metrics

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        """As the source answers; an answer with warnings is counted as a failure, too."""
        with self._metrics.queries.time():
            try:
                found = await self._source.query(promql, at)
            except AdapterError as error:
                self._metrics.query_failures.labels(fault_of(error).value).inc()
                raise
        if partial_of(found):
            self._metrics.query_failures.labels(Fault.PARTIAL.value).inc()
        return found


class MeasuredLog:
    """An event log that counts what the durable events say."""

    def __init__(self, log: EventLog, metrics: WorkerMetrics) -> None:
        self._log = log
        self._metrics = metrics

    async def publish(self, events: Sequence[CloudEvent]) -> None:
        """As the log does; counted once they are durable, or once they never can be."""
        try:
            await self._log.publish(events)
        except Terminal:
            if len(events) == 1:  # a batch is tried again, one by one
                self._metrics.unpublished.inc()
            raise
        for event in events:
            if isinstance(event.type, EventType):  # the CDEvents say the same once more
                self._count(event.type, event.data)

    def _count(self, kind: EventType, data: Mapping[str, Any]) -> None:
        metrics = self._metrics
        metrics.events.labels(_short(kind)).inc()
        if kind in _STATES:
            metrics.releases.labels(_STATES[kind]).inc()
        if kind.startswith(_CANARY):
            for reason in _FAILURES:  # from 0, so that the first failure is growth
                metrics.verdicts.labels("FAIL", reason, data.get("service", ""))
            for reason in _UNJUDGED:
                metrics.verdicts.labels("INCONCLUSIVE", reason, data.get("service", ""))
        match kind:
            case EventType.RELEASE_ROLLINGBACK:
                metrics.rollbacks.labels((data.get("cause") or {}).get("kind", "unknown")).inc()
            case EventType.CANARY_JUDGED:
                verdict, service = data.get("verdict") or {}, data.get("service", "")
                said = verdict.get("kind", "unknown"), verdict.get("reason", "unknown")
                metrics.verdicts.labels(*said, service).inc()
            case EventType.CANARY_STUCK:
                metrics.stuck.inc()
            case EventType.DRIFT_FOUND:
                metrics.drift.inc()


class TracedWriter:
    """A writer whose records take the trace along, so that whoever reads them can go on with it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Write as the writer does, in a span of its own."""
        topic = records[0].topic if records else ""
        with span(f"send {topic}", SpanKind.PRODUCER, messaging__system="kafka"):
            carrier = {k: v for k, v in from_context().items() if k != "baggage"}
            more = to_record(carrier)
            await self._writer.send(
                [Outgoing(one.topic, one.value, one.key, (*one.headers, *more)) for one in records]
            )
