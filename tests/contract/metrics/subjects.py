"""What the suite needs of a source of metrics: a store with a past that the tests know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NoReturn, Protocol

from adapters.errors import Retryable, Terminal
from adapters.memory import MemoryMetricsSource
from adapters.metrics.batching import BatchedMetrics
from adapters.metrics.prometheus.source import PrometheusMetrics
from adapters.ports import MetricsSource
from aviary.local.ports import LOOPBACK, FreePorts
from schemas.reading import Series

AT: Final = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
"""When the newest sample was taken."""
SERVICES: Final = 60
"""So many services have counted; their numbers begin with 0."""
EVERY: Final = timedelta(seconds=15)
"""How far two samples are apart."""
SAMPLES: Final = 20
"""After the first, in which all are at 0."""


def counted(number: int, samples: int = SAMPLES) -> int:
    """Where the counter of a service is after so many samples."""
    return samples * (10 + number)


class Subject(Protocol):
    """One member of the port, under test, over a store that has the past of `counted`.

    Each service has one instance, and one counter of it: `counted(number)` at `AT`, and
    `counted(number, SAMPLES - n)` n times `EVERY` before.
    """

    source: MetricsSource
    wrong: Sequence[str]
    """Questions that its store can't understand."""

    def counter(self, number: int) -> str:
        """Ask for the raw counter of a service; of `SERVICES`, for one that never counted."""

    async def break_down(self) -> None:
        """Answer nothing from now on."""


class MemorySubject:
    """All in memory."""

    wrong = ("counter of",)

    def __init__(self) -> None:
        self._memory = MemoryMetricsSource()
        self.source: MetricsSource = self._memory
        for number in range(SERVICES):
            self._memory.answers[self.counter(number)] = partial(self._series, number)
        for query in self.wrong:
            self._memory.answers[query] = partial(self._refuse, query)

    def counter(self, number: int) -> str:
        return f"counter of {number}"

    async def break_down(self) -> None:
        self._memory.failure = Retryable("away")

    @staticmethod
    def _series(number: int, at: datetime) -> list[Series]:
        samples = SAMPLES - (AT - at) // EVERY
        return [Series(labels={"service": str(number)}, value=counted(number, samples))]

    @staticmethod
    def _refuse(query: str, _: datetime) -> NoReturn:
        raise Terminal(f"{query!r}: of what?")


class PrometheusSubject:
    """A real Prometheus, asked directly or in batches."""

    wrong = ("requests_total{", "requests_total[5m]", "1", '"text"', "sum by requests_total")

    def __init__(self, address: str, *, batched: bool) -> None:
        self._batched = batched
        self._open: list[PrometheusMetrics | BatchedMetrics] = []
        self.source = self._source(address)

    def _source(self, address: str) -> MetricsSource:
        prometheus = PrometheusMetrics(address)
        self._open.append(prometheus)
        if not self._batched:
            return prometheus
        batched = BatchedMetrics(prometheus)
        self._open.insert(0, batched)
        return batched

    def counter(self, number: int) -> str:
        return f'requests_total{{service="s{number}"}}'

    async def break_down(self) -> None:
        """The server is that of all tests: what is asked from now on is one that is not there."""
        self.source = self._source(f"http://{LOOPBACK}:{FreePorts().take()}")

    async def close(self) -> None:
        for one in self._open:
            if isinstance(one, BatchedMetrics):
                await one.close()
            else:
                one.close()


KINDS: Final = ("memory", "prometheus", "batched")
