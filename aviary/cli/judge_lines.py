"""Intervals as JSON Lines: read them fast, judge every series, and say what came out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from pydantic import ValidationError

from analysis.evalues import Tally
from analysis.judge import Judge, counted_metrics
from aviary.cli.failing import CommandError, ExitCode
from schemas.judging import JudgeSpec, Method
from schemas.verdict import Reason, VerdictKind

_FIELDS = {"series", "interval_s", "weight", "metrics"}
_ARMS = {"canary", "stable"}


class SeriesJudge:
    """One series: its judge, and the interval at which the verdict was reached."""

    def __init__(self, spec: JudgeSpec, names: Sequence[str], *, watch: bool) -> None:
        self.judge = Judge(spec, counted_metrics(names))
        self.names = frozenset(names)
        self._rules = spec.method in {Method.THRESHOLD, Method.KAYENTA}
        self._watch = watch
        self._time = 0.0
        self._count = 0
        self._passed_at: int | None = None
        self._failed_at: int | None = None

    def take(self, counts: dict[str, Tally], length: float) -> None:
        """Judge one interval, unless the verdict is there already."""
        index, self._count = self._count, self._count + 1
        if self._failed_at is not None or (self._passed_at is not None and not self._watch):
            return
        start, self._time = self._time, self._time + length
        self.judge.observe_counts(counts, start, self._time)
        if self.judge.failure is not None:
            self._failed_at = index
        elif not self._rules and self._passed_at is None and self.judge.good_enough():
            self._passed_at = index

    def result(self, series: str) -> dict[str, Any]:
        """The line to print."""
        kind, reason, decided = self._outcome()
        return {
            "series": series,
            "verdict": kind.value,
            "decided_at": decided,
            "e_value": None if self._rules else self.judge.e_value,
            "upper_bound": self.judge.upper_bound,
            "reason": reason.value,
        }

    def _outcome(self) -> tuple[VerdictKind, Reason, int | None]:
        if self._failed_at is not None and self.judge.failure is not None:
            return VerdictKind.FAIL, self.judge.failure.reason, self._failed_at
        if self._passed_at is not None:
            return VerdictKind.PASS, Reason.GOOD_ENOUGH, self._passed_at
        if not self.judge.seen:
            return VerdictKind.INCONCLUSIVE, Reason.NO_DATA, None
        if not self._rules:
            return VerdictKind.INCONCLUSIVE, Reason.NOT_ENOUGH_EVIDENCE, None
        reason = self.judge.by_rule()
        if reason is Reason.WITHIN_LIMITS:
            return VerdictKind.PASS, reason, self._count - 1
        return VerdictKind.INCONCLUSIVE, reason, None


def judge_lines(lines: Iterable[str], spec: JudgeSpec, *, watch: bool) -> list[dict[str, Any]]:
    """Judge every series of a stream of intervals.

    Args:
        lines: one interval each, series interleaved as they come.
        spec: method and settings.
        watch: go on after a PASS, looking for a FAIL until the input ends.

    Raises:
        CommandError: a line is not such an interval; names line, field, value and expectation.
    """
    judges: dict[str, SeriesJudge] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        series, length, counts = _parse(line, number)
        judge = judges.get(series)
        if judge is None:
            judge = judges[series] = _begin(spec, counts, number, watch=watch)
        elif not judge.names >= counts.keys():
            extra = ", ".join(sorted(counts.keys() - judge.names))
            first = ", ".join(sorted(judge.names))
            _bad(number, "metrics", extra, f"the metrics of the series' first line: {first}")
        judge.take(counts, length)
    return [judge.result(series) for series, judge in judges.items()]


def _begin(spec: JudgeSpec, counts: dict[str, Tally], number: int, *, watch: bool) -> SeriesJudge:
    try:
        return SeriesJudge(spec, sorted(counts), watch=watch)
    except ValidationError as error:
        first = error.errors()[0]
        _bad(number, "metrics", first["input"], "names of lower-case letters, digits, _ and -")


def _parse(line: str, number: int) -> tuple[str, float, dict[str, Tally]]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise CommandError(
            ExitCode.BAD_INPUT, f"line {number}: not JSON: {error}; expected one object a line"
        ) from None
    if not isinstance(data, dict):
        _bad(number, "(line)", data, "an object with series, interval_s and metrics")
    if not data.keys() <= _FIELDS:
        name = min(data.keys() - _FIELDS)
        _bad(number, name, data[name], f"only {', '.join(sorted(_FIELDS))}")
    series, length, metrics = data.get("series"), data.get("interval_s"), data.get("metrics")
    if not isinstance(series, str):
        _bad(number, "series", series, "a text")
    if not _number(length) or length is None or length <= 0:
        _bad(number, "interval_s", length, "a number of seconds above 0")
    weight = data.get("weight", 0.0)
    if not _number(weight) or not 0 <= weight <= 1:
        _bad(number, "weight", weight, "a share from 0 to 1")
    if not isinstance(metrics, dict) or not metrics:
        _bad(number, "metrics", metrics, "an object with at least one metric")
    return (
        series,
        float(length),
        {name: _tally(value, f"metrics.{name}", number) for name, value in metrics.items()},
    )


def _tally(value: Any, field: str, number: int) -> Tally:
    if not isinstance(value, dict) or value.keys() != _ARMS:
        _bad(number, field, value, "an object with canary and stable, each [bad, total]")
    bad_c, n_c = _pair(value["canary"], field, "canary", number)
    bad_b, n_b = _pair(value["stable"], field, "stable", number)
    return Tally(bad_c, n_c, bad_b, n_b)


def _pair(value: Any, field: str, arm: str, number: int) -> tuple[float, float]:
    if isinstance(value, list) and len(value) == 2:  # noqa: PLR2004 - bad and total
        bad, total = value
        if _number(bad) and _number(total) and 0 <= bad <= total:
            return bad, total
    expected = "[bad, total], two numbers with 0 <= bad <= total"
    return _bad(number, f"{field}.{arm}", value, expected)


def _number(value: Any) -> bool:
    kind = type(value)
    return kind is int or (kind is float and math.isfinite(value))


def _bad(number: int, field: str, value: Any, expected: str) -> NoReturn:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    limit = 80
    shown = shown if len(shown) <= limit else shown[:limit] + "..."
    raise CommandError(
        ExitCode.BAD_INPUT, f"line {number}: {field}: got {shown}, expected {expected}"
    )
