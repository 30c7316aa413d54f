"""Whether what one arm answered may be counted, and what it lacks where it may not.

Partial data is never good: a reading that lacks something delays, and says what it lacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from analysis.counters import Parts
from analysis.duplicates import certain
from analysis.shown import can_be_there, picking_labels
from schemas.judging import RatioMetric
from schemas.reading import Fault, Series

MOST_SERIES: Final = 20_000
"""Of all metrics of a canary and its stable version: they go into one heartbeat."""
_LEAST_SERIES: Final = 500
_MOST_EDGES: Final = 3


class Lack(NamedTuple):
    """What a reading lacks, as a kind and in words."""

    fault: Fault
    note: str


class Limits(NamedTuple):
    """What the judge's settings say about answers."""

    most_series: int = MOST_SERIES
    """Of one metric of one arm."""
    replica_labels: tuple[str, ...] | None = None
    """What tells copies apart; None: copies are refused, none: there are no copies."""


ANY: Final = Limits()


def most_series(metrics: int) -> int:
    """How many series of each of so many metrics are counted, for one arm."""
    return max(_LEAST_SERIES, MOST_SERIES // max(2 * metrics, 1))


def lack_of_sense(arm: str, parts: Parts, limits: Limits) -> Lack | None:
    """Too many series, copies, or values that are none."""
    number = sum(map(len, parts.values()))
    if number > limits.most_series:
        text = f"{number:,} series of {arm}, and at most {limits.most_series:,} are read"
        return Lack(Fault.TOO_LARGE, text)
    for series in parts.values():
        copies = certain(series, limits.replica_labels)
        if copies is not None:
            return Lack(Fault.DUPLICATE, copies.sentence(arm))
    values = [one.value for series in parts.values() for one in series]
    wrong = sum(not math.isfinite(value) or value < 0 for value in values)
    if wrong:
        text = f"{wrong:,} of {len(values):,} values of {arm} are NaN, infinite or below zero"
        return Lack(Fault.NOT_A_NUMBER, text)
    return None


class Shown:
    """Says where an absent series of bad requests is 0, of one ratio.

    Args:
        metric: the ratio, with its PromQL.
        instance_of: what tells one instance from another.
    """

    def __init__(self, metric: RatioMetric, instance_of: Callable[[Series], str]) -> None:
        self._known = metric.bad is None  # counted by somebody else, who knows
        self._by = metric.shown_by is not None
        self._labels = None if self._by else picking_labels(metric)
        self._instance_of = instance_of
        self.seen = {"canary": False, "stable": False}
        """Whether the arm ever had a series of bad requests."""

    def lack(
        self, arm: str, parts: Parts, shown_by: Sequence[Series], *, partial: bool
    ) -> Lack | None:
        """What keeps absent series of bad requests from being 0; None where nothing does."""
        self.seen[arm] = self.seen[arm] or bool(parts["bad"])
        serving: dict[str, list[Series]] = {}
        for one in parts["total"]:
            serving.setdefault(self._instance_of(one), []).append(one)
        having = {self._instance_of(one) for one in parts["bad"]}
        bare = [
            name
            for name, series in serving.items()
            if name not in having and sum(one.value for one in series) > 0
        ]
        if not bare or self._known:
            return None
        text = f"no series of bad requests on {len(bare)} of {len(serving)} instances of {arm}"
        if partial:
            return Lack(Fault.PARTIAL, f"{text}, and the answer is partial")
        if self.seen[arm]:
            return None
        beside = {self._instance_of(one) for one in shown_by}
        if self._by:
            shown = all(name in beside for name in bare)
        else:
            labels = self._labels
            shown = labels is not None and all(can_be_there(serving[n], labels) for n in bare)
        if shown:
            return None
        what = "shown_by has no series either" if self._by else self._missing()
        return Lack(Fault.UNSHOWN, f"{text}, and nothing shows that there could be one: {what}")

    def _missing(self) -> str:
        if self._labels:
            return f"the total has no label {', '.join(sorted(self._labels))}"
        return "where it is born with the first bad request, say so with shown_by"


def lack_of_edges(
    arm: str,
    parts: Parts,
    edges: Mapping[str, float],
    instance_of: Callable[[Series], str],
) -> Lack | None:
    """Bucket edges that an arm, or some instances of it, do not have.

    Args:
        arm: which one.
        parts: by edge, and the total.
        edges: part name to edge in seconds.
        instance_of: what tells one instance from another.
    """
    serving = {instance_of(one) for one in parts["total"]}
    for part, edge in edges.items():
        having = {instance_of(one) for one in parts[part]}
        if not having:
            return Lack(Fault.EMPTY, f"no bucket at {edge:g} s on {arm}")
        if having & serving and serving - having:
            text = f"no bucket at {edge:g} s on {len(serving - having)} instances of {arm}"
            return Lack(Fault.EMPTY, text)
    return None
