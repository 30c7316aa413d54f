"""DORA's four numbers of software delivery, of releases that ended in a span of time. Pure.

The definitions are those of docs/how-to/dora.md, which says whose they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median

from aviary.numbers.told import Told, ToldRelease
from schemas.phase_facts import Waiting
from schemas.phases import CanaryPhase, ReleasePhase


class Outcome(StrEnum):
    """What became of a deployment; a closed set."""

    DEPLOYED = "deployed"
    """Its versions are stable, and were not taken back."""
    ROLLED_BACK = "rolled_back"
    """It went back after users had had one of its versions."""
    REVERTED = "reverted"
    """Its versions became stable, and a later release took them back."""

    @property
    def failed(self) -> bool:
        """Whether it counts as a change that failed."""
        return self is not Outcome.DEPLOYED


@dataclass(frozen=True)
class Deployment:
    """One release that changed what users have."""

    release: str
    environment: str
    outcome: Outcome
    at: datetime
    """When it ended."""
    lead: timedelta | None
    """From its commit to its versions being stable; None: it went back, or nobody said when."""
    restored: timedelta | None
    """Of one that failed: until no user had its versions any more; None: not yet."""
    cause: str
    """Kind of what a rollback was for."""


@dataclass(frozen=True)
class Span:
    """Lengths of time, as far as a few of them say it."""

    count: int
    median_s: float
    p90_s: float
    """Nine of ten are no longer: the smallest of them that is so."""
    longest_s: float

    @classmethod
    def of(cls, lengths: Iterable[timedelta]) -> Span | None:
        """None where there are none."""
        found = sorted(max(one.total_seconds(), 0.0) for one in lengths)
        if not found:
            return None
        at = -(-len(found) * 9 // 10) - 1
        return cls(len(found), median(found), found[at], found[-1])


@dataclass(frozen=True)
class Spent:
    """Time in one phase, of all services of the deployments together."""

    phase: CanaryPhase | ReleasePhase
    seconds: float

    @property
    def waiting(self) -> Waiting:
        """What it passed with."""
        return self.phase.waiting


@dataclass(frozen=True)
class Dora:
    """The four numbers, and what they are made of."""

    since: datetime
    until: datetime
    oldest: datetime | None
    """Of all events that there are, the first: nothing is known of what was before."""
    deployments: tuple[Deployment, ...]
    """By their end."""
    unseen: int
    """Releases that went back before any user had a version of theirs: no deployments."""
    spent: tuple[Spent, ...]
    """The longest first."""

    @property
    def deployed(self) -> int:
        """Deployments whose versions became stable."""
        return sum(one.outcome is not Outcome.ROLLED_BACK for one in self.deployments)

    @property
    def per_day(self) -> float:
        """Deployment frequency: of those that became stable, over the whole span."""
        days = (self.until - self.since) / timedelta(days=1)
        return self.deployed / days if days > 0 else 0.0

    @property
    def days(self) -> int:
        """Days (UTC) with at least one that became stable."""
        ended = (one for one in self.deployments if one.outcome is not Outcome.ROLLED_BACK)
        return len({one.at.date() for one in ended})

    @property
    def lead(self) -> Span | None:
        """Lead time for changes, of those whose commit's time is known."""
        return Span.of(one.lead for one in self.deployments if one.lead is not None)

    @property
    def failed(self) -> int:
        """Deployments that failed."""
        return sum(one.outcome.failed for one in self.deployments)

    @property
    def failure_rate(self) -> float | None:
        """Change failure rate, from 0 to 1; None without a deployment."""
        return self.failed / len(self.deployments) if self.deployments else None

    @property
    def restored(self) -> Span | None:
        """Time to restore service, of those that failed and are over."""
        return Span.of(one.restored for one in self.deployments if one.restored is not None)

    def spent_on(self, waiting: Waiting) -> float:
        """Seconds that passed with work, people or others."""
        return sum(one.seconds for one in self.spent if one.waiting is waiting)


def measure(
    told: Told,
    since: datetime,
    until: datetime,
    *,
    environment: str | None = None,
    service: str | None = None,
) -> Dora:
    """The four numbers.

    Args:
        told: releases.
        since: releases that ended from then on.
        until: to then, which is not within.
        environment: only of releases there.
        service: only of releases that have it.
    """
    reverts = told.reverts()
    taking_back = {one.release for each in reverts.values() for one in each}
    ended = [
        one
        for one in told.releases.values()
        if one.ended_at is not None
        and since <= one.ended_at < until
        and environment in {None, one.environment}
        and (service is None or service in one.services)
    ]
    found = [
        deployment
        for one in ended
        if one.release not in taking_back
        and (deployment := _deployment(one, reverts.get(one.release, ()))) is not None
    ]
    back = sum(one.phase is ReleasePhase.ROLLED_BACK and one.served_at is None for one in ended)
    return Dora(
        since=since,
        until=until,
        oldest=told.oldest,
        deployments=tuple(sorted(found, key=lambda one: (one.at, one.release))),
        unseen=back,
        spent=_spent(ended),
    )


def by_environment(told: Told, since: datetime, until: datetime) -> Mapping[str, Dora]:
    """The four numbers of each environment."""
    names = {one.environment for one in told.releases.values() if one.ended_at is not None}
    return {name: measure(told, since, until, environment=name) for name in sorted(names)}


def _deployment(one: ToldRelease, reverts: Sequence[ToldRelease]) -> Deployment | None:
    """A release as a deployment; None for one of which no user had anything."""
    if one.ended_at is None or one.served_at is None:
        return None
    lead = restored = None
    outcome = Outcome.DEPLOYED
    if one.phase is ReleasePhase.ROLLED_BACK:
        outcome = Outcome.ROLLED_BACK
        restored = (one.restored_at or one.ended_at) - (one.noticed_at or one.ended_at)
    else:
        lead = None if one.committed_at is None else one.ended_at - one.committed_at
        if reverts and reverts[-1].phase is not ReleasePhase.ROLLED_BACK:
            outcome = Outcome.REVERTED
            over = reverts[-1].ended_at
            restored = None if over is None else over - reverts[0].asked_at
    return Deployment(
        release=one.release,
        environment=one.environment,
        outcome=outcome,
        at=one.ended_at,
        # A clock that is ahead makes no change that was released before it was made.
        lead=None if lead is None else max(lead, timedelta(0)),
        restored=restored,
        cause=one.cause,
    )


def _spent(releases: Sequence[ToldRelease]) -> tuple[Spent, ...]:
    sums: dict[CanaryPhase | ReleasePhase, float] = defaultdict(float)
    for one in releases:
        for phase, seconds in one.spent.items():
            sums[phase] += seconds
    order = sorted(sums.items(), key=lambda one: (-one[1], one[0].value))
    return tuple(Spent(phase, seconds) for phase, seconds in order if seconds)
