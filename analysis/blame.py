"""Which of several releases a symptom is the doing of: chances, ranked, with their reasons.

Each release that changed exposure along the call graph is a hypothesis, and one more is that it is
the doing of none. Each says how the failures of the service that alerts should have gone:

- with a release, they follow the weights of its version, some time later: in proportion, or from
  some weight on. That is precedence, dose and response in one: a weight that was taken back counts
  as much as one that was given;
- with none of them, they rise at some time that has nothing to do with any weight.

A hypothesis that says beforehand when failures rise gains on one that allows any time, if it was
right. Then come how near the service is in the call graph, and how its own version compares with
its stable one: a culprit's mostly fails more of its own requests, a victim's both fail alike.

The chances are those of Bayes' rule. What they are worth is measured, not proven: `docs/judging.md`
has precision and recall on simulated incidents.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final

from analysis.rises import (
    Exposure,
    Fit,
    Point,
    at_each_time,
    constant,
    exposed,
    lasting,
    mean_of,
    odds_of_arms,
    spread,
    with_exposure,
)

CLEAR: Final = 0.95
"""Chance from which on a release is the clear culprit."""
_LEAST_SYMPTOM: Final = 3.0
"""Nats by which a rise has to be more likely than none: below, the data has no symptom."""
_LAGS: Final = (
    (0.0, 0.4),
    (15.0, 0.2),
    (30.0, 0.14),
    (60.0, 0.1),
    (120.0, 0.07),
    (300.0, 0.05),
    (600.0, 0.04),
)
"""Seconds from a weight to its effect as it is counted, and how likely each is."""
_IN_PROPORTION: Final = 0.6
"""Chance that failures are in proportion to the weight; else they begin at some weight."""
_OTHERS: Final = 0.2
"""Chance, before any data, that none of the releases has to do with it."""
_LEAST_CHANCE: Final = 0.01
_ALONG: Final = 0.8
"""Chance that failures follow the weight; else they begin some time after it, and stay."""
_DELAYS: Final = ((30.0, 0.6), (240.0, 0.4))
"""Mean seconds of such a time, and how likely each is."""
_LEAST_POINTS: Final = 3
"""Before, after, and one more."""
_NEAR, _NEAR_S = 24, 15.0
_FAR, _FAR_S = 16, 90.0
LOOK_BACK_S: Final = (_NEAR - 1) * _NEAR_S + _FAR * _FAR_S
"""How long before now the first reading is."""
_SHORTLY: Final = 60.0
_LEAST_ADDED: Final = 0.01
_MOST_SAID: Final = 12.0
"""Nats that a comparison of a version with its stable one may say at most, for or against."""
_BY_DISTANCE: Final = 0.9
"""Each call further away is so much less likely."""


class Relation(StrEnum):
    """Where a service is, seen from the one that alerts."""

    ITSELF = "itself"
    CALLED = "called"
    """It depends on it, directly or not."""
    CALLER = "caller"
    """It is called by it."""


_PRIOR: Final = {Relation.ITSELF: 1.0, Relation.CALLED: 1.0, Relation.CALLER: 0.1}
_SHOWN: Final = {Relation.ITSELF: 0.97, Relation.CALLED: 0.75, Relation.CALLER: 0.5}
"""Chance that a culprit is worse than its own stable version, too, by its own metrics."""


@dataclass(frozen=True)
class Symptom:
    """What is wrong: failures of a service, of all its versions together."""

    service: str
    points: tuple[Point, ...]
    """Oldest first, from before the first change of exposure, where that is there."""


@dataclass(frozen=True)
class Suspect:
    """One version of one service, whose exposure changed."""

    release: str
    service: str
    version: str
    exposures: tuple[Exposure, ...]
    """Oldest first. It may have ended: back at 0, or at 100."""
    canary: tuple[Point, ...] = ()
    """Its own failures, by its own metrics; empty: unknown."""
    stable: tuple[Point, ...] = ()
    """Those of the version beside it, in the same intervals."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against one suspect."""

    suspect: Suspect
    relation: Relation
    distance: int
    """Calls between it and the service that alerts; 0 for itself."""
    chance: float
    """That the symptom is its doing, 0 to 1."""
    follows: float
    """How much more likely the symptom is with its exposure than at any other time, in nats."""
    compared: float
    """What the comparison with its stable version says, in nats; 0: nothing."""
    fit: Fit
    """Failures of the service that alerts, by its exposure."""
    preceded: float | None
    """Seconds from its last greater weight to the symptom; None: it had none before."""
    own: tuple[float, float] | None
    """Share of its own requests that fail since the symptom began, and of stable's; None:
    unknown."""


@dataclass(frozen=True)
class Ranked:
    """One release, and what its services have to do with it."""

    release: str
    chance: float
    evidence: tuple[Evidence, ...]
    """By service, the likeliest first."""


