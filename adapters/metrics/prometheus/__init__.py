"""Prometheus, as a kind of metrics source.

Here belongs how it is asked and what its answers mean. What the counts say of a canary does not
(`analysis`).
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from adapters.http_connection import HttpConnection
from adapters.kinds import MetricsKind, Source


class PrometheusConnection(HttpConnection):
    """A Prometheus, or whatever answers PromQL at its HTTP API."""

    connection_kind: ClassVar[str] = "prometheus"

    url: str = Field(
        pattern=r"^https?://[^\s?#@]+$", description="Its address, such as http://prometheus:9090."
    )


def _make(connection: PrometheusConnection, timeout_s: float) -> Source:
    from adapters.metrics.prometheus.source import PrometheusMetrics  # noqa: PLC0415 - heavy client

    return PrometheusMetrics(connection.url, timeout_s=timeout_s, access=connection.access())


PROMETHEUS: Final = MetricsKind[PrometheusConnection](
    name="prometheus",
    text="Prometheus, and what answers PromQL at its HTTP API.",
    connection=PrometheusConnection,
    needs_connection=True,
    make=_make,
    joins=True,
)
