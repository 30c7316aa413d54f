"""The context on its way: what producers may say, and what becomes of nonsense."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from temporalio.api.common.v1 import Payload

from aviary.bridge.tracing import consumed
from aviary.telemetry.carrier import (
    RECEIVED,
    Place,
    derived,
    from_context,
    from_record,
    from_temporal,
    received,
    to_context,
    to_record,
    to_temporal,
    with_received,
)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class Record:
    value: bytes | None = b"{}"
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    topic: str = "aviary.deploys"
    partition: int = 0
    offset: int = 0


STRUCTURED = json.dumps({"specversion": "1.0", "traceparent": PARENT}).encode()


@pytest.mark.parametrize(
    "record",
    [
        Record(headers=[("traceparent", PARENT.encode())]),
        Record(headers=[("Traceparent", PARENT.encode())]),
        Record(headers=[("ce_traceparent", PARENT.encode())]),
        Record(value=STRUCTURED),
        Record(value=STRUCTURED, headers=[("traceparent", b"junk")]),
        Record(headers=[("traceparent", PARENT.encode()), ("ce_traceparent", OTHER.encode())]),
    ],
)
def test_a_producers_context_is_found(record: Record) -> None:
    assert from_record(record)["traceparent"] == PARENT


@pytest.mark.parametrize(
    "record",
    [
        Record(value=None),
        Record(value=b'"traceparent"'),
        Record(value=b'{"traceparent": 5}'),
        Record(value=b'["traceparent"'),
        Record(headers=[("traceparent", b"\xff\xfe")]),
        Record(headers=[("traceparent", f"00-{'0' * 32}-b7ad6b7169203331-01".encode())]),
    ],
)
def test_nonsense_is_no_context(record: Record) -> None:
    assert Place.of(from_record(record)) is None


def _span(context: Context) -> bool:
    """Whether a span is in it: of what is made up at random, none must be read."""
    return trace.get_current_span(context).get_span_context().is_valid


@given(st.binary(), st.dictionaries(st.text(), st.binary()))
def test_no_record_is_too_strange(value: bytes, headers: dict[str, bytes]) -> None:
    assert not _span(to_context(from_record(Record(value, list(headers.items())))))


@given(st.binary())
def test_no_temporal_header_is_too_strange(data: bytes) -> None:
    assert not _span(to_context(from_temporal({"_tracer-data": Payload(data=data)})))


def test_only_our_own_baggage_goes_on() -> None:
    ours = "aviary.alert.received=1763772640.123"
    headers = [("traceparent", PARENT.encode()), ("baggage", f"user=ann,{ours},x=y".encode())]
    carrier = from_record(Record(headers=headers))
    assert carrier["baggage"] == ours
    assert received(to_context(carrier)) == 1763772640.123
    assert "baggage" not in from_record(Record(headers=[("baggage", b"user=ann")]))


def test_a_carrier_survives_kafka_and_temporal() -> None:
    context = with_received(12.5, to_context({"traceparent": PARENT, "tracestate": "a=b"}))
    carrier = from_context(context)
    record = Record(headers=list(to_record(carrier)))
    assert from_record(record) == from_temporal(to_temporal(carrier)) == carrier
    assert set(carrier) == {"traceparent", "tracestate", "baggage"}
    assert received(context) == 12.5
    assert to_temporal({}) == {}


def test_derived_ids_depend_on_every_word() -> None:
    ids = {derived("run", number) for number in range(100)}
    assert len(ids) == 100
    assert derived("a", 1) == derived("a", 1)
    assert Place.of(Place(*derived("a")).carrier()) == Place(*derived("a"))


def test_a_deploy_event_does_not_say_when_an_alert_came() -> None:
    record = Record(
        headers=[("traceparent", PARENT.encode()), ("baggage", f"{RECEIVED}=99".encode())]
    )
    with consumed(record):
        assert received() is None
        assert set(from_context()) == {"traceparent"}
