"""The exporter as a process: reads what releases tell, and shows numbers about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from adapters.errors import Retryable
from aviary.builds.identity import named_build
from aviary.connect import kafka_options, unless
from aviary.http import add_health, listen, make_app, serve
from aviary.numbers.current import SPAN, current, delivery
from aviary.numbers.following import Following
from aviary.numbers.told import Left, Told
from aviary.settings import Settings
from aviary.telemetry.readiness import told as readiness_told
from aviary.telemetry.registry import new_registry
from schemas.phases import CanaryPhase

ROLE: Final = "exporter"
CURRENT_EVERY_S: Final = 1.0
DELIVERY_EVERY_S: Final = 30.0
_NEVER: Final = float("-inf")
KEPT: Final = SPAN + timedelta(days=1)
BUCKETS: Final = (1, 5, 15, 60, 300, 900, 1800, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 7 * 24 * 3600)


class _Shown(Collector):
    """What was computed last: a scrape computes nothing."""

    def __init__(self) -> None:
        self.current: list[Metric] = []
        self.delivery: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        """Every metric, as it was last."""
        yield from (*self.current, *self.delivery)


class Exporter:
    """Numbers about releases, kept up with their events.

    Args:
        registry: where they are shown.
        now: the time of day.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, self._clock = now, clock
        self._told = Told()
        self._shown = _Shown()
        registry.register(self._shown)
        self._spent = Histogram(
            "aviary_phase_seconds",
            "Seconds that a service spent in a phase, or a release in the queue, once it is left.",
            ("phase", "spent_on"),
            buckets=BUCKETS,
            registry=registry,
        )
        for phase in CanaryPhase:
            if not phase.closed:
                self._spent.labels(phase.value, phase.waiting.value)
        self._current_at = self._delivery_at = _NEVER

    def take(self, values: Sequence[bytes | None], *, fresh: bool) -> None:
        """Take records.

        Args:
            values: of the records.
            fresh: whether they come as they are written. Of older ones it is not known whether an
                exporter before this one counted them: they change no counter.
        """
        for value in values:
            left = self._told.take_record(value)
            if fresh:
                self._count(left)

    def _count(self, left: Sequence[Left]) -> None:
        for one in left:
            self._spent.labels(one.phase.value, one.phase.waiting.value).observe(one.seconds)

    def show(self) -> None:
        """Show what is known now; at most once a second, and DORA's once in half a minute."""
        clock, now = self._clock(), self._now()
        if clock - self._current_at >= CURRENT_EVERY_S:
            self._current_at = clock
            self._shown.current = current(self._told, now)
        if clock - self._delivery_at >= DELIVERY_EVERY_S:
            self._delivery_at = clock
            self._told.forget_before(now - KEPT)
            self._shown.delivery = delivery(self._told, now)

    def hide(self) -> None:
        """Show no canary: where they are now is not known."""
        self._shown.current = []
        self._current_at = _NEVER


async def run_exporter(settings: Settings, stop: asyncio.Event) -> None:
    """Show numbers until `stop`; health and metrics are on `metrics_host`:`metrics_port`.

    It reads `aviary.events`, and asks nothing of Temporal, the routers or the catalog.

    Raises:
        OSError: the address for health and metrics is taken.
    """
    registry = new_registry(ROLE)
    exporter = Exporter(registry)

    async def take(values: Sequence[bytes | None]) -> None:
        await asyncio.to_thread(exporter.take, values, fresh=following.caught_up)

    async def rest() -> None:
        # What is known before all is read, and while Kafka is away, is another moment's.
        await asyncio.to_thread(exporter.hide if following.trouble else exporter.show)

    async def ready() -> None:
        if following.trouble:
            raise Retryable(following.trouble)

    following = Following(kafka_options(settings), take, rest)
    app = make_app("Aviary exporter", docs=settings.http_docs)
    health = add_health(app, ready, registry, build=named_build(settings))
    taken = listen(settings.metrics_host, settings.metrics_port)
    over = asyncio.Event()
    serving = asyncio.create_task(serve(health, taken, over, name=ROLE))
    try:
        async with readiness_told(ready, registry, ROLE):
            await unless(stop, following.run())
    finally:
        over.set()
        await serving
