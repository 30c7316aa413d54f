"""The same thing counted twice: found, refused, or folded.

Prometheus itself never has a series twice. But a pair of Prometheus servers that both write to one
store, or one target under two jobs, gives each series once more with another label, and every count
would be doubled: the evidence would look twice as sure as it is.

Three cases:

- *Named*: the catalog says which labels tell replicas apart (`judge.replica_labels`). Of each
  instance the series of one replica count, of the same one for as long as it is there.
- *Certain*: two series of one target differ in nothing but how they were scraped (`job`, a label of
  replicas), or in labels that only one of two jobs has. They are refused: which of them is right is
  not ours to guess.
- *Suspected*: two values of some other label have the same series of the same target throughout,
  and those stand and move alike. That may be a pair, and may be two halves of a service with evenly
  spread requests. So nothing is refused or left out: such evidence counts once instead of twice,
  which is right for the first, and only slower for the second.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from schemas.reading import Series, shown

_TARGET: Final = frozenset({"instance", "pod"})
_SCRAPED_BY: Final = frozenset({"job", "prometheus", "replica"})
_REPLICA: Final = re.compile(r"replica(?!s)", re.IGNORECASE)
"""Who scraped; not `replicaset` or `replicas`, which are what was scraped."""
_BESIDE_IT: Final = frozenset({"endpoint", "container", "service"})
"""Labels that change with the job, and mean nothing alone."""
_STORES: Final = ("prometheus_replica", "__replica__", "thanos_replica", "receive_replica")
_OF_REQUESTS: Final = re.compile(
    r"le|quantile|__name__|pod|instance|verb|classification|.*(code|status|method|path|route|handler|uri).*"
)
"""Labels that are never a replica's, however alike the requests are: instances take turns."""
_ENDPOINT: Final = re.compile(r":\d{1,5}$")
"""How an instance ends that is an address, and no name that somebody gave to a machine."""
_MOST_JOBS: Final = 8
"""Jobs that are held against each other; one target is in two, or in three."""
_MOST_SHOWN: Final = 3
_LARGE: Final = 100.0
"""Requests in which they do, at least: small numbers are alike by chance."""

Labels = frozenset[tuple[str, str]]


class Copies(NamedTuple):
    """Series that are there more than once."""

    label: str
    """What tells the copies apart; empty where nothing does."""
    values: tuple[str, ...]
    series: int

    def sentence(self, arm: str) -> str:
        """What was found, for a person, and what to do."""
        if not self.label:
            return f"{self.series:,} series of {arm} are there more than once, with equal labels"
        values = ", ".join(self.values[:_MOST_SHOWN])
        return (
            f"{self.series:,} series of {arm} are there {len(self.values)} times, by the label "
            f"{self.label} ({values}): name it in judge.replica_labels, or select one in the query"
        )


def certain(series: Iterable[Series], replica_labels: Sequence[str] | None = None) -> Copies | None:
    """Series of one target that differ in nothing but how they were scraped.

    Args:
        series: of one part of one arm.
        replica_labels: what the catalog names; an empty list says that there are no replicas.
    """
    found = list(series)
    twice = [n for n in Counter(_all(one, ()) for one in found).values() if n > 1]
    if twice:
        return Copies("", (), len(twice))
    if replica_labels is not None and not replica_labels:
        return None
    groups: dict[Labels, list[Mapping[str, str]]] = defaultdict(list)
    for one in found:
        hard = _hard(one.labels)
        if hard:
            left_out = hard if hard <= set(_STORES) else hard | _BESIDE_IT
            groups[_all(one, left_out)].append(one.labels)
    copies = [group for group in groups.values() if len(group) > 1 and _differ(group)]
    if not copies:
        return _by_two_jobs(found)
    label = _differ(copies[0])
    values = sorted({shown(labels.get(label, "")) for group in copies for labels in group})
    return Copies(shown(label), tuple(values), len(copies))


def _by_two_jobs(found: Sequence[Series]) -> Copies | None:
    """Series of one address under two jobs, each of which gives its targets labels of its own.

    What the target itself says is then the same in both, as far as both have it.
    """
    jobs: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for one in found:
        if "job" in one.labels and _ENDPOINT.search(one.labels.get("instance", "")):
            jobs[one.labels["job"]].append(one.labels)
    for first, second in combinations(sorted(jobs)[:_MOST_JOBS], 2):
        names = [frozenset[str]().union(*jobs[job]) for job in (first, second)]
        both = (names[0] & names[1]) - _BESIDE_IT - {"job"}
        once, again = (
            {frozenset((n, labels[n]) for n in both if n in labels) for labels in jobs[job]}
            for job in (first, second)
        )
        if once & again:
            return Copies("job", (shown(first), shown(second)), len(once & again))
    return None


def _hard(labels: Mapping[str, str]) -> frozenset[str]:
    """Labels that say who scraped a series whose target is known, or by their name alone."""
    if labels.keys() & _TARGET:
        return frozenset(one for one in labels if one in _SCRAPED_BY or _REPLICA.search(one))
    return frozenset(one for one in labels if one in _STORES)


def _differ(group: Sequence[Mapping[str, str]]) -> str:
    """The label of scraping in which these series differ; empty where they don't."""
    for label in sorted(frozenset().union(*(_hard(one) for one in group)), reverse=True):
        if len({one.get(label) for one in group}) > 1:
            return label
    return ""


def _all(one: Series, without: Iterable[str]) -> Labels:
    left_out = frozenset(without)
    return frozenset(pair for pair in one.labels.items() if pair[0] not in left_out)


def replica_of(labels: Mapping[str, str], replica_labels: Sequence[str]) -> tuple[str, ...]:
    """Which replica a series is of."""
    return tuple(labels.get(label, "") for label in replica_labels)


class Moved(NamedTuple):
    """A series, and what it has grown by since the reading before."""

    part: str
    series: Series
    step: float


def suspected(moved: Sequence[Moved]) -> Copies | None:
    """Another label by which all series are there more than once, standing and moving alike.

    Args:
        moved: all series of one arm.
    """
    names = {name for one in moved for name in one.series.labels}
    for label in sorted(name for name in names if not _OF_REQUESTS.fullmatch(name)):
        values = {one.series.labels.get(label, "") for one in moved}
        whole = len(moved) % len(values) == 0
        if len(values) > 1 and whole and _alike(moved, label, len(values)):
            ordered = tuple(sorted(map(shown, values)))
            return Copies(shown(label), ordered, len(moved) // len(values))
    return None


def _alike(moved: Sequence[Moved], label: str, copies: int) -> bool:
    """Whether the series of each value of this label stand and move as those of each other."""
    groups: dict[tuple[str, Labels], list[Moved]] = defaultdict(list)
    for one in moved:
        groups[one.part, _all(one.series, (label,))].append(one)
    requests = 0.0
    for group in groups.values():
        standing = [one.series.value for one in group]
        steps = [one.step for one in group]
        known = _TARGET & group[0].series.labels.keys()  # else only what is equal is alike
        apart = max(standing) - min(standing) > (max(steps) if known else 0.0)
        if len(group) != copies or apart or max(steps) > 2 * min(steps):
            return False
        requests += max(steps)
    return requests >= _LARGE
