"""Members of the ports that keep everything in memory: for tests, dry runs and first steps.

The router that keeps routes in memory is `adapters.routers.memory.router`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from datetime import datetime

from adapters.errors import AdapterError
from adapters.ports import RunCommand
from schemas.alert import Alert
from schemas.events import CloudEvent
from schemas.hooks import HookAnswer, HookEvent, Said
from schemas.notice import Notice
from schemas.reading import Series


class _Fallible:
    """Fails on demand, so that what depends on it can be seen to cope."""

    def __init__(self) -> None:
        """Work until told otherwise."""
        self.failure: AdapterError | None = None
        """Raised by every call while it is set."""

    def _work(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemoryEventLog(_Fallible):
    """`EventLog`: keeps events in the order of their publication, each id once."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.events: list[CloudEvent] = []

    async def publish(self, events: Sequence[CloudEvent]) -> None:
        """Append those whose source and id are not there yet."""
        self._work()
        there = {(event.source, event.id) for event in self.events}
        for event in events:
            if (event.source, event.id) not in there:
                there.add((event.source, event.id))
                self.events.append(event)


class MemoryNotifier(_Fallible):
    """`Notifier`: keeps notices in their order."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.notices: list[Notice] = []

    async def notify(self, notice: Notice) -> None:
        """Keep one notice."""
        self._work()
        self.notices.append(notice)


class MemoryHook(_Fallible):
    """`HookCaller`: keeps every call, and answers as it was told; yes where it was told nothing."""

    def __init__(self) -> None:
        """Say yes to everybody."""
        super().__init__()
        self.calls: list[HookEvent] = []
        """Each call, those that were made again among them."""
        self.answers: dict[str, HookAnswer] = {}
        """What is answered, by the name of the hook."""

    async def call(self, event: HookEvent, _: RunCommand | None = None) -> HookAnswer:
        """Keep the call, and answer."""
        self.calls.append(event)
        self._work()
        return self.answers.get(event.data.hook, HookAnswer(said=Said.YES))

    async def aclose(self) -> None:
        """Nothing is held."""


class MemoryAlertSource(_Fallible):
    """`AlertSource`: the alerts that it is told."""

    def __init__(self, alerts: Iterable[Alert] = ()) -> None:
        """Begin with these alerts."""
        super().__init__()
        self.alerts = list(alerts)

    async def firing(
        self,
        receiver: str | None = None,  # noqa: ARG002
        kept: Container[str] = (),  # noqa: ARG002
    ) -> Sequence[Alert]:
        """Return the alerts that fire; all of them are for every receiver."""
        self._work()
        return tuple(alert for alert in self.alerts if alert.status == "firing")


class MemoryMetricsSource(_Fallible):
    """`MetricsSource`: answers each query with what it was told for it, else with no data."""

    def __init__(self) -> None:
        """Begin without data."""
        super().__init__()
        self.answers: dict[str, Callable[[datetime], Sequence[Series]]] = {}
        self.asked: list[tuple[str, datetime]] = []

    def answer(self, promql: str, *series: Series) -> None:
        """Answer this query with these series from now on, at any time."""
        self.answers[promql] = lambda _at: series

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        """Answer one query."""
        self._work()
        self.asked.append((promql, at))
        found = self.answers.get(promql)
        return found(at) if found else ()