@dataclass(frozen=True)
class Ranking:
    """All releases, the likeliest first."""

    symptom: str
    """The service."""
    onset: float | None
    """When it most likely began, in seconds since the epoch; None: the data has no symptom."""
    releases: tuple[Ranked, ...] = ()
    others: float = 1.0
    """Chance that it is the doing of none of them."""

    @property
    def culprit(self) -> Ranked | None:
        """The release that it clearly is; None: no clear answer."""
        first = self.releases[0] if self.releases else None
        return first if first is not None and first.chance >= CLEAR else None

    def suspected(self, release: str) -> bool:
        """Whether a release can't be left out: those that are likely enough to be asked about."""
        return any(one.release == release and one.chance >= _LEAST_CHANCE for one in self.releases)


def rank(
    symptom: Symptom, suspects: Sequence[Suspect], depends_on: Mapping[str, Iterable[str]]
) -> Ranking:
    """Whose doing a symptom is.

    Args:
        symptom: of the service that alerts.
        suspects: whose exposure changed, of any release; those that are not along the call graph
            are left out.
        depends_on: the call graph: per service, the services that it calls.
    """
    points = symptom.points
    if strength(points) < _LEAST_SYMPTOM:
        return Ranking(symptom.service, None)
    anytime = at_each_time(points, spread(points))
    onset = points[anytime.index(max(anytime))].at
    related = relations(symptom.service, depends_on)
    known = [one for one in suspects if one.service in related and one.exposures]
    ways = [_ways(points, one.exposures) for one in known]
    whole = _Whole(points, _spread(points, onset, ways), onset)
    found = [
        _weigh(whole, suspect, those, *related[suspect.service])
        for suspect, those in zip(known, ways, strict=True)
    ]
    return _ranking(symptom.service, onset, found)


def _spread(points: Sequence[Point], onset: float, ways: Sequence[Sequence[_Way]]) -> float:
    """What log likelihoods are divided by: by the way that explains the symptom best.

    None explains it better than it is by chance and drift: else a culprit would be found in those.
    """
    found = [lasting(points, _two_rates(points, onset))]
    for those in ways:
        best = max(those, key=lambda way: way.fit.log, default=None)
        if best is not None:
            rates = [best.fit.base + best.fit.added * dose for dose in best.doses]
            found.append(lasting(points, rates))
    return max(spread(points), min(found))


def _two_rates(points: Sequence[Point], onset: float) -> list[float]:
    before = [one for one in points if one.at <= onset]
    later = [one for one in points if one.at > onset]
    low, high = (bad / total if total > 0 else 0.0 for bad, total in map(_sums, (before, later)))
    return [low if one.at <= onset else high for one in points]


@dataclass(frozen=True)
class _Whole:
    points: tuple[Point, ...]
    spread: float
    onset: float

    @cached_property
    def anytime(self) -> list[float]:
        """Log likelihoods of a rise at each time, tempered."""
        return at_each_time(self.points, self.spread)

    @cached_property
    def anyhow(self) -> float:
        """That of a rise at any time, tempered."""
        return mean_of(self.anytime)


@dataclass(frozen=True)
class _Way:
    """One way in which failures may follow an exposure."""

    doses: Sequence[float]
    share: float
    """How likely the way is, before any data."""
    fit: Fit


@dataclass(frozen=True)
class _Weighed:
    log: float
    evidence: Evidence = field(compare=False)


def _ranking(service: str, onset: float, found: Sequence[_Weighed]) -> Ranking:
    if not found:
        return Ranking(service, onset)
    prior = sum(_prior(one.evidence) for one in found)
    logs = [one.log + math.log(_prior(one.evidence) / prior * (1.0 - _OTHERS)) for one in found]
    nobody = math.log(_OTHERS)
    most = max([*logs, nobody])
    weights = [math.exp(log - most) for log in logs]
    rest = math.exp(nobody - most)
    total = sum(weights) + rest
    by_release: dict[str, list[Evidence]] = {}
    for one, weight in zip(found, weights, strict=True):
        told = Evidence(**{**vars(one.evidence), "chance": weight / total})
        by_release.setdefault(told.suspect.release, []).append(told)
    ranked = [
        Ranked(
            release,
            min(sum(one.chance for one in those), 1.0),
            tuple(sorted(those, key=lambda one: (-one.chance, one.suspect.service))),
        )
        for release, those in by_release.items()
    ]
    ranked.sort(key=lambda one: (-one.chance, one.release))
    return Ranking(service, onset, tuple(ranked), rest / total)


def _prior(evidence: Evidence) -> float:
    return _PRIOR[evidence.relation] * _BY_DISTANCE ** max(evidence.distance - 1, 0)


def relations(
    service: str, depends_on: Mapping[str, Iterable[str]]
) -> dict[str, tuple[Relation, int]]:
    """Who can have to do with a symptom of a service, and how many calls away each is.

    Those that it calls, directly or not, pass their failures on to it. Of those that call it only
    the nearest count: they send it other requests, or more.
    """
    found = {service: (Relation.ITSELF, 0)}
    queue = [service]
    for each in queue:
        for called in depends_on.get(each, ()):
            if called not in found:
                found[called] = (Relation.CALLED, found[each][1] + 1)
                queue.append(called)
    for caller, calls in depends_on.items():
        if caller not in found and service in calls:
            found[caller] = (Relation.CALLER, 1)
    return found


