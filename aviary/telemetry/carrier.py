"""The trace context on its way: W3C text in Kafka headers, events and Temporal's headers.

A carrier is a small dictionary: `traceparent`, `tracestate` and `baggage`, each optional. In
Temporal's headers it is one JSON payload under `_tracer-data`, the form that Temporal's own
`TracingInterceptor` reads and writes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, get_current
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

Carrier = Mapping[str, str]
HEADER: Final = "_tracer-data"
RECEIVED: Final = "aviary.alert.received"
"""Baggage: when the webhook got the alert, in seconds since 1970."""

_FIELDS: Final = ("traceparent", "tracestate", "baggage")
_CE: Final = "ce_"
_MAX: Final = 8192
"""Characters of a header; a longer one is nobody's context."""
_LOOKED_AT: Final = 64 * 1024
"""Bytes of an event in which its context is looked for: this is done on the event loop."""
_PARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_RECEIVED: Final = re.compile(
    rf"(?<![^,]){re.escape(RECEIVED)}=[0-9]{{1,12}}(\.[0-9]{{1,6}})?(?![^,])"
)
_PROPAGATOR: Final = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


@dataclass(frozen=True)
class Place:
    """A span, as a traceparent names it."""

    trace_id: str
    span_id: str
    flags: str = "01"

    @classmethod
    def of(cls, carrier: Carrier | None) -> Self | None:
        """Where a carrier comes from; None where it does not say, or says nonsense."""
        found = _PARENT.fullmatch((carrier or {}).get("traceparent", ""))
        if found is None or not int(found[1], 16) or not int(found[2], 16):
            return None
        return cls(found[1], found[2], found[3])

    def carrier(self, rest: Carrier | None = None) -> dict[str, str]:
        """A carrier with this place, and what else another one has."""
        parent = f"00-{self.trace_id}-{self.span_id}-{self.flags}"
        return {**(rest or {}), "traceparent": parent}


def derived(*words: object) -> tuple[str, str]:
    """A trace id and a span id that are always the same for the same words."""
    digest = hashlib.sha256("\n".join(str(word) for word in words).encode()).hexdigest()
    return digest[:32], digest[32:48]


def to_context(carrier: Carrier | None) -> Context:
    """The context that a carrier brings, an empty one for none; never another's."""
    return _PROPAGATOR.extract(dict(carrier or {}), Context())


def from_context(context: Context | None = None) -> dict[str, str]:
    """What a context, by default the current one, gives to carry on."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return carrier


def enter(carrier: Carrier) -> None:
    """Make a carrier's context the current one for the rest of this task."""
    attach(to_context(carrier))


def to_temporal(carrier: Carrier) -> dict[str, Payload]:
    """Temporal headers that bring a carrier; none for an empty one."""
    if not carrier:
        return {}
    return {HEADER: PayloadConverter.default.to_payloads([dict(carrier)])[0]}


def from_temporal(headers: Mapping[str, Payload]) -> dict[str, str]:
    """The carrier in Temporal headers; an empty one where there is none that can be read."""
    payload = headers.get(HEADER)
    if payload is None or len(payload.data) > _MAX:
        return {}
    try:
        value = json.loads(payload.data)
    except ValueError:
        return {}
    return _known(value.items()) if isinstance(value, dict) else {}


def from_record(record: Any) -> dict[str, str]:
    """The context that the producer of a Kafka record set.

    The record's own headers come first; else CloudEvents' distributed tracing extension, which is
    a header `ce_traceparent` in binary mode and an attribute of the JSON in structured mode.
    """
    headers = {
        key.lower(): value.decode("ascii", "replace")
        for key, value in record.headers
        if value is not None and len(value) <= _MAX
    }
    carrier = _known(headers.items())
    if Place.of(carrier) is None:
        kept = {key: value for key, value in carrier.items() if key == "baggage"}
        event = {key[3:]: value for key, value in headers.items() if key.startswith(_CE)}
        carrier = {**kept, **_known({**_structured(record.value), **event}.items(), _FIELDS[:2])}
    return carrier


def _structured(value: bytes | None) -> dict[str, Any]:
    if value is None or len(value) > _LOOKED_AT or b'"traceparent"' not in value:
        return {}
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):  # a dead letter soon; whoever reads it says why
        return {}
    return document if isinstance(document, dict) else {}


def _known(items: Iterable[tuple[str, Any]], fields: Iterable[str] = _FIELDS) -> dict[str, str]:
    carrier = {key: value for key, value in items if key in fields and isinstance(value, str)}
    # Of the baggage only our own: what others put there would travel into histories and logs.
    ours = _RECEIVED.search(carrier.pop("baggage", ""))
    return {**carrier, "baggage": ours[0]} if ours else carrier


def to_record(carrier: Carrier) -> tuple[tuple[str, bytes], ...]:
    """Kafka headers that bring a carrier."""
    known = [key for key in _FIELDS if key in carrier]
    return tuple((key, carrier[key].encode("ascii", "replace")) for key in known)


def with_received(at: float, context: Context | None = None) -> Context:
    """A context that says when the webhook got the alert; no other baggage goes on from here."""
    return baggage.set_baggage(RECEIVED, f"{at:.3f}", baggage.clear(context))


def received(context: Context | None = None) -> float | None:
    """When the webhook got the alert that this is done for; None where it is for no alert."""
    value = baggage.get_baggage(RECEIVED, context)
    try:
        return float(str(value)) if value is not None else None
    except ValueError:
        return None


def trace_ids() -> tuple[str, str] | None:
    """Trace and span id of what is being done, 32 and 16 hexadecimal digits; None outside any."""
    context = trace.get_current_span(get_current()).get_span_context()
    if not context.is_valid:
        return None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"
