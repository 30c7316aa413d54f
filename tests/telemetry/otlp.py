"""A real receiver of OTLP over HTTP: what exporters send it, decoded, and their headers."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Span:
    """One span as it was received."""

    name: str
    trace: str
    id: str
    parent: str
    process: str
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    events: tuple[str, ...]
    seconds: float


@dataclass
class Receiver:
    """What has come so far."""

    spans: list[Span] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def one(self, wanted: Callable[[Span], bool]) -> Span:
        found = [span for span in self.spans if wanted(span)]
        assert len(found) == 1, [(one.name, one.attributes) for one in found] or self.names()
        return found[0]

    def named(self, name: str, **attributes: object) -> list[Span]:
        dotted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [
            span for span in self.spans
            if span.name == name and dotted.items() <= span.attributes.items()
        ]  # fmt: skip

    def names(self) -> list[str]:
        return sorted({span.name for span in self.spans})

    def ancestors(self, span: Span) -> list[Span]:
        """From the parent to the root; fails where a parent was never received."""
        by_id = {one.id: one for one in self.spans}
        found = []
        while span.parent:
            assert span.parent in by_id, f"{span.name}: its parent is missing"
            parent = by_id[span.parent]
            assert parent.trace == span.trace
            found.append(parent)
            span = parent
        return found

    def take_traces(self, body: bytes) -> bytes:
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            process = _values(part.resource.attributes)["service.name"]
            for scope in part.scope_spans:
                self.spans += [_span(one, process) for one in scope.spans]
        return ExportTraceServiceResponse().SerializeToString()

    def take_metrics(self, body: bytes) -> bytes:
        for part in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in part.scope_metrics:
                self.metrics |= {metric.name: metric for metric in scope.metrics}
        return ExportMetricsServiceResponse().SerializeToString()


def _span(one: Any, process: str) -> Span:
    return Span(
        name=one.name,
        trace=one.trace_id.hex(),
        id=one.span_id.hex(),
        parent=one.parent_span_id.hex(),
        process=process,
        attributes=_values(one.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in one.links),
        events=tuple(event.name for event in one.events),
        seconds=(one.end_time_unix_nano - one.start_time_unix_nano) / 1e9,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens on a free port meanwhile."""
    receiver = Receiver()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            with lock:
                receiver.headers.append(dict(self.headers))
                taken = {"/v1/traces": receiver.take_traces, "/v1/metrics": receiver.take_metrics}
                answer = taken[self.path](body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
