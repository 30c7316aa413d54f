"""Judge the past: replay a Prometheus range as the readings the judge would have seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from adapters.errors import AdapterError
from adapters.http_access import HttpAccess, HttpxAuth
from adapters.metrics.answers import warned_of
from adapters.packs import Pack
from analysis.judge import Judge
from aviary.access_settings import http_access
from aviary.catalogs import read_catalog
from aviary.cli.failing import CommandError, ExitCode
from aviary.connections import read_connections
from aviary.kinds import registry
from aviary.settings import load_settings
from schemas.catalog_check import listed, nearest
from schemas.judging import (
    Arm,
    GaugeMetric,
    HistogramMetric,
    JudgeSpec,
    Method,
    MetricSpec,
    RatioMetric,
    render,
)
from schemas.outside import hide_user
from schemas.reading import ArmReading, MetricReading, Series, Snapshot
from schemas.verdict import Reason, Verdict, VerdictKind

_MOST_POINTS = 10_000
"""Prometheus refuses more than 11,000 points per series and query."""
_MOST_READINGS = 100_000
_TIMEOUT = 60.0
DEFAULT_PACK = "envoy"
"""Of judges that name none, and whose router is not known."""
_SHOWN = 200
_KINDS: dict[str, type[RatioMetric | HistogramMetric | GaugeMetric]] = {
    "ratio": RatioMetric,
    "histogram": HistogramMetric,
    "gauge": GaugeMetric,
}

Matrix = dict[float, list[Series]]
"""Time in seconds -> the series at that time."""


class Past(NamedTuple):
    """What the command line asks for."""

    url: str
    service: str | None
    begin: str | None
    end: str | None
    canary: str | None
    stable: str | None
    queries: tuple[str, ...]
    catalog: Path | None = None


class PrometheusRange:
    """Raw series of a range of time, at one step.

    Args:
        client: speaks to the Prometheus.
        begin: first time.
        end: last time.
        step: time between two readings.
        lax: whether an answer with warnings is one.
    """

    def __init__(
        self,
        client: httpx.Client,
        begin: datetime,
        end: datetime,
        step: timedelta,
        *,
        lax: bool = False,
    ) -> None:
        self._client = client
        self._where = f"Prometheus at {hide_user(str(client.base_url))}"
        self._lax = lax
        self.partial = ""
        """What was warned of, where that is accepted."""
        self.begin = begin
        self._step = step.total_seconds()
        self._count = int((end - begin).total_seconds() / self._step) + 1

    def times(self) -> Iterator[datetime]:
        """Every time of the range."""
        for index in range(self._count):
            yield self.begin + timedelta(seconds=index * self._step)

    def ask(self, promql: str) -> Matrix:
        """The answer to one query, by time.

        Raises:
            CommandError: Prometheus could not be reached, or refused.
        """
        matrix: Matrix = {}
        for first in range(0, self._count, _MOST_POINTS):
            last = min(first + _MOST_POINTS, self._count) - 1
            for row in self._chunk(promql, first, last):
                try:
                    labels = row["metric"]
                    for time, value in row["values"]:
                        series = Series(labels=labels, value=float(value))
                        matrix.setdefault(round(float(time), 3), []).append(series)
                except (KeyError, TypeError, ValueError, OverflowError):
                    raise self._strange(row) from None
        return matrix

    def _strange(self, answer: Any) -> CommandError:
        shown = str(answer)[:_SHOWN].encode(errors="backslashreplace").decode()
        return CommandError(
            ExitCode.FAILURE,
            f"{self._where}: got {shown}, expected a matrix of series",
        )

    def _chunk(self, promql: str, first: int, last: int) -> list[dict[str, Any]]:
        start = self.begin.timestamp()
        asked = {
            "query": promql,
            "start": f"{start + first * self._step:.3f}",
            "end": f"{start + last * self._step:.3f}",
            "step": f"{self._step:.3f}",
        }
        try:
            answer = self._client.get("/api/v1/query_range", params=asked)
            data = answer.json()
        except (
            *(httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError),
            AdapterError,
        ) as error:
            problem = f"{type(error).__name__}: {error}"[:_SHOWN]
            raise CommandError(ExitCode.FAILURE, f"{self._where}: {problem}") from None
        if not isinstance(data, dict) or data.get("status") != "success":
            problem = str(data.get("error", data) if isinstance(data, dict) else data)[:_SHOWN]
            raise CommandError(
                ExitCode.FAILURE,
                f"{self._where}: {answer.status_code}: {problem}",
            )
        warned = warned_of(data)
        if warned and not self._lax:
            raise CommandError(
                ExitCode.FAILURE,
                f"{self._where}: the answer is partial: {warned}; "
                "judge.accept_warnings of a catalog takes it all the same",
            )
        self.partial = self.partial or warned
        matrix = data.get("data")
        rows = matrix.get("result") if isinstance(matrix, dict) else None
        if not isinstance(rows, list):
            raise self._strange(data)
        return rows


def judge_past(asked: Past, spec: JudgeSpec, *, watch: bool) -> dict[str, Any]:
    """Judge a service in a range of the past.

    Raises:
        CommandError: an option is missing or wrong, or Prometheus did not answer.
    """
    if asked.service is None:
        raise _bad("--service: missing, expected the name of a service")
    begin, end = _time("--from", asked.begin), _time("--to", asked.end)
    if end <= begin:
        raise _bad(f"--to: got {asked.end}, expected a time after --from ({asked.begin})")
    wanted: Sequence[MetricSpec] | None = None
    if asked.catalog is not None:
        spec, wanted = _from_catalog(asked.catalog, asked.service)
    packs = registry().packs()
    spec = spec.model_copy(update={"pack": spec.pack or DEFAULT_PACK})
    try:
        pack = packs.load(spec.pack or DEFAULT_PACK)
        asked_for = _metrics(asked.queries, pack) if wanted is None else wanted
        metrics = tuple(packs.resolve(spec, metric) for metric in asked_for)
    except ValueError as error:
        raise _bad(str(error)) from None
    if (end - begin) / spec.interval > _MOST_READINGS:
        raise _bad(f"--step: expected at most {_MOST_READINGS:,} steps from --from to --to")
    with _client(asked.url) as client:
        lax = spec.accept_warnings
        source = PrometheusRange(client, begin, end, spec.interval, lax=lax)
        arms = _arms(asked, asked.service, pack, source)
        answers = {
            (metric.name, arm, part): source.ask(render(template, variables))
            for metric in metrics
            for arm, variables in arms.items()
            for part, template in metric.templates.items()
        }
    judge = Judge(spec, metrics, subject=f"{asked.service} {arms[Arm.CANARY]['version']}")
    snapshots = (_snapshot(at, begin, metrics, answers, source.partial) for at in source.times())
    return {"series": asked.service, **_replay(judge, spec, snapshots, watch=watch)}


def _from_catalog(path: Path, service: str) -> tuple[JudgeSpec, Sequence[MetricSpec]]:
    """The service's own judge and metrics.

    Raises:
        CommandError: the catalog has no such service.
        CatalogError: it can't be read, or is not valid.
    """
    catalog = read_catalog(path, read_connections(load_settings()))
    try:
        resolved = catalog.resolve(service)
    except KeyError:
        expected = f"one of the catalog's: {listed(catalog.services)}"
        expected += nearest(service, catalog.services)
        raise _bad(f"--service: got {service}, expected {expected}") from None
    return resolved.judge, resolved.metrics or ()


def _client(url: str) -> httpx.Client:
    """A client with the credentials of the settings, where they are of this very server.

    Raises:
        CommandError: the address is none, or a file of certificates can't be read.
        SettingsError: the settings are wrong.
    """
    settings = load_settings()
    access = HttpAccess()
    try:
        asked = httpx.URL(url)
        if not asked.userinfo and _origin(asked) == _origin(httpx.URL(settings.prometheus_url)):
            access = http_access(settings, "prometheus")
        auth = None if asked.userinfo else HttpxAuth(access)
        return httpx.Client(
            base_url=asked, auth=auth, verify=access.tls.context(), timeout=_TIMEOUT
        )
    except OSError as error:
        raise _bad(f"AVIARY_PROMETHEUS_CA_FILE or its like: {error}") from None
    except (httpx.InvalidURL, ValueError) as error:
        expected = "an address such as http://prometheus:9090"
        raise _bad(f"--prometheus: got {hide_user(url)}, expected {expected}: {error}") from None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Who is asked: credentials are for one scheme, host and port."""
    return url.scheme, url.host, url.port


