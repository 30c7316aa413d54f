"""What events tell of releases, as far as numbers about them need it. Pure, for anybody's records.

Events of a release are taken in their order, as a partition of Kafka and a file beside a report
have them; copies change nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from aviary.audit.links import event_in
from schemas.commit import committed_at
from schemas.outside import NAME_MOST, cut
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.reverting import revert_id

RELEASES_MOST: Final = 50_000
"""Releases that are kept; of more, the oldest are forgotten."""
SERVICES_MOST: Final = 10_000
"""Services of one release: what a deploy event can have."""
_COUNTS: Final = b'"dev.aviary.evidence.'
"""In the longest events, which tell of nothing that is measured here."""
_BEGINNING: Final = 200
_CANARY: Final = "dev.aviary.canary."
_PHASES: Final = {phase.value: phase for phase in CanaryPhase}
_RELEASE: Final = {phase.about.event.value: phase for phase in ReleasePhase}


@dataclass(slots=True)
class Place:
    """Where one service of a release that runs is."""

    phase: CanaryPhase
    since: datetime
    """When it entered the phase."""
    version: str = ""
    stable: str = ""
    """The version beside it; empty: none."""
    weight: float = 0.0
    """Percent of the requests that the new version has."""
    verdict: tuple[str, str] | None = None
    """Kind and reason of the last one."""

    @property
    def serves(self) -> bool:
        """Whether users have a version that they did not have before."""
        return self.weight > 0 and self.version != self.stable


@dataclass(slots=True)
class ToldRelease:
    """One release."""

    release: str
    environment: str
    asked_at: datetime
    """Of its first event."""
    told_at: datetime
    """Of its last one."""
    committed_at: datetime | None = None
    """As the label `commit_time` of its deploy event says."""
    phase: ReleasePhase | None = None
    services: dict[str, Place] = field(default_factory=dict)
    """Where each is."""
    served_at: datetime | None = None
    """When users first had one of its versions."""
    back_at: datetime | None = None
    """When it began to go back."""
    noticed_at: datetime | None = None
    """When what it goes back for was first seen: an alert began, a verdict was reached."""
    cause: str = ""
    """Kind of what it goes back for."""
    restored_at: datetime | None = None
    """When, having begun to go back, no user had any of its versions any more."""
    ended_at: datetime | None = None
    spent: dict[CanaryPhase | ReleasePhase, float] = field(
        default_factory=lambda: defaultdict(float)
    )
    """Seconds in each phase, of all services together; of the release itself, in the queue."""

    @property
    def serves(self) -> bool:
        """Whether users have any of its versions now."""
        return any(place.serves for place in self.services.values())


@dataclass(frozen=True, slots=True)
class Left:
    """A service, or a release that waited, has left a phase."""

    phase: CanaryPhase | ReleasePhase
    seconds: float


class Told:
    """Collects releases from events.

    Args:
        most: releases that are kept.
    """

    def __init__(self, most: int = RELEASES_MOST) -> None:
        self.releases: dict[str, ToldRelease] = {}
        """By id, oldest first."""
        self.oldest: datetime | None = None
        """Of all events that were taken, the first."""
        self.forgotten = 0
        """Releases that there was no room for."""
        self._most = most

    def take_record(self, value: bytes | None) -> tuple[Left, ...]:
        """Take a record of `aviary.events`, or a line of a file; see `take`."""
        if value is None or _COUNTS in value[:_BEGINNING]:
            return ()
        event = event_in(value)
        return () if event is None else self.take(event)

    def take(self, event: Mapping[str, Any]) -> tuple[Left, ...]:
        """Take an event; what is of no use is passed.

        Returns:
            The phases that were left with it.
        """
        kind, name, data = event.get("type"), event.get("partitionkey"), event.get("data")
        at = time_of(event.get("time"))
        if not (isinstance(kind, str) and isinstance(name, str) and isinstance(data, dict)):
            return ()
        if at is None or not (kind in _RELEASE or kind.startswith(_CANARY)):
            return ()
        self.oldest = at if self.oldest is None else min(self.oldest, at)
        release = self._known(cut(name, NAME_MOST), data, at)
        if event.get("chainreset") is True:
            release.ended_at = None
        if release.ended_at is not None:
            return ()
        release.told_at = max(release.told_at, at)
        if kind in _RELEASE:
            return _take_release(release, _RELEASE[kind], data, at)
        return _take_service(release, data, at)

    def forget_before(self, at: datetime) -> None:
        """Forget releases that ended earlier."""
        for name, one in list(self.releases.items()):
            if one.ended_at is not None and one.ended_at < at:
                del self.releases[name]

    def reverts(self) -> dict[str, list[ToldRelease]]:
        """Of each release that was to be taken back after its end, the attempts at it."""
        found: dict[str, list[ToldRelease]] = {}
        for name in self.releases:
            attempt = 1
            while (back := self.releases.get(revert_id(name, attempt))) is not None:
                found.setdefault(name, []).append(back)
                attempt += 1
        return found

    def _known(self, name: str, data: Mapping[str, Any], at: datetime) -> ToldRelease:
        known = self.releases.get(name)
        if known is None:
            while len(self.releases) >= self._most:
                del self.releases[next(iter(self.releases))]
                self.forgotten += 1
            environment = data.get("environment")
            place = cut(environment, NAME_MOST) if isinstance(environment, str) else ""
            known = self.releases[name] = ToldRelease(name, place, at, at)
        return known


def time_of(value: object) -> datetime | None:
    """A time as events have it; None for what is none, or has no offset."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _take_release(
    release: ToldRelease, phase: ReleasePhase, data: Mapping[str, Any], at: datetime
) -> tuple[Left, ...]:
    labels = data.get("labels")
    if isinstance(labels, dict) and release.committed_at is None:
        release.committed_at = committed_at(
            {key: value for key, value in labels.items() if isinstance(value, str)}
        )
    left: tuple[Left, ...] = ()
    if release.phase is ReleasePhase.QUEUED and phase is not ReleasePhase.QUEUED:
        left = (_leave(release, ReleasePhase.QUEUED, at - release.asked_at),)
    release.phase = phase
    if phase is ReleasePhase.RUNNING and isinstance(data.get("services"), dict):
        for name in list(data["services"])[:SERVICES_MOST]:
            release.services.setdefault(cut(str(name), NAME_MOST), Place(CanaryPhase.WAITING, at))
    if phase.goes_back and release.back_at is None:
        _take_cause(release, data.get("cause"), at)
    if phase.closed:
        release.ended_at = at
        for place in release.services.values():
            if not place.phase.closed:
                left += (_leave(release, place.phase, at - place.since),)
    return left


