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
from urllib.parse import unquote, urlsplit

import structlog

from aviary.settings import SettingsError
from aviary.telemetry.spans import given_ids, use

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
        _log.info("telemetry_exported", signal=signal, to=_shown(options["endpoint"]))
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
    return bool(environment.get(_ENDPOINT) or environment.get(_named(signal, "ENDPOINT")))


def _named(signal: str, option: str) -> str:
    return f"OTEL_EXPORTER_OTLP_{signal.upper()}_{option}"


def _options(signal: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What the exporter is told: endpoint and headers; it reads the other variables itself."""
    for name in (_named(signal, "PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environment.get(name, _PROTOCOL) != _PROTOCOL:
            raise SettingsError(f"{name}: got {environment[name]!r}, expected {_PROTOCOL!r}")
    name = _named(signal, "ENDPOINT") if environment.get(_named(signal, "ENDPOINT")) else _ENDPOINT
    endpoint = environment.get(name) or "http://localhost:4318"
    if urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).hostname:
        raise SettingsError(f"{name}: {_shown(endpoint)!r}, expected http:// or https://")
    if name == _ENDPOINT:
        endpoint = f"{endpoint.rstrip('/')}/v1/{signal}"
    options: dict[str, Any] = {"endpoint": endpoint}
    for given in (_named(signal, "HEADERS"), "OTEL_EXPORTER_OTLP_HEADERS"):
        if environment.get(given):
            # Read here: the exporter's own parser logs a malformed value with the secrets in it.
            options["headers"] = _headers(given, environment[given])
            break
    return options


def _headers(name: str, text: str) -> dict[str, str]:
    pairs = [item.strip().partition("=") for item in text.split(",") if item.strip()]
    for key, equals, value in pairs:
        if not equals or not key.strip() or not value.isprintable():
            raise SettingsError(f"{name}: (hidden): expected key=value,key=value, URL-encoded")
    return {key.strip().lower(): unquote(value.strip()) for key, _, value in pairs}


def _shown(endpoint: str) -> str:
    """An endpoint without the user and password, or the key, that it may have."""
    parts = urlsplit(endpoint)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


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
