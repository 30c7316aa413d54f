"""Metrics of Argo's AnalysisTemplates as threshold metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from aviary.moving import conditions
from aviary.moving.conditions import Condition, NotUnderstoodError
from aviary.moving.drafts import ZERO, MetricDraft, metric_name, plain
from aviary.moving.lengths import length
from aviary.moving.queries import Value, fill, promql
from aviary.moving.rows import Rows
from aviary.moving.source import Node, RefusedError, quoted
from schemas.promql import is_one_series, is_scalar

_ARGS: Final = "args."
_RETRIES: Final = timedelta(minutes=1)
"""Argo measures again every 10 s where there was an error, and gives up at the fifth."""
_MOST_COUNT: Final = 1_000_000

INSTEAD: Final = {
    "web": "no metric that calls an address: a hook at during_bake can ask it "
    "(docs/how-to/hooks.md)",
    "job": "no metric that runs a Job: a hook at before_canary or during_bake can have it run "
    "(docs/how-to/hooks.md)",
    "kayenta": "the judge has Kayenta's method (judge: {method: kayenta}), on metrics of the "
    "catalog "
    "and not by the id of a canary configuration",
    "plugin": "no plug-in of Argo: a metrics source is an entry point (docs/contributing.md)",
}
FIELDS: Final = (
    *("name", "interval", "initialDelay", "count", "successCondition", "failureCondition"),
    *("failureLimit", "inconclusiveLimit", "consecutiveErrorLimit", "consecutiveSuccessLimit"),
    "provider",
)
"""Of a metric."""
_SOURCE: Final = (
    "Aviary asks Prometheus, and other stores by a metrics source of their own "
    "(docs/contributing.md); leave it out, or have the numbers in Prometheus as well"
)


@dataclass(frozen=True)
class Run:
    """How long a metric is measured; None where it goes on for ever."""

    shortest: timedelta
    longest: timedelta


@dataclass(frozen=True)
class Measured:
    """What a metric of a template became."""

    drafts: tuple[MetricDraft, ...]
    run: Run | None


def read_metric(node: Node, args: Mapping[str, Value], rows: Rows) -> Measured:
    """One metric of a template.

    Raises:
        RefusedError: it is not understood, or fits no threshold.
    """
    name = node.need("name").text()
    run, interval = _run(node, args)
    _timing(node, rows)
    if (query := _query(node, rows)) is None:
        node.know(FIELDS)
        return Measured((), run)
    text = fill(query, args, _ARGS)
    condition = _condition(node, args, rows)
    if condition is None:
        rows.none(
            node,
            f"metric {quoted(name)} has no condition: every measurement is good, and there is no "
            "limit that could stand for it",
        )
        return Measured((), run)
    scalar = is_scalar(text.strip())
    if condition.plain and not scalar:
        raise RefusedError(
            node.place,
            "it compares the result as a number, and this query answers with series, of which Argo "
            f"makes a list: each measurement is an error there; {quoted(text)}",
        )
    if scalar and not condition.plain:
        raise RefusedError(
            node.place,
            f"it takes the result for a list, and this query answers with a number; {quoted(text)}",
        )
    value = promql(query, text)
    checks = _checks(node, args, rows)
    base = metric_name(name)
    drafts = []
    for bound in condition.bounds:
        both = len(condition.bounds) > 1
        end = ("-min" if bound.lower else "-max") if both else ""
        spec: dict[str, Any] = {"kind": "threshold", "name": f"{base[: 63 - len(end)]}{end}"}
        spec |= {"value": value, "limit": plain(bound.number)}
        if bound.lower:
            spec["direction"] = "lower_is_bad"
        if checks > 1:
            spec["checks"] = checks
        drafts.append(MetricDraft(spec, node.place, interval))
    _tell(node, query, text, condition, rows)
    return Measured(tuple(drafts), run)


def _query(node: Node, rows: Rows) -> Node | None:
    """The query for Prometheus; None where another provider is asked."""
    provider = node.need("provider")
    prometheus = provider.get("prometheus")
    if prometheus is None:
        for one in provider.each():
            rows.none(one, INSTEAD.get(one.name, _SOURCE))
        return None
    query = prometheus.need("query")
    if (address := prometheus.get("address")) is not None:
        rows.differs(
            address,
            "Aviary asks one Prometheus, that of AVIARY_PROMETHEUS_URL: is it this one?",
        )
    for name in ("authentication", "headers", "insecure"):
        if (secret := prometheus.get(name)) is not None:
            rows.none(secret, "credentials stand in the settings: AVIARY_METRICS_CONNECTION")
    if (timeout := prometheus.get("timeout")) is not None:
        rows.none(timeout, "how long Aviary waits for an answer is its own")
    if (ranged := prometheus.get("rangeQuery")) is not None:
        ranged.take()
        raise RefusedError(
            ranged.place, "a range query: a metric here has one value for each series"
        )
    return query


def _condition(node: Node, args: Mapping[str, Value], rows: Rows) -> Condition | None:
    good, bad = node.get("successCondition"), node.get("failureCondition")
    well = None if good is None else _understood(good, args, conditions.success)
    ill = None if bad is None else _understood(bad, args, conditions.failure)
    if well is None or ill is None or bad is None:
        return well or ill
    if {*well.bounds} != {*ill.bounds}:
        rows.differs(
            bad,
            "what is neither a success nor a failure is inconclusive there; here it is bad as "
            "well, "
            "for a metric has one limit: that of successCondition",
        )
    return well


def _understood(
    node: Node, args: Mapping[str, Value], read: Callable[[str], Condition]
) -> Condition:
    text = fill(node, args, _ARGS)
    try:
        return read(text)
    except NotUnderstoodError as error:
        text = f"{quoted(text)} is not understood ({error}): write the metric by hand"
        raise RefusedError(node.place, text) from None


def _checks(node: Node, args: Mapping[str, Value], rows: Rows) -> int:
    """How many checks in a row fail the canary."""
    for name in ("inconclusiveLimit", "consecutiveErrorLimit", "consecutiveSuccessLimit"):
        if (one := node.get(name)) is not None:
            rows.none(one, _LIMITS[name])
    given = node.get("failureLimit")
    if given is None:
        return 1
    limit = _count(given, args)
    if limit < 0:
        raise RefusedError(given.place, "-1, so that no failure counts: leave the metric out")
    if limit:
        rows.differs(
            given,
            f"more than {limit} failures in all fail there; here {limit + 1} in a row do "
            "(checks), so "
            "that scattered ones don't add up: checks: 1 is strict",
        )
    else:
        rows.same(given, "the first failure fails")
    return limit + 1


_LIMITS: Final = {
    "inconclusiveLimit": "a bake that ends without a verdict asks a person (on_inconclusive)",
    "consecutiveErrorLimit": "a query that fails never rolls back: the interval becomes longer, "
    "and a "
    "bake without a verdict asks a person",
    "consecutiveSuccessLimit": "a metric can't pass early: the bake's `min` says how long it is "
    "judged",
}


def _count(node: Node, args: Mapping[str, Value]) -> int:
    text = fill(node, args, _ARGS)
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= len(str(_MOST_COUNT))):
        raise node.refuse("a whole number")
    return int(text)


def _run(node: Node, args: Mapping[str, Value]) -> tuple[Run | None, timedelta | None]:
    """How long it runs, and how often it measures."""
    times: dict[str, timedelta] = {}
    for name in ("interval", "initialDelay"):
        if (one := node.get(name)) is not None:
            times[name] = length(one, fill(one, args, _ARGS))
    interval, delay = times.get("interval"), times.get("initialDelay", ZERO)
    if interval is not None and interval <= ZERO:
        interval = None
    given = node.get("count")
    count = 0 if given is None else _count(given, args)
    if count <= 0 and interval is not None:
        return None, interval
    if interval is None:
        return Run(delay, delay + _RETRIES), None
    try:
        return Run(delay + interval * (count - 1), delay + interval * count), interval
    except OverflowError:
        raise node.refuse("a run of at most 366 days") from None


_TIMES: Final = {
    "interval": "one interval for all metrics of a service (judge.interval): the shortest",
    "initialDelay": "of an analysis step, it makes the bake longer; in the background, what is "
    "seen "
    "at first counts as well",
    "count": "of an analysis step, it says how long the bake is; in the background, a metric is "
    "judged to the end",
}


def _timing(node: Node, rows: Rows) -> None:
    for name, text in _TIMES.items():
        if (one := node.get(name)) is not None:
            rows.differs(one, text)


def _tell(node: Node, query: Node, text: str, condition: Condition, rows: Rows) -> None:
    """What of a metric is as it was, and what is not."""
    for name in ("successCondition", "failureCondition"):
        if (one := node.get(name)) is None:
            continue
        if any(bound.strict for bound in condition.bounds):
            rows.differs(one, "at exactly the limit a value is still good here")
        else:
            rows.same(one, "a limit")
    if condition.lack_is_good:
        rows.differs(
            node,
            "no data, or NaN, is good there; here it is no evidence: the bake goes on, and without "
            "any it asks a person",
        )
    else:
        rows.differs(
            node,
            "no data is an error there, which aborts at the fifth, and NaN fails a "
            "successCondition "
            "and passes a failureCondition; here both are no evidence, and a bake without any "
            "asks a "
            "person",
        )
    if condition.first_only and not is_one_series(text):
        rows.differs(query, "the first series alone counts there (`result[0]`); here each does")
    rows.same(query, "the query, word for word")
