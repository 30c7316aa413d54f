"""Traces through the bridge: from what a record's producer said to Temporal's headers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import Span, SpanKind
from temporalio.api.common.v1 import Header

from aviary.bridge.batch import Item, name
from aviary.telemetry.carrier import (
    from_context,
    from_record,
    received,
    to_context,
    to_temporal,
    with_received,
)
from aviary.telemetry.spans import span


@contextmanager
def consumed(record: Any) -> Iterator[Span]:
    """The span of one record that is being done, below whatever wrote it.

    Baggage stays behind: when an alert came is the alerts' records' to say, and no deploy event's.
    """
    context = to_context({k: v for k, v in from_record(record).items() if k != "baggage"})
    with span(
        f"process {record.topic}",
        SpanKind.CONSUMER,
        context=context,
        messaging__system="kafka",
        messaging__destination__name=record.topic,
        messaging__kafka__record=name(record),
    ) as current:
        yield current


@contextmanager
def delivered(target: str, chunk: Sequence[Item]) -> Iterator[Span]:
    """The span of some alerts on their way to one canary.

    It is below the first alert's record, with links to the others', and what follows from it knows
    when the webhook got that alert: the record says so, or else it is Kafka's time of the record.
    """
    record = chunk[0].record
    carrier = from_record(record)
    context = to_context(carrier)
    at = received(context) or record.timestamp / 1000
    with span(
        f"process {record.topic}",
        SpanKind.CONSUMER,
        context=with_received(at, context),
        links=[from_record(item.record) for item in chunk[1:] if item.record is not record],
        messaging__system="kafka",
        messaging__destination__name=record.topic,
        messaging__kafka__record=name(record),
        messaging__batch__message_count=len(chunk),
        aviary__service=target,
        aviary__alert=chunk[0].alert.name,
    ) as current:
        yield current


@contextmanager
def requested(what: str, workflow_id: str) -> Iterator[Header]:
    """The span of one request to Temporal, and the header that takes the context along.

    The request goes by the raw service, where no interceptor would do either.
    """
    with span(what, SpanKind.CLIENT, temporalWorkflowID=workflow_id):
        yield Header(fields=to_temporal(from_context()))
