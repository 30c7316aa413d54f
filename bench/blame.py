"""`python -m bench.blame`: whom a symptom is blamed on, over many incidents that are made up.

Beside it stand the two things that are done without blame: to take back whoever alerts, and to take
back all.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from analysis.blame import Ranking, Suspect, Symptom, looked_at, rank, relations
from analysis.rises import Exposure, Point
from bench.incidents import STEP_S, STEPS, Floats, Graph, Incident, generated, incident, public

AT_ONCE: Final = (1, 3, 10)
_FOR: Final = 2
"""Intervals for which a rule is true before it alerts."""
_OVER: Final = 4
"""Intervals that a rule looks at."""
_LOOKS: Final = (0, 4)
"""Intervals after the first alert at which it is judged, as a canary does: at once, and a minute
later where it was not clear."""
_ALERTS: Final = 4
"""Alerts that are acted upon, of those that come."""


@dataclass
class Score:
    """Of one way to decide."""

    right: int = 0
    """Incidents of which the culprit went back."""
    culprits: int = 0
    """Incidents that had one among the releases, and alerted."""
    taken: int = 0
    """Releases that went back."""
    guilty: int = 0
    """Those of them that were culprits."""

    @property
    def precision(self) -> float:
        """Of what went back, the share that was guilty."""
        return self.guilty / self.taken if self.taken else 1.0

    @property
    def recall(self) -> float:
        """Of the culprits, the share that went back."""
        return self.right / self.culprits if self.culprits else 1.0

    def note(self, culprit: int | None, taken: Iterable[int]) -> None:
        """Count one incident."""
        back = set(taken)
        self.culprits += culprit is not None
        self.right += culprit in back
        self.taken += len(back)
        self.guilty += culprit in back


@dataclass
class Tally:
    """Of all incidents with so many releases at once."""

    looks: int = len(_LOOKS)
    """How often it is judged, at most."""
    incidents: int = 0
    silent: int = 0
    """Incidents without an alert."""
    single: int = 0
    """Incidents of whose alerts none could be the doing of more than one release; not scored."""
    blamed: Score = field(default_factory=Score)
    alerting: Score = field(default_factory=Score)
    everything: Score = field(default_factory=Score)
    asked: int = 0
    """Incidents that were left to a person."""
    named: int = 0
    """Those of them in which the culprit was first in the list."""
    first: int = 0
    """Incidents that were clear at the first alert."""
    waited: list[float] = field(default_factory=list)
    """Seconds from the first alert until it was clear."""
    missed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)


def alerts(found: Incident) -> list[tuple[int, str]]:
    """When the rule of each service alerts, the first first."""
    fired = []
    for service, total in found.total.items():
        if total.mean() < 20:
            continue
        bad = np.convolve(found.bad[service], np.ones(_OVER))[:STEPS]
        rate = bad / np.maximum(np.convolve(total, np.ones(_OVER))[:STEPS], 1)
        usual = float(np.median(rate[: max(found.began, 20)]))
        over = rate > max(0.01, 3 * usual)
        held = np.convolve(over, np.ones(_FOR))[:STEPS] >= _FOR
        held[: found.began] = False
        if held.any():
            fired.append((int(np.argmax(held)) + 1, service))
    return sorted(fired)


def judged(found: Incident, service: str, now: int) -> Ranking:
    """What is made of an alert of a service at a time."""
    bounds = sorted({max(round(at / STEP_S), 0) for at in looked_at(min(now, STEPS) * STEP_S)})
    suspects = [
        Suspect(
            release=f"r{change.release}",
            service=change.service,
            version="2",
            exposures=tuple(
                Exposure(at * STEP_S, weight) for at, weight in change.changes if at < now
            ),
            canary=_points(found.own_bad[change.service], found.own_total[change.service], bounds),
            stable=_points(
                found.bad[change.service] - found.own_bad[change.service],
                found.total[change.service] - found.own_total[change.service],
                bounds,
            ),
        )
        for change in found.changes
    ]
    symptom = Symptom(service, _points(found.bad[service], found.total[service], bounds))
    return rank(symptom, suspects, found.graph)


def _points(bad: Floats, total: Floats, bounds: Sequence[int]) -> tuple[Point, ...]:
    """What an activity reads: the same times, and what was counted between each two of them."""
    return tuple(
        Point(until * STEP_S, float(bad[since:until].sum()), float(total[since:until].sum()))
        for since, until in pairwise(bounds)
    )


def running(found: Incident, now: int) -> set[int]:
    """Releases that had given a version a weight by then."""
    return {change.release for change in found.changes if change.changes[0][0] < now}


def decide(found: Incident, tally: Tally, at_once: int) -> None:
    """One incident, decided in each way."""
    tally.incidents += 1
    fired = alerts(found)
    near = [
        (at, service)
        for at, service in fired
        if any(
            one.release in running(found, at) and one.service in relations(service, found.graph)
            for one in found.changes
        )
    ][:_ALERTS]
    if not near:
        tally.silent += 1
        return
    if at_once > 1 and not any(len(related(found, *one)) > 1 for one in near):
        tally.single += 1
        return
    start = near[0][0]
    culprit = found.culprit
    reached = {
        one.release
        for at, service in near
        for one in found.changes
        if one.release in running(found, at) and one.service in relations(service, found.graph)
    }
    if culprit is not None and culprit not in reached:
        culprit = None
    by_alert = {
        one.release
        for at, service in near
        if at <= start + 8
        for one in found.changes
        if one.service == service and one.release in running(found, at)
    }
    tally.alerting.note(culprit, by_alert)
    tally.everything.note(culprit, running(found, start) & reached)
    _blame(found, near, culprit, tally)


def related(found: Incident, now: int, service: str) -> set[int]:
    """Releases that a symptom of a service can be the doing of."""
    along = relations(service, found.graph)
    here = running(found, now)
    return {one.release for one in found.changes if one.service in along and one.release in here}


def alone(found: Incident, near: Sequence[tuple[int, str]], now: int) -> set[int]:
    """Releases that are the only ones along the calls of their own service that alerts."""
    back = set()
    for at, service in near:
        there = related(found, at, service)
        if at <= now and len(there) == 1:
            own = {one.release for one in found.changes if one.service == service}
            back |= there & own
    return back


def _blame(
    found: Incident, near: Sequence[tuple[int, str]], culprit: int | None, tally: Tally
) -> None:
    start = near[0][0]
    last: list[Ranking] = []
    for look in _LOOKS[: tally.looks]:
        now = start + look
        if now > STEPS:
            break
        rankings = [judged(found, service, now) for at, service in near if at <= now]
        last = rankings or last
        taken = {int(one.culprit.release[1:]) for one in rankings if one.culprit is not None}
        taken |= alone(found, near, now)
        if taken:
            tally.blamed.note(culprit, taken)
            tally.first += look == 0
            tally.waited.append(look * STEP_S)
            if culprit is not None and culprit not in taken:
                tally.missed[found.fault] += 1
            for one in taken - {culprit}:
                why = ", without another suspect" if one in alone(found, near, now) else ""
                tally.wrong[f"{found.fault}{why}"] += 1
            return
    tally.blamed.note(culprit, ())
    tally.asked += 1
    if culprit is not None:
        tally.missed[f"{found.fault}, asked"] += 1
        tally.named += any(
            one.releases and one.releases[0].release == f"r{culprit}" for one in last
        )


def measure(
    graphs: dict[str, Graph],
    runs: int,
    seed: int,
    numbers: Sequence[int] = AT_ONCE,
    looks: int = len(_LOOKS),
) -> dict[int, Tally]:
    """So many incidents for each graph and number of releases."""
    tallies: dict[int, Tally] = {number: Tally(looks=looks) for number in numbers}
    for at_once in numbers:
        for place, (name, graph) in enumerate(graphs.items()):
            rng = np.random.default_rng((seed, at_once, place))
            for _ in range(runs):
                own = generated(rng) if name == "generated" else graph
                decide(incident(rng, own, at_once), tallies[at_once], at_once)
    return tallies


_HEAD: Final = (
    "| releases at once | incidents | blame: precision | recall | clear at the first alert "
    "| left to a person | whoever alerts: precision | recall | all: precision | recall |"
)


def lines(tallies: dict[int, Tally]) -> list[str]:
    """A table in Markdown."""
    told = [
        _HEAD,
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for at_once, one in tallies.items():
        alerted = one.incidents - one.silent - one.single
        told.append(
            f"| {at_once} | {alerted:,} | {one.blamed.precision:.1%} | {one.blamed.recall:.1%} "
            f"| {one.first / max(alerted, 1):.0%} | {one.asked / max(alerted, 1):.1%} "
            f"| {one.alerting.precision:.1%} | {one.alerting.recall:.1%} "
            f"| {one.everything.precision:.1%} | {one.everything.recall:.1%} |"
        )
    return told


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60, help="incidents for each graph")
    parser.add_argument("--at-once", type=int, nargs="*", default=AT_ONCE)
    parser.add_argument("--looks", type=int, default=len(_LOOKS), help="how often, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one graph, by its name")
    parser.add_argument("--details", action="store_true", help="which faults were missed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    graphs: dict[str, Graph] = {**public(), "generated": {}}
    if options.only:
        graphs = {options.only: graphs[options.only]}
    began = time.perf_counter()
    tallies = measure(graphs, options.runs, options.seed, options.at_once, options.looks)
    print("\n".join(lines(tallies)))
    if options.details:
        for at_once, one in tallies.items():
            print(
                at_once,
                "missed",
                dict(one.missed),
                "wrong",
                dict(one.wrong),
                "named",
                one.named,
                "silent",
                one.silent,
            )
    print(f"{time.perf_counter() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({k: vars(v.blamed) for k, v in tallies.items()}))


if __name__ == "__main__":
    main()
