"""What a sentinel counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class SentinelMetrics:
    """Metrics of one sentinel."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all of them."""
        self.leases = Gauge(
            "aviary_sentinel_leases", "Canaries with a lease that are watched.", registry=registry
        )
        self.silence = Gauge(
            "aviary_sentinel_silence_seconds",
            "The longest time without a sign of life of a release, of all leases.",
            registry=registry,
        )
        self.taken_back = Counter(
            "aviary_sentinel_taken_back",
            "Canaries that were taken back, since their release gave no sign of life.",
            ["service"],
            registry=registry,
        )
        self.failures = Counter(
            "aviary_sentinel_failures",
            "Calls of a router that failed, by what was tried: read or write.",
            ["call"],
            registry=registry,
        )
        for call in ("read", "write"):
            self.failures.labels(call)

    def knows(self, service: str) -> None:
        """Show a service's count from 0, so that the first is growth."""
        self.taken_back.labels(service)