def _replay(
    judge: Judge, spec: JudgeSpec, snapshots: Iterator[Snapshot], *, watch: bool
) -> dict[str, Any]:
    rules = spec.method in {Method.THRESHOLD, Method.KAYENTA}
    first: datetime | None = None
    passed: tuple[int, Verdict] | None = None
    index, at = 0, datetime.min.replace(tzinfo=UTC)
    for index, snapshot in enumerate(snapshots):
        at = snapshot.at
        first = at if first is None else first
        try:
            judge.observe(snapshot)
        except ValueError as error:
            raise CommandError(ExitCode.FAILURE, f"Prometheus: {error}") from None
        if judge.failure is not None:
            return _result(judge, _verdict(judge, at, first), index, rules=rules)
        if passed is None and not rules and judge.good_enough():
            passed = (index, _verdict(judge, at, first))
            if not watch:
                break
    if passed is not None:
        return _result(judge, passed[1], passed[0], rules=rules)
    if first is None:
        raise _bad("--to: expected a range with at least one reading")
    verdict = _verdict(judge, at, first)
    decided = index if verdict.kind is VerdictKind.PASS else None
    return _result(judge, verdict, decided, rules=rules)


def _verdict(judge: Judge, at: datetime, first: datetime) -> Verdict:
    zero = timedelta(0)
    return judge.verdict(at, started_at=first, bake_min=zero, bake_max=zero)


