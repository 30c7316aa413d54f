"""What events tell of past releases, as far as judging them again needs it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from pydantic import ValidationError

from analysis.evalues import Tally
from analysis.rejudging import Interval
from aviary.audit.gather import TooMuchError
from schemas.event_data import EvidenceMeasured
from schemas.event_kinds import EventType
from schemas.evidence_series import EvidenceSeries, RouterEvidenceSeries, StreamSeries
from schemas.outside import NAME_MOST, cut

BAKES_MOST: Final = 20_000
"""Of all releases together: about 1 GB of memory."""
COUNT_MOST: Final = 1e15
"""A double holds every whole number up to there."""
_WHOLE: Final = 100.0
_WENT_BACK: Final = EventType.CANARY_ROLLINGBACK.value
_HELD: Final = EventType.CANARY_HOLDING.value
_ENDS: Final = {
    EventType.RELEASE_FINALIZED.value: "finalized",
    EventType.RELEASE_ROLLEDBACK.value: "rolled back",
}


@dataclass
class PastService:
    """One service of a past release."""

    service: str
    version: str = ""
    stable: str = ""
    measured: dict[tuple[datetime, int], EvidenceMeasured] = field(default_factory=dict)
    back_at: datetime | None = None
    """When it began to go back."""
    back_by: str = ""
    """Kind of the cause, and its text."""
    back_text: str = ""
    held_at: datetime | None = None
    """When it had all requests, first."""

    @property
    def began_at(self) -> datetime | None:
        """When counting began."""
        begins = (one.series.began_at for one in self.measured.values() if one.series)
        return min(begins, default=None)

    def edges(self) -> dict[str, tuple[float, ...]]:
        """Of each metric that was counted, its edges as first counted; none but of a histogram."""
        found: dict[str, tuple[float, ...]] = {}
        for one in self._ordered():
            for name, metric in one.metrics.items():
                if metric.streams:
                    found.setdefault(name, metric.edges)
        return found

    def intervals(self) -> list[Interval]:
        """All that was counted, in order; what overlaps with what was before it is left out."""
        found: list[Interval] = []
        known = self.edges()
        for key in sorted(self.measured):
            bake = self.measured[key]
            if bake.series is None:
                continue
            share = None if bake.apart or bake.whom else bake.weight / _WHOLE
            for one in _intervals(bake.series, share, known):
                if not found or one.start >= found[-1].end:
                    found.append(one)
        return found

    def router_intervals(self) -> list[Interval]:
        """The same of what the router itself counted; empty where it was not asked."""
        found: list[Interval] = []
        known = self.edges()
        for key in sorted(self.measured):
            bake = self.measured[key]
            if bake.series is None or bake.series.router is None:
                continue
            share = None if bake.apart or bake.whom else bake.weight / _WHOLE
            for one in _router_intervals(bake.series.router, share, known):
                if not found or one.end > found[-1].end:
                    found.append(one)
        return found

    def _ordered(self) -> list[EvidenceSeries]:
        both = (self.measured[key].series for key in sorted(self.measured))
        return [one for one in both if one is not None]


@dataclass
class PastRelease:
    """One past release."""

    release: str
    began_at: datetime
    ended: str = ""
    """How; empty: no event of its end is here."""
    services: dict[str, PastService] = field(default_factory=dict)
    unread: int = 0
    """Events with counts that could not be read."""


class Past:
    """Collects past releases from events, in any order and with copies."""

    def __init__(self) -> None:
        self.releases: dict[str, PastRelease] = {}
        self.newest: datetime | None = None
        self._bakes = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """Take an event; what says nothing that is needed is passed.

        Raises:
            TooMuchError: there are more bakes than are looked at.
        """
        release, data, kind = event.get("partitionkey"), event.get("data"), event.get("type")
        at = _time(event.get("time"))
        if not isinstance(release, str) or not isinstance(data, dict) or at is None:
            return
        if "chaindigest" not in event or not isinstance(kind, str):
            return
        self.newest = at if self.newest is None else max(self.newest, at)
        past = self.releases.setdefault(cut(release, NAME_MOST), PastRelease(release, at))
        past.began_at = min(past.began_at, at)
        past.ended = _ENDS.get(kind, past.ended)
        if kind == EventType.EVIDENCE_MEASURED.value:
            self._bakes += 1
            if self._bakes > BAKES_MOST:
                raise TooMuchError(f"at most {BAKES_MOST:,} bakes; --release takes those of one")
            _take_measured(past, data)
        elif kind in {_WENT_BACK, _HELD}:
            _take_moved(past, data, at, back=kind == _WENT_BACK)

    def since(self, length: timedelta | None) -> list[PastRelease]:
        """Those that began no longer than so long before the newest event, oldest first."""
        if self.newest is None:
            return []
        first = datetime.min.replace(tzinfo=UTC)
        if length is not None and self.newest - first > length:
            first = self.newest - length
        found = (one for one in self.releases.values() if one.began_at >= first)
        return sorted(found, key=lambda one: (one.began_at, one.release))


def _take_measured(past: PastRelease, data: Mapping[str, Any]) -> None:
    try:
        bake = EvidenceMeasured.model_validate(data)
    except ValidationError:
        past.unread += 1
        return
    if bake.series is not None and not _sensible(bake.series):
        past.unread += 1
        return
    service = past.services.setdefault(bake.service, PastService(bake.service))
    service.version, service.stable = bake.version, bake.stable or service.stable
    service.measured[bake.at, bake.number] = bake


def _take_moved(past: PastRelease, data: Mapping[str, Any], at: datetime, *, back: bool) -> None:
    name = data.get("service")
    if not isinstance(name, str):
        return
    service = past.services.setdefault(cut(name, NAME_MOST), PastService(cut(name, NAME_MOST)))
    if not back:
        service.held_at = at if service.held_at is None else min(service.held_at, at)
        return
    if service.back_at is not None and service.back_at <= at:
        return
    cause = data.get("cause")
    service.back_at = at
    if isinstance(cause, dict):
        own = cause.get("service") in {None, name}
        kind = str(cause.get("kind", ""))
        service.back_by = cut(kind if own else "release", NAME_MOST)
        service.back_text = cut(str(cause.get("text", "")), NAME_MOST)


def _time(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _sensible(series: EvidenceSeries) -> bool:
    """Whether times grow, and counts are counts."""
    streams = [stream for metric in series.metrics.values() for stream in metric.streams]
    times, router = [series.at], series.router
    if router is not None:
        streams += [stream for metric in router.metrics.values() for stream in metric.streams]
        times += [router.at]
        if not all(0 <= one <= COUNT_MOST / 1e6 for one in router.took):
            return False
    later = all(a < b for at in times for a, b in pairwise(at))
    span = all(at[0] >= 0 and at[-1] <= COUNT_MOST / 1e6 for at in times)
    counts = (one for stream in streams for column in _columns(stream) for one in column)
    return later and span and all(0 <= one <= COUNT_MOST for one in counts)


def _columns(stream: StreamSeries) -> tuple[tuple[float, ...], ...]:
    return stream.bad_canary, stream.canary, stream.bad_stable, stream.stable


def _intervals(
    series: EvidenceSeries, share: float | None, edges: Mapping[str, Sequence[float]]
) -> list[Interval]:
    """The rows of a series; the first has no beginning, and counts with the second."""
    began = series.began_at.timestamp()
    rows: list[dict[str, list[Tally]]] = [defaultdict(list) for _ in series.at]
    for name, metric in series.metrics.items():
        if metric.edges != edges.get(name):
            continue  # counted by other edges than before: not the same streams
        for stream in metric.streams:
            for row, counts in zip(rows, zip(*_columns(stream), strict=True), strict=True):
                row[name].append(Tally(*counts))
    if len(rows) > 1:
        for name, tallies in rows[0].items():
            rows[1][name] = [_plus(a, b) for a, b in zip(tallies, rows[1][name], strict=True)]
    return [
        Interval(began + start, began + end, share, row)
        for start, end, row in zip(series.at, series.at[1:], rows[1:], strict=False)
    ]


def _router_intervals(
    series: RouterEvidenceSeries, share: float | None, edges: Mapping[str, Sequence[float]]
) -> list[Interval]:
    """The readings of a router; a metric is left out where nothing was counted of it."""
    began = series.began_at.timestamp()
    rows: list[dict[str, list[Tally]]] = [defaultdict(list) for _ in series.at]
    for name, metric in series.metrics.items():
        if metric.edges != edges.get(name):
            continue
        columns = [zip(*_columns(stream), strict=True) for stream in metric.streams]
        for row, streams in zip(rows, zip(*columns, strict=True), strict=True):
            tallies = [Tally(*counts) for counts in streams]
            if any(one.n_c + one.n_b > 0 for one in tallies):
                row[name] = tallies
    return [
        Interval(began + at - took, began + at, share, row, by_router=True)
        for at, took, row in zip(series.at, series.took, rows, strict=True)
        if row
    ]


def _plus(one: Tally, other: Tally) -> Tally:
    return Tally(*(a + b for a, b in zip(one, other, strict=True)))
