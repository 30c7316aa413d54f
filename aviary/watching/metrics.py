"""What a watcher counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class WatchMetrics:
    """Counters of one watcher. Each begins at 0, so that the first of anything is growth."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all of them."""
        self.templates = Gauge(
            "aviary_watch_templates", "Templates that there are.", registry=registry
        )
        self.waiting = Gauge(
            "aviary_watch_waiting_templates",
            "Templates that can't be acted upon as they are; each has an Event that says why.",
            registry=registry,
        )
        self.pending = Gauge(
            "aviary_watch_pending", "Deploy events that Kafka does not have yet.", registry=registry
        )
        self.releases = Counter(
            "aviary_watch_releases", "Deploy events written to Kafka.", registry=registry
        )
        self.lists = Counter(
            "aviary_watch_lists",
            "How often all templates were listed, by kind: at start, and when a watch is too old.",
            ["kind"],
            registry=registry,
        )
