"""Spans of what bridge, webhook and adapters do; nothing is recorded without an exporter."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from aviary.telemetry.carrier import Carrier, Place, to_context

Value = str | int | float | bool
MOST_LINKS: Final = 32

given_ids: contextvars.ContextVar[tuple[int, int] | None] = contextvars.ContextVar(
    "aviary_given_ids", default=None
)
"""Trace and span id of the span that is being started; None: random ones."""


class _Recent:
    """The last ids that were exported; workflows run in several threads."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._ids: dict[str, None] = {}
        self._lock = threading.Lock()

    def is_new(self, span_id: str) -> bool:
        """Whether it has not been seen lately; it has from now on."""
        with self._lock:
            if span_id in self._ids:
                return False
            self._ids[span_id] = None
            if len(self._ids) > self._most:
                del self._ids[next(iter(self._ids))]
            return True


class _Used:
    """The provider of this process; none until `use`.

    It is not OpenTelemetry's global one: other packages (FastAPI) would then make spans of their
    own of every scrape and health check.
    """

    provider: Any = None
    recent = _Recent()


def use(provider: Any) -> None:
    """Make spans with this provider from now on; None for no spans."""
    _Used.provider = provider
    _Used.recent = _Recent()


def tracer() -> trace.Tracer:
    """Aviary's tracer; records nothing without a provider."""
    if _Used.provider is None:
        return trace.NoOpTracer()
    made: trace.Tracer = _Used.provider.get_tracer("aviary")
    return made


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    context: Context | None = None,
    links: Sequence[Carrier] = (),
    **attributes: Value,
) -> Iterator[Span]:
    """A span around a block, and the current one inside it.

    Args:
        name: few different ones; what differs is an attribute.
        kind: client, server, producer, consumer or internal.
        context: the parent's; the current one if left out.
        links: places that have to do with it, the first 32.
        attributes: `__` in a name is a dot.
    """
    token = attach(context) if context is not None else None
    try:
        with tracer().start_as_current_span(
            name,
            kind=kind,
            attributes={key.replace("__", "."): value for key, value in attributes.items()},
            links=_links(links),
            set_status_on_exception=False,
        ) as current:
            try:
                yield current
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                current.set_status(Status(StatusCode.ERROR, text[:500]))
                raise
    finally:
        if token is not None:
            detach(token)


def _links(carriers: Sequence[Carrier]) -> list[Link]:
    contexts = (
        trace.get_current_span(to_context(carrier)).get_span_context()
        for carrier in carriers[:MOST_LINKS]
    )
    return [Link(context) for context in contexts if context.is_valid]


@dataclass(frozen=True)
class Ended:
    """A span that is over, with ids that were decided before."""

    name: str
    place: Place
    parent: Carrier
    start_ns: int
    end_ns: int
    kind: SpanKind = SpanKind.INTERNAL
    link: Carrier | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""


def export(ended: Ended) -> None:
    """Hand one span to the exporter, without waiting for it; the same id again is left out.

    The server may refuse what a workflow task did (a signal came meanwhile, or it took too long),
    and the task is done once more: that is no replay, and the spans are the same.
    """
    if not _Used.recent.is_new(ended.place.span_id):
        return
    token = given_ids.set((int(ended.place.trace_id, 16), int(ended.place.span_id, 16)))
    try:
        made = tracer().start_span(
            ended.name,
            context=to_context(ended.parent),
            kind=ended.kind,
            attributes=ended.attributes,
            links=_links([ended.link] if ended.link else []),
            start_time=ended.start_ns,
        )
    finally:
        given_ids.reset(token)
    if ended.error:
        made.set_status(Status(StatusCode.ERROR, ended.error[:500]))
    made.end(end_time=ended.end_ns)


def is_recorded() -> bool:
    """Whether there is an exporter at all."""
    return _Used.provider is not None


def root_flags(trace_id: str) -> str:
    """Trace flags of a trace that begins here: always the same for one id."""
    decision = _Used.provider.sampler.should_sample(None, int(trace_id, 16), "root").decision
    return "01" if decision.is_sampled() else "00"