def _take_cause(release: ToldRelease, cause: object, at: datetime) -> None:
    release.back_at = release.noticed_at = at
    if release.served_at is not None and not release.serves and release.restored_at is None:
        release.restored_at = at
    if not isinstance(cause, dict):
        return
    release.cause = cut(str(cause.get("kind", "")), NAME_MOST)
    alert, verdict = cause.get("alert"), cause.get("verdict")
    seen = [time_of(cause.get("at"))]
    if isinstance(alert, dict):
        seen.append(time_of(alert.get("starts_at")))
    if isinstance(verdict, dict):
        seen.append(time_of(verdict.get("decided_at")))
    # An alert that was there before any user had the version did not come of it.
    first = min((one for one in seen if one is not None), default=at)
    release.noticed_at = min(max(first, release.served_at or at), at)


def _take_service(release: ToldRelease, data: Mapping[str, Any], at: datetime) -> tuple[Left, ...]:
    name, phase = data.get("service"), _PHASES.get(str(data.get("phase")))
    if not isinstance(name, str) or phase is None:
        return ()
    name = cut(name, NAME_MOST)
    place = release.services.get(name)
    left: tuple[Left, ...] = ()
    if place is None:
        if len(release.services) >= SERVICES_MOST:
            return ()
        place = release.services[name] = Place(phase, at)
    elif at < place.since:
        return ()
    elif phase is not place.phase:
        if not place.phase.closed:
            left = (_leave(release, place.phase, at - place.since),)
        place.phase, place.since = phase, at
    served = place.serves
    _take_place(place, data)
    if place.serves:
        release.served_at, release.restored_at = release.served_at or at, None
    elif served and not release.serves and (phase.goes_back or release.back_at is not None):
        release.restored_at = at
    return left


def _take_place(place: Place, data: Mapping[str, Any]) -> None:
    weight, verdict = data.get("weight"), data.get("verdict")
    if isinstance(weight, int | float) and 0 <= weight <= 100:  # noqa: PLR2004 - percent
        place.weight = float(weight)
    place.version, place.stable = (
        cut(str(data.get(key) or ""), NAME_MOST) for key in ("version", "stable")
    )
    if isinstance(verdict, dict):
        kind, reason = verdict.get("kind"), verdict.get("reason")
        place.verdict = cut(str(kind), NAME_MOST), cut(str(reason), NAME_MOST)


def _leave(release: ToldRelease, phase: CanaryPhase | ReleasePhase, length: timedelta) -> Left:
    seconds = max(length.total_seconds(), 0.0)
    release.spent[phase] += seconds
    return Left(phase, seconds)
