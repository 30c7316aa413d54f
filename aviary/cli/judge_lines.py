"""Intervals as JSON Lines: read them fast, judge every series, and say what came out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final, NoReturn

from pydantic import ValidationError

from analysis.evalues import Tally
from analysis.judge import Judge, counted_metrics
from aviary.cli.failing import CommandError, ExitCode
from schemas.judging import JudgeSpec, Method, RatioMetric
from schemas.verdict import Reason, VerdictKind

_FIELDS = {"series", "interval_s", "weight", "metrics"}
_ARMS = {"canary", "stable"}
_LEAST, _MOST = 1e-9, 1e15
"""Counts: a double holds every whole number up to there."""
_LONGEST_S = 366 * 86400
_LONGEST_LINE: Final = 1_000_000
_SHOWN: Final = 80


class SeriesJudge:
    """One series: its judge, and the interval at which the verdict was reached."""

    def __init__(self, spec: JudgeSpec, metrics: Sequence[RatioMetric], *, watch: bool) -> None:
        self.judge = Judge(spec, metrics)
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


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, none of them longer than is sensible.

    Raises:
        CommandError: a line is longer; names it.
    """
    number = 0
    while line := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            expected = f"one interval in at most {_LONGEST_LINE:,} bytes"
            _bad(number, "(line)", line[:_SHOWN].decode(errors="replace"), expected)
        yield line


def judge_lines(lines: Iterable[bytes], spec: JudgeSpec, *, watch: bool) -> list[dict[str, Any]]:
    """Judge every series of a stream of intervals.

    All lines are read first: a metric may first appear late in its series, and is then one that the
    series had no data of until there.

    Args:
        lines: one interval each in UTF-8, series interleaved as they come.
        spec: method and settings.
        watch: go on after a PASS, looking for a FAIL until the input ends.

    Raises:
        CommandError: a line is not such an interval; names line, field, value and expectation.
    """
    intervals: dict[str, list[tuple[dict[str, Tally], float]]] = {}
    known: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = _text(line, number)
        if not text.strip():
            continue
        series, length, counts = _parse(text, number)
        if series not in intervals:
            _check_text("series", series, number)
            intervals[series] = []
        if not counts.keys() <= known:
            known.update(_checked_names(counts, number))
        intervals[series].append((counts, length))
    shared: dict[frozenset[str], Sequence[RatioMetric]] = {}
    results = []
    for series, taken in intervals.items():
        names = frozenset(name for counts, _ in taken for name in counts)
        if names not in shared:
            shared[names] = counted_metrics(sorted(names))
        judge = SeriesJudge(spec, shared[names], watch=watch)
        for counts, length in taken:
            judge.take(counts, length)
        results.append(judge.result(series))
    return results


def _text(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        return _bad(number, f"byte {error.start + 1}", f"0x{line[error.start]:02x}", "UTF-8")


def _check_text(field: str, text: str, number: int) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        _bad(number, field, text, "a text without half surrogates")


def _checked_names(counts: Iterable[str], number: int) -> Iterable[str]:
    try:
        counted_metrics(list(counts))
    except ValidationError as error:
        expected = "names of at most 63 lower-case letters, digits, _ and -, a letter first"
        _bad(number, "metrics", error.errors()[0]["input"], expected)
    return counts


def _parse(line: str, number: int) -> tuple[str, float, dict[str, Tally]]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise CommandError(
            ExitCode.BAD_INPUT, f"line {number}: not JSON: {why}; expected one object a line"
        ) from None
    if not isinstance(data, dict):
        _bad(number, "(line)", data, "an object with series, interval_s and metrics")
    if not data.keys() <= _FIELDS:
        name = min(data.keys() - _FIELDS)
        _bad(number, name, data[name], f"only {', '.join(sorted(_FIELDS))}")
    series, length, metrics = data.get("series"), data.get("interval_s"), data.get("metrics")
    if not isinstance(series, str):
        _bad(number, "series", series, "a text")
    if not _number(length) or length is None or not 0 < length <= _LONGEST_S:
        _bad(number, "interval_s", length, "a number of seconds above 0, at most 366 days")
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
        fits = _number(bad) and _number(total) and 0 <= bad <= total <= _MOST
        if fits and (total >= _LEAST or total == 0):
            return bad, total
    expected = "[bad, total], two numbers with 0 <= bad <= total, total 0 or from 1e-9 to 1e15"
    return _bad(number, f"{field}.{arm}", value, expected)


def _number(value: Any) -> bool:
    kind = type(value)
    return kind is int or (kind is float and math.isfinite(value))


def _bad(number: int, field: str, value: Any, expected: str) -> NoReturn:
    try:
        shown = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        shown = "something nested too deeply"
    shown, field = (
        text if len(text) <= _SHOWN else text[:_SHOWN] + "..." for text in (shown, field)
    )
    text = f"line {number}: {field}: got {shown}, expected {expected}"
    raise CommandError(ExitCode.BAD_INPUT, text.encode(errors="backslashreplace").decode())