def _result(judge: Judge, verdict: Verdict, decided: int | None, *, rules: bool) -> dict[str, Any]:
    return {
        "verdict": verdict.kind.value,
        "decided_at": decided,
        "time": None if decided is None else verdict.at.isoformat(),
        "e_value": None if rules else judge.e_value,
        "upper_bound": None if verdict.reason is Reason.NO_DATA else judge.upper_bound,
        "reason": verdict.reason.value,
        "sentence": verdict.sentence,
    }


def _metrics(queries: Sequence[str], pack: Pack) -> tuple[MetricSpec, ...]:
    metrics: list[MetricSpec] = []
    for name in queries:
        if name not in pack.queries:
            raise ValueError(
                f"--query: got {name}, expected one of {', '.join(sorted(pack.queries))}"
            )
        metrics.append(_KINDS[pack.queries[name].kind](name=name))
    return tuple(metrics)


def _arms(
    asked: Past, service: str, pack: Pack, source: PrometheusRange
) -> dict[Arm, dict[str, str]]:
    canary, stable = asked.canary, asked.stable
    if canary is None or stable is None:
        canary, stable = _found(asked, service, pack, source)
    return {
        arm: {"service": service, "version": version, "pool": pack.pool.of(service, version)}
        for arm, version in ((Arm.CANARY, canary), (Arm.STABLE, stable))
    }


def _found(asked: Past, service: str, pack: Pack, source: PrometheusRange) -> tuple[str, str]:
    """The two versions that served; the canary is the one that came later."""
    if pack.versions is None:
        raise _bad("--canary and --stable: missing, and this pack can't find the versions")
    name = render(pack.versions.query, {"service": service})
    seen: dict[str, float] = {}
    for time, rows in sorted(source.ask(name).items()):
        for series in rows:
            found = re.fullmatch(pack.versions.pattern, series.labels.get(pack.versions.label, ""))
            if found is not None:
                seen.setdefault(pack.pool.version(found.group(1)), time)
    known = [version for version in (asked.canary, asked.stable) if version is not None]
    others = [version for version in seen if version not in known]
    if len(known) + len(others) != 2:  # noqa: PLR2004 - one of each arm
        shown = ", ".join(seen) or "none"
        raise _bad(f"--canary and --stable: expected two versions in this range, found {shown}")
    if asked.canary is not None:
        return asked.canary, others[0]
    if asked.stable is not None:
        return others[0], asked.stable
    older, newer = sorted(others, key=seen.__getitem__)
    if seen[older] == seen[newer]:
        raise _bad(f"--canary: missing, and {older} and {newer} both serve from the start")
    return newer, older


def _snapshot(
    at: datetime,
    begin: datetime,
    metrics: Sequence[MetricSpec],
    answers: Mapping[tuple[str, Arm, str], Matrix],
    partial: str,
) -> Snapshot:
    key = round(at.timestamp(), 3)

    def arm(metric: MetricSpec, which: Arm) -> ArmReading:
        parts = {
            part: tuple(answers[metric.name, which, part].get(key, ())) for part in metric.templates
        }
        return ArmReading(parts=parts, partial=partial)

    # Prometheus does not know when the weight changed: no interval is left out for it.
    return Snapshot(
        at=at,
        weight=0.0,
        weight_changed_at=begin,
        metrics={
            metric.name: MetricReading(
                canary=arm(metric, Arm.CANARY), stable=arm(metric, Arm.STABLE)
            )
            for metric in metrics
        },
    )


def _time(option: str, text: str | None) -> datetime:
    if text is None:
        raise _bad(f"{option}: missing, expected a time such as 2026-01-31T12:00:00Z")
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _bad(f"{option}: got {text}, expected a time such as 2026-01-31T12:00:00Z") from None


def _bad(text: str) -> CommandError:
    return CommandError(ExitCode.BAD_INPUT, text)
