"""What the bridge counts, for Prometheus."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas import ids
from schemas.loss import LossReason
from schemas.rejection import RejectReason

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Outcome(StrEnum):
    """What became of a record."""

    STARTED = "started"
    DUPLICATE = "duplicate"
    """Its release was known already."""
    SIGNALLED = "signalled"
    UNMATCHED = "unmatched"
    """An alert that no canary had to be told of: nothing to do."""
    REPEATED = "repeated"
    """An alert that its canaries were told of before."""
    STALE = "stale"
    """A deploy event too old, or an alert that had ended, when it was read."""
    DEAD_LETTER = "dead_letter"


def _accepted(registry: CollectorRegistry) -> Histogram:
    return Histogram(
        "aviary_bridge_accepted_seconds",
        "Seconds from the record's timestamp until it was done.",
        ["topic"],
        buckets=_BUCKETS,
        registry=registry,
    )


class BridgeMetrics:
    """Counters of one bridge."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all of them."""

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=registry)

        self._records = counter(
            "aviary_bridge_records", "Records done, by topic and outcome.", "topic", "outcome"
        )
        self._dead = _dead_letters(registry)
        self._unmatched = counter(
            "aviary_bridge_unmatched_alerts", "Alerts about a service without a canary."
        )
        self._stale = counter(
            "aviary_bridge_stale",
            "Deploy events and alerts that came too late to be acted upon, by topic.",
            "topic",
        )
        self._lost = counter(
            "aviary_bridge_lost",
            "Records that say that other alerts were lost, by reason.",
            "reason",
        )
        for reason in LossReason:
            self._lost.labels(reason.value)
        self._signals = counter(
            "aviary_bridge_signals", "Signals sent to canaries; one may carry many alerts."
        )
        self._retries = counter(
            "aviary_bridge_retries", "Attempts that failed and will be repeated, by topic.", "topic"
        )
        text = "Records of a partition of ours that are not done yet."
        labels = ["topic", "partition"]
        self._lag = Gauge("aviary_bridge_lag_records", text, labels, registry=registry)
        self._seconds = _accepted(registry)

    def done(self, topic: str, outcome: Outcome, seconds: float) -> None:
        """Count a record that needs nothing more; `seconds` since its timestamp."""
        self._records.labels(topic, outcome.value).inc()
        self._seconds.labels(topic).observe(max(0.0, seconds))

    def dead_letter(self, topic: str, reason: RejectReason) -> None:
        """Count a dead letter."""
        self._dead.labels(topic, reason.value).inc()

    def unmatched(self) -> None:
        """Count an alert about a service without a canary."""
        self._unmatched.inc()

    def stale(self, topic: str) -> None:
        """Count a deploy event or alert that came too late."""
        self._stale.labels(topic).inc()

    def lost(self, reason: LossReason) -> None:
        """Count a loss of alerts that canaries are told of."""
        self._lost.labels(reason.value).inc()

    def signal(self) -> None:
        """Count a signal sent to a canary."""
        self._signals.inc()

    def retry(self, topic: str) -> None:
        """Count an attempt that will be repeated."""
        self._retries.labels(topic).inc()

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Say how many records of a partition are not done."""
        self._lag.labels(topic, str(partition)).set(max(0, records))

    def gone(self, topic: str, partition: int) -> None:
        """Forget a partition that is no longer ours."""
        self._lag.remove(topic, str(partition))


def _dead_letters(registry: CollectorRegistry) -> Counter:
    """Each of them begins at 0, so that the first one is growth."""
    counter = Counter(
        "aviary_bridge_dead_letters",
        "Records put on the dead letters, by topic and reason.",
        ["topic", "reason"],
        registry=registry,
    )
    for topic in (ids.TOPIC_DEPLOYS, ids.TOPIC_ALERTS):
        for reason in RejectReason:
            counter.labels(topic, reason.value)
    return counter
