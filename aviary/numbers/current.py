"""Numbers about releases as Prometheus has them: where canaries are, and DORA's four. Pure.

Series are bounded: one place for each environment and service that a running release has, of which
at most `CANARIES_MOST` are shown; and DORA's for at most `ENVIRONMENTS_MOST` environments. Those of
a release go a minute after its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from aviary.numbers.dora import Outcome, Span, by_environment
from aviary.numbers.told import Place, Told, ToldRelease
from schemas.phase_facts import Waiting

CANARIES_MOST: Final = 2_000
"""Services that are shown, those of the newest releases first."""
ENVIRONMENTS_MOST: Final = 50
SPAN: Final = timedelta(days=30)
"""Of DORA's numbers: releases that ended in it, until now."""
SHOWN_AFTER: Final = timedelta(minutes=1)
"""How long a release is shown that has ended: a scrape sees how."""
SILENT: Final = timedelta(days=14)
"""A release that told nothing for so long is not shown: its end was lost, or never told."""

_CANARY: Final = ("environment", "service")
_WHERE: Final = ("environment",)


def current(told: Told, now: datetime) -> list[Metric]:
    """Where each service of a running release is.

    Args:
        told: releases.
        now: the time.
    """
    shown: dict[tuple[str, str], tuple[ToldRelease, Place]] = {}
    for release in sorted(_shown(told, now), key=lambda one: (one.ended_at is None, one.asked_at)):
        for service, place in release.services.items():
            shown[release.environment, service] = (release, place)
    newest = sorted(shown.items(), key=lambda one: one[1][0].asked_at, reverse=True)
    left_out = max(len(newest) - CANARIES_MOST, 0)
    families = _Families()
    for (environment, service), (release, place) in newest[:CANARIES_MOST]:
        families.add(environment, service, release.release, place)
    left = GaugeMetricFamily(
        "aviary_canaries_left_out",
        f"Canaries that are not shown: {CANARIES_MOST:,} are.",
        value=left_out,
    )
    return [*families.all, left]


def _shown(told: Told, now: datetime) -> Iterator[ToldRelease]:
    for one in told.releases.values():
        ended = one.ended_at
        if (now - one.told_at < SILENT) if ended is None else (now - ended < SHOWN_AFTER):
            yield one


class _Families:
    """The metrics of canaries."""

    def __init__(self) -> None:
        text = "1 for each service of a release that runs, with its versions."
        self._info = _of_canary("info", text, "release", "version", "stable")
        text = "Percent of the requests that the new version has, by the router's word."
        self._weight = _of_canary("weight_percent", text)
        text = "1 for the phase that a service is in, and what its time passes with."
        self._phase = _of_canary("phase", text, "phase", "spent_on")
        text = "When it entered the phase, in seconds since 1970."
        self._since = _of_canary("phase_since_seconds", text)
        text = "1 for the last verdict on a service of a release that runs."
        self._verdict = _of_canary("verdict", text, "kind", "reason")

    @property
    def all(self) -> list[Metric]:
        """Every one."""
        return [self._info, self._weight, self._phase, self._since, self._verdict]

    def add(self, environment: str, service: str, release: str, place: Place) -> None:
        """Show one place."""
        of = (environment, service)
        self._info.add_metric((*of, release, place.version, place.stable), 1)
        self._weight.add_metric(of, place.weight)
        self._phase.add_metric((*of, place.phase.value, place.phase.waiting.value), 1)
        self._since.add_metric(of, place.since.timestamp())
        if place.verdict is not None:
            self._verdict.add_metric((*of, *place.verdict), 1)


def _of_canary(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"aviary_canary_{name}", text, labels=(*_CANARY, *labels))


def delivery(told: Told, now: datetime) -> list[Metric]:
    """DORA's four of each environment, of releases that ended in the last 30 days.

    Args:
        told: releases.
        now: the time.
    """
    every = by_environment(told, now - SPAN, now)
    busiest = sorted(every.items(), key=lambda one: (-len(one[1].deployments), one[0]))
    found = dict(busiest[:ENVIRONMENTS_MOST])
    count = _gauge("deployments", "Deployments of 30 days, by outcome.", "outcome")
    often = _gauge("deployments_per_day", "Deployment frequency of 30 days.")
    rate = _gauge("change_failure_rate", "Change failure rate of 30 days, from 0 to 1.")
    text = "Lead time for changes, of 30 days: the median, and what nine of ten don't exceed."
    lead = _gauge("lead_time_seconds", text, "quantile")
    text = "Time to restore, of 30 days: the median, and what nine of ten don't exceed."
    restored = _gauge("time_to_restore_seconds", text, "quantile")
    text = "Time that services spent in releases that ended, of 30 days, by what it passed with."
    spent = _gauge("time_spent_seconds", text, "spent_on")
    for where, one in found.items():
        outcomes = [each.outcome for each in one.deployments]
        for outcome in Outcome:
            count.add_metric((where, outcome.value), outcomes.count(outcome))
        often.add_metric((where,), one.per_day)
        if one.failure_rate is not None:
            rate.add_metric((where,), one.failure_rate)
        _add_lengths(lead, where, one.lead)
        _add_lengths(restored, where, one.restored)
        for waiting in Waiting:
            spent.add_metric((where, waiting.value), one.spent_on(waiting))
    return [count, often, rate, lead, restored, spent]


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"aviary_dora_{name}", text, labels=(*_WHERE, *labels))


def _add_lengths(gauge: GaugeMetricFamily, where: str, span: Span | None) -> None:
    if span is not None:
        gauge.add_metric((where, "0.5"), span.median_s)
        gauge.add_metric((where, "0.9"), span.p90_s)
