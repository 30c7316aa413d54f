"""Exporters, by the standard `OTEL_…` variables; without any nothing is imported and nothing runs.

A dead endpoint costs a line in the log now and then: spans and metrics are sent from threads of
their own, whose queues are bounded, and leaving waits for them for two seconds at most.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from aviary.settings import SettingsError
from aviary.telemetry.spans import given_ids, use
from aviary.telemetry.variables import check, endpoint, headers, named

_log = structlog.get_logger("aviary.telemetry")
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_EXPORTERS: Final = {
    "traces": frozenset({"otlp", "none"}),
    "metrics": frozenset({"otlp", "none", "prometheus"}),
}
_PROTOCOL: Final = "http/protobuf"
_LEAVE_WITHIN_S: Final = 2.0


@dataclass
class Telemetry:
    """The exporters of this process."""

    closers: list[Callable[[], None]] = field(default_factory=list)

    def close(self) -> None:
        """Send what is left, for two seconds at most."""
        threads = [threading.Thread(target=each, daemon=True) for each in self.closers]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + _LEAVE_WITHIN_S
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))
        self.closers.clear()


def configure_telemetry(role: str, environment: Mapping[str, str] = os.environ) -> Telemetry:
    """Turn on the exporters that the environment names.

    Args:
        role: of this process; `OTEL_SERVICE_NAME` is `aviary-<role>` unless it is set.
        environment: the variables.

    Raises:
        SettingsError: a variable has a value that can't be obeyed; secrets are not repeated.
    """
    telemetry = Telemetry()
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return telemetry
    wanted = [signal for signal in _EXPORTERS if _is_wanted(signal, environment)]
    for signal in wanted:
        options = _options(signal, environment)
        start = _trace if signal == "traces" else _measure
        telemetry.closers.append(start(_resource(role, environment), options))
        _log.info("telemetry_exported", signal=signal, to=endpoint(signal, options["endpoint"]))
    return telemetry


def _is_wanted(signal: str, environment: Mapping[str, str]) -> bool:
    name = f"OTEL_{signal.upper()}_EXPORTER"
    asked = {word.strip() for word in environment.get(name, "").split(",") if word.strip()}
    known = _EXPORTERS[signal]
    if asked - known:
        got, expected = ", ".join(sorted(asked)), " or ".join(sorted(known))
        raise SettingsError(f"{name}: got {got!r}, expected {expected}")
    if asked:
        return "otlp" in asked
    return bool(environment.get(_ENDPOINT) or environment.get(named(signal, "ENDPOINT")))


def _options(signal: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What the exporter is told: endpoint and headers; it reads the others itself, once checked."""
    for name in (named(signal, "PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environment.get(name, _PROTOCOL) != _PROTOCOL:
            raise SettingsError(f"{name}: got {environment[name]!r}, expected {_PROTOCOL!r}")
    check(signal, environment)
    name = named(signal, "ENDPOINT") if environment.get(named(signal, "ENDPOINT")) else _ENDPOINT
    address = environment.get(name) or "http://localhost:4318"
    endpoint(name, address)
    if name == _ENDPOINT:
        address = f"{address.rstrip('/')}/v1/{signal}"
    options: dict[str, Any] = {"endpoint": address}
    for given in (named(signal, "HEADERS"), "OTEL_EXPORTER_OTLP_HEADERS"):
        if environment.get(given):
            options["headers"] = headers(given, environment[given])
            break
    return options


def _resource(role: str, environment: Mapping[str, str]) -> Any:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - only where it is wanted

    from aviary import __version__  # noqa: PLC0415

    attributes = {"service.version": __version__}
    if environment.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = environment["OTEL_SERVICE_NAME"]
    elif "service.name=" not in environment.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        attributes["service.name"] = f"aviary-{role}"
    return Resource.create(attributes)


def _trace(resource: Any, options: dict[str, Any]) -> Callable[[], None]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = make_provider(resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(**options)))
    use(provider)
    shutdown: Callable[[], None] = provider.shutdown
    return shutdown


def make_provider(resource: Any) -> Any:
    """A tracer provider whose spans may be given their ids, so that a workflow decides them."""
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415

    class GivenIds(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            given = given_ids.get()
            return given[0] if given else super().generate_trace_id()

        def generate_span_id(self) -> int:
            given = given_ids.get()
            return given[1] if given else super().generate_span_id()

    return TracerProvider(resource=resource, id_generator=GivenIds(), shutdown_on_exit=False)


def _measure(resource: Any, options: dict[str, Any]) -> Callable[[], None]:
    from aviary.telemetry.otlp_metrics import MetricsPusher  # noqa: PLC0415

    pusher = MetricsPusher(resource, options)
    pusher.start()
    return pusher.close