def _weigh(
    whole: _Whole, suspect: Suspect, ways: Sequence[_Way], relation: Relation, distance: int
) -> _Weighed:
    logs = [way.fit.log / whole.spread for way in ways]
    fit = max(way.fit for way in ways)
    some_time_later = mean_of(
        whole.anytime, _delays([one.at for one in whole.points[:-1]], suspect.exposures)
    )
    along = mean_of(logs, [way.share for way in ways])
    follows = mean_of((along, some_time_later), (_ALONG, 1.0 - _ALONG)) - whole.anyhow
    compared = _compared(suspect, fit.added, whole.onset)
    shown = _SHOWN[relation]
    own = math.log(shown * math.exp(compared) + 1.0 - shown)
    evidence = Evidence(
        suspect=suspect,
        relation=relation,
        distance=distance,
        chance=0.0,
        follows=follows,
        compared=compared,
        fit=fit,
        preceded=_preceded(suspect.exposures, whole.onset),
        own=_own_rates(suspect, whole.onset),
    )
    return _Weighed(follows + own, evidence)


def _ways(points: Sequence[Point], exposures: Sequence[Exposure]) -> list[_Way]:
    """Each way in which failures may follow an exposure, fitted."""
    found: list[_Way] = []
    thresholds = _thresholds(exposures)
    for lag, share in _LAGS:
        doses = exposed(points, exposures, lag)
        found.append(_Way(doses, share * _IN_PROPORTION, with_exposure(points, doses)))
        for least in thresholds:
            steps = tuple(Exposure(at, 100.0 * (weight >= least)) for at, weight in exposures)
            doses = exposed(points, steps, lag)
            part = share * (1.0 - _IN_PROPORTION) / len(thresholds)
            found.append(_Way(doses, part, with_exposure(points, doses)))
    return found


def _thresholds(exposures: Sequence[Exposure]) -> list[float]:
    """Weights at which something may begin: those that were a rise, few enough to try each."""
    rises = {
        one.weight
        for before, one in zip((Exposure(0.0, 0.0), *exposures), exposures, strict=False)
        if one.weight > before.weight
    }
    return sorted(rises)[:6] or [100.0]


def _delays(times: Sequence[float], exposures: Sequence[Exposure]) -> list[float]:
    """How likely it is that an effect begins at each time, as some time after a greater weight."""
    rises = _rises(exposures)
    return [
        sum(
            part * math.exp(-(at - rise) / mean) / mean
            for rise in rises
            if rise <= at
            for mean, part in _DELAYS
        )
        + 1e-12
        for at in times
    ]


def _rises(exposures: Sequence[Exposure]) -> list[float]:
    pairs = zip((Exposure(0.0, 0.0), *exposures), exposures, strict=False)
    return [one.at for before, one in pairs if one.weight > before.weight]


def _compared(suspect: Suspect, added: float, onset: float) -> float:
    """How much more likely its own counts are if it is worse than stable than if it is not.

    Since shortly before the symptom began. Where it is no worse while the symptom lasts, that
    speaks against it as far as it would have shown: to add so much to the failures of the service
    that alerts, it has to fail as many of its own.
    """
    if len(suspect.canary) != len(suspect.stable):
        return 0.0
    pairs = list(zip(suspect.canary, suspect.stable, strict=True))
    added = max(added, _LEAST_ADDED)
    gain, _ = odds_of_arms([pair for pair in pairs if pair[0].at > onset - _SHORTLY], added)
    if gain > 0:
        return min(gain, _MOST_SAID)
    _, needed = odds_of_arms([pair for pair in pairs if pair[0].at > onset], added)
    return min(max(needed, -_MOST_SAID), 0.0)


def _sums(points: Sequence[Point]) -> tuple[float, float]:
    return sum(one.bad for one in points), sum(one.total for one in points)


def _own_rates(suspect: Suspect, onset: float) -> tuple[float, float] | None:
    bad_c, n_c = _sums([one for one in suspect.canary if one.at > onset])
    bad_b, n_b = _sums([one for one in suspect.stable if one.at > onset])
    return (bad_c / n_c, bad_b / n_b) if n_c > 0 and n_b > 0 else None


def _preceded(exposures: Sequence[Exposure], onset: float) -> float | None:
    before = [at for at in _rises(exposures) if at <= onset]
    return onset - before[-1] if before else None


def looked_at(now: float) -> list[float]:
    """The times of the readings that a ranking is made of, in seconds since the epoch.

    Close together shortly before `now`, where a symptom begins, and further apart before that.
    """
    near = [now - _NEAR_S * index for index in range(_NEAR)]
    far = [near[-1] - _FAR_S * (index + 1) for index in range(_FAR)]
    return sorted(near + far)


def strength(points: Sequence[Point]) -> float:
    """How clearly failures rise, in nats; of several metrics the one that shows a symptom best."""
    if len(points) < _LEAST_POINTS or sum(one.bad for one in points) <= 0:
        return 0.0
    tempered = spread(points)
    return mean_of(at_each_time(points, tempered)) - constant(points) / tempered
