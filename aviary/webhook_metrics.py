"""What the webhook counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from schemas.loss import LossReason


class WebhookMetrics:
    """Counters of one webhook. Each begins at 0, so that the first of anything is growth."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all of them."""

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=registry)

        self.requests = counter(
            "aviary_webhook_requests", "Notifications, by the status of their answer.", "status"
        )
        self.alerts = counter("aviary_webhook_alerts", "Alerts written to Kafka.")
        self.truncated = counter(
            "aviary_webhook_truncated_alerts",
            "Alerts that Alertmanager left out of its notifications (max_alerts).",
        )
        self.dead_letters = counter(
            "aviary_webhook_dead_letters", "Alerts of notifications that became dead letters."
        )
        self.lost = counter(
            "aviary_webhook_lost",
            "Notifications of which alerts were not taken, by reason.",
            "reason",
        )
        self.recovered = counter(
            "aviary_webhook_recovered_alerts",
            "Alerts that were asked of Alertmanager after a loss, and written to Kafka.",
        )
        self.pauses = counter(
            "aviary_webhook_pauses",
            "Losses after which Alertmanager could not be asked: canaries are told to pause.",
        )
        for status in ("200", "503"):
            self.requests.labels(status)
        for reason in LossReason:
            self.lost.labels(reason.value)
