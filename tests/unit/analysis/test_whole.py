"""Partial, doubled or foreign data is never counted: what a reading lacks, where absent is 0."""

from __future__ import annotations

import json
import math
from datetime import timedelta

import pytest

from analysis.evalues import Tally
from analysis.intervals import CounterReader, GaugeReader, Interval, Timing
from analysis.judge import Judge
from analysis.whole import Limits
from schemas.judging import (
    Direction,
    GaugeMetric,
    HistogramMetric,
    JudgeSpec,
    MetricSpec,
    RatioMetric,
    ThresholdMetric,
)
from schemas.reading import ArmReading, Fault, Gap, Series
from schemas.verdict import Verdict, VerdictKind
from tests.unit.analysis.readings import START, at, both, snapshot

ONE_NAME = RatioMetric(name="errors", bad='r{code=~"5.."}', total="r")
TWO_NAMES = RatioMetric(name="errors", bad="failed", total="r")
SAID = RatioMetric(name="errors", bad="failed", total="r", shown_by='r{code=~".+"}')
STABLE = "s"


def series(value: float, **labels: str) -> Series:
    return Series(labels=labels, value=value)


def timing(**limits: object) -> Timing:
    return Timing(15.0, 0.0, 10, Limits(**limits))  # type: ignore[arg-type]


def arm(partial: str = "", **parts: tuple[Series, ...]) -> ArmReading:
    return ArmReading(parts=parts, partial=partial)


def stable(number: int) -> ArmReading:
    good = series(1000.0 * number + 5000, pod=STABLE, code="200")
    bad = series(10.0 * number + 50, pod=STABLE, code="500")
    return arm(total=(good, bad), bad=(bad,), shown_by=(good, bad))


class Reader:
    """Takes readings of the canary 15 s apart, beside a stable version that is always whole."""

    def __init__(self, metric: RatioMetric, **limits: object) -> None:
        self.reader = CounterReader(metric, timing(**limits))
        self.number = 0

    def take(self, canary: ArmReading | Gap | None, stable_arm: ArmReading | None = None) -> Tally:
        reading = both(canary, stable_arm or stable(self.number))  # type: ignore[arg-type]
        found = self.reader.take(reading, 15.0 * self.number, 0)
        self.number += 1
        return found.streams[0][0] if found else Tally(0, 0, 0, 0)

    @property
    def fault(self) -> Fault | None:
        return self.reader.fault


def good(number: float, pod: str = "c", **labels: str) -> Series:
    return series(100 * number + 100, pod=pod, **(labels or {"code": "200"}))


# --- where an absent series of bad requests is 0 ---


def test_a_part_of_the_total_is_0_where_the_total_has_the_label_that_picks_it() -> None:
    reader = Reader(ONE_NAME)
    reader.take(arm(total=(good(0),), bad=()))
    assert reader.take(arm(total=(good(1),), bad=())) == Tally(0, 100, 10, 1010)


def test_it_is_not_0_where_the_label_that_picks_it_does_not_exist() -> None:
    reader = Reader(ONE_NAME)
    for number in range(3):
        assert reader.take(arm(total=(good(number, status="200"),), bad=())).n_c == 0
        assert reader.fault is Fault.UNSHOWN
    assert "the total has no label code" in reader.reader.note


def test_of_another_name_it_is_0_only_where_something_shows_that_it_can_be_there() -> None:
    bare = arm(total=(good(1),), bad=())
    silent = Reader(TWO_NAMES)
    assert silent.take(bare).n_c == 0
    assert (silent.fault, "shown_by" in silent.reader.note) == (Fault.UNSHOWN, True)
    said = Reader(SAID)
    said.take(arm(total=(good(0),), bad=(), shown_by=(good(0),)))
    assert said.take(arm(total=(good(1),), bad=(), shown_by=(good(1),))).n_c == 100
    assert said.take(arm(total=(good(2),), bad=(), shown_by=())).n_c == 0
    assert said.fault is Fault.UNSHOWN


def test_it_is_0_beside_another_instance_of_the_version_that_has_one() -> None:
    failed = series(3, pod="c1", code="500")
    reader = Reader(TWO_NAMES)
    reader.take(arm(total=(good(0, "c1"), good(0, "c2")), bad=(failed,)))
    assert reader.take(arm(total=(good(1, "c1"), good(1, "c2")), bad=(failed,))).n_c == 200
    # The same version had one: it stays known, also for an attempt that goes on.
    again = CounterReader(TWO_NAMES, timing())
    again.restore(json.loads(json.dumps(reader.reader.dump())))
    later = both(arm(total=(good(2, "c2"),), bad=()), stable(2))
    assert again.take(later, 30, 0) is not None


def test_an_instance_without_requests_has_nothing_to_show() -> None:
    reader = Reader(TWO_NAMES)
    reader.take(arm(total=(series(0, pod="c"),), bad=()))
    assert reader.fault is None


def test_it_is_never_0_in_an_answer_that_is_partial() -> None:
    for metric in (ONE_NAME, SAID):
        reader = Reader(metric)
        for number in range(3):
            half = arm("a store is away", total=(good(number),), bad=(), shown_by=(good(number),))
            assert reader.take(half).n_c == 0
            assert reader.fault is Fault.PARTIAL
    bad = series(1, pod="c", code="500")
    whole = Reader(ONE_NAME)
    whole.take(arm("a store is away", total=(good(0), bad), bad=(bad,)))
    assert whole.take(arm("a store is away", total=(good(1), bad), bad=(bad,))).n_c == 100


def test_good_ones_that_are_counted_are_held_to_the_same() -> None:
    metric = RatioMetric(
        name="ok", bad='r{status="ok"}', total="r", direction=Direction.LOWER_IS_BAD
    )
    reader = Reader(metric)
    assert reader.take(arm(total=(good(1, code="500"),), bad=())).n_c == 0
    assert reader.fault is Fault.UNSHOWN


def test_series_that_are_gone_while_their_instance_goes_on_are_missed() -> None:
    bad = series(30, pod="c", code="500")
    reader = Reader(ONE_NAME)
    reader.take(arm(total=(good(0), bad), bad=(bad,)))
    for number in range(1, 4):
        assert reader.take(arm(total=(good(number),), bad=())).n_c == 0
        assert reader.fault is Fault.VANISHED
    back = series(90, pod="c", code="500")
    assert reader.take(arm(total=(good(4), back), bad=(back,))) == Tally(60, 460, 40, 4040)


def test_a_restart_takes_its_series_along() -> None:
    bad = series(30, pod="c", code="500")
    reader = Reader(ONE_NAME)
    reader.take(arm(total=(good(5), bad), bad=(bad,)))
    assert reader.take(arm(total=(good(0),), bad=())).n_c == 100
    assert reader.fault is None


def test_what_is_gone_for_good_is_not_missed_for_ever() -> None:
    bad = series(30, pod="c", code="500")
    reader = Reader(ONE_NAME)
    reader.take(arm(total=(good(0), bad), bad=(bad,)))
    taken = [reader.take(arm(total=(good(n),), bad=())).n_c for n in range(1, 50)]
    assert taken[:40] == [0.0] * 40
    assert taken[-1] > 0


def test_what_is_gone_for_good_is_0_only_where_the_answer_shows_it() -> None:
    """Counters of another name, of one pod: nothing says whether the store or the pod lacks it."""
    for metric, counted in ((TWO_NAMES, False), (SAID, True)):
        reader = Reader(metric)
        reader.take(arm(total=(good(0),), bad=(series(30, pod="c"),), shown_by=(good(0),)))
        taken = [
            reader.take(arm(total=(good(n),), bad=(), shown_by=(good(n),))).n_c
            for n in range(1, 60)
        ]
        assert any(taken) is counted
        assert reader.fault is (None if counted else Fault.UNSHOWN)
        back = series(900, pod="c")
        assert reader.take(arm(total=(good(60),), bad=(back,), shown_by=(good(60),))).n_c > 0


# --- the same thing twice ---


def pair(*labels: dict[str, str], code: str = "200", n: float = 0, lag: float = 0) -> list[Series]:
    return [
        series(100 * n + 500 - lag * index, pod="c", code=code, **more)
        for index, more in enumerate(labels)
    ]


TWICE = {
    "a pair of Prometheus servers": ({"prometheus_replica": "a"}, {"prometheus_replica": "b"}),
    "of another name": ({"__replica__": "0"}, {"__replica__": "1"}),
    "two jobs": ({"job": "pods", "instance": "x:80"}, {"job": "services", "instance": "x:80"}),
    "a pod monitor and a service monitor": (
        {"job": "shop/checkout", "instance": "x:80", "endpoint": "http", "container": "app"},
        {"job": "checkout", "instance": "x:80", "endpoint": "web", "service": "checkout"},
    ),
    "annotations and a service monitor": (
        {"job": "kubernetes-pods", "instance": "x:80", "kubernetes_pod_name": "c", "app": "shop"},
        {"job": "checkout", "instance": "x:80", "namespace": "shop", "service": "checkout"},
    ),
    "a job that says more": (
        {"job": "static", "instance": "x:80"},
        {"job": "discovered", "instance": "x:80", "zone": "b"},
    ),
    "nothing": ({}, {}),
    "three": ({"replica": "a"}, {"replica": "b"}, {"replica": "c"}),
}


@pytest.mark.parametrize("name", TWICE)
def test_what_is_scraped_twice_is_refused_and_named(name: str) -> None:
    reader = Reader(ONE_NAME)
    for number in range(3):
        found = tuple(pair(*TWICE[name], n=number, lag=3))
        assert reader.take(arm(total=found, bad=())).n_c == 0
        assert reader.fault is Fault.DUPLICATE
    label = next(iter(TWICE[name][0]), "equal labels")
    assert label in reader.reader.note


@pytest.mark.parametrize(
    "labels",
    [
        ({"instance": "x:80"}, {"instance": "y:80"}),
        ({"method": "GET"}, {"method": "POST"}),
        ({"job": "a", "instance": "x:80"}, {"job": "b", "instance": "y:80"}),
        ({"service": "a", "instance": "x:80"}, {"service": "b", "instance": "x:80"}),
        ({"replica": "1", "instance": "x:80"}, {"replica": "2", "instance": "y:80"}),
        ({"replicaset": "c-1", "instance": "x:80"}, {"replicaset": "c-2", "instance": "x:80"}),
        ({"job": "a", "instance": "x:80", "path": "/"}, {"job": "b", "instance": "x:90"}),
        ({"job": "a", "instance": "node1", "app": "a"}, {"job": "b", "instance": "node1"}),
        (
            {"job": "a", "instance": "x:80", "handler": "a", "zone": "b"},
            {"job": "b", "instance": "x:80", "handler": "b"},
        ),
    ],
)
def test_what_differs_in_itself_is_counted(labels: tuple[dict[str, str], ...]) -> None:
    reader = Reader(ONE_NAME)
    for number in (0, 1):
        one, two = pair(*labels, n=number)
        two = two.model_copy(update={"value": two.value / 5})
        tally = reader.take(arm(total=(one, two), bad=()))
    assert tally.n_c == pytest.approx(120)
    assert reader.fault is None


def test_nothing_is_a_copy_where_the_catalog_says_that_there_are_none() -> None:
    reader = Reader(ONE_NAME, replica_labels=())
    for number in (0, 1):
        found = tuple(pair({"replica": "1"}, {"replica": "2"}, n=number))
        tally = reader.take(arm(total=found, bad=()))
    assert tally.n_c == 200


def replicas(number: float, *names: str) -> ArmReading:
    """A pair that scrapes at other times: the second lags behind by 40 requests and 4 errors."""
    labels = [{"prometheus_replica": name} for name in names]
    lags = {"a": 0, "b": 1}
    total, bad = [], []
    for name, more in zip(names, labels, strict=True):
        step = number - 0.4 * lags[name]
        total.append(series(100 * step + 500, pod="c", code="200", **more))
        bad.append(series(10 * step + 50, pod="c", code="500", **more))
    return arm(total=(*total, *bad), bad=tuple(bad))


def test_of_replicas_that_are_named_one_counts_and_always_the_same() -> None:
    reader = Reader(ONE_NAME, replica_labels=("prometheus_replica",))
    reader.take(replicas(0, "b", "a"))
    taken = [reader.take(replicas(n, *order)) for n, order in ((1, "ab"), (2, "ba"), (3, "ab"))]
    assert [(one.bad_c, one.n_c) for one in taken] == [(10, 110)] * 3


def test_when_a_replica_goes_away_nothing_is_counted_twice() -> None:
    reader = Reader(ONE_NAME, replica_labels=("prometheus_replica",))
    orders = ["ab", "ab", "b", "b", "ab", "ab", "a", "ab"]
    taken = [reader.take(replicas(n, *order)).n_c for n, order in enumerate(orders)]
    assert taken == [0, 110, 0, 110, 110, 110, 0, 110]
    kept = CounterReader(ONE_NAME, timing(replica_labels=("prometheus_replica",)))
    kept.restore(json.loads(json.dumps(reader.reader.dump())))
    found = kept.take(both(replicas(8, "b", "a"), stable(8)), 120, 0)
    assert found is not None
    assert found.streams[0][0].n_c == 110


def halves(number: int, label: str, second: float = 1.0, pod: str = "c") -> ArmReading:
    total = [
        series((100 * number + 5000) * times, pod=pod, code=code, **{label: value})
        for value, times in (("1", 1.0), ("2", second))
        for code in ("200", "302", "404")
    ]
    return arm(total=tuple(total), bad=())


@pytest.mark.parametrize("label", ["ha", "cluster"])
def test_what_only_looks_doubled_is_counted_once_and_said(label: str) -> None:
    reader = Reader(ONE_NAME)
    reader.take(halves(0, label))
    assert reader.take(halves(1, label)).n_c == 300
    assert f"by the label {label} (1, 2)" in reader.reader.note
    assert reader.fault is None
    other = Reader(ONE_NAME)
    other.take(halves(0, label, 0.7))
    assert other.take(halves(1, label, 0.7)).n_c == pytest.approx(510)
    assert other.reader.note == ""


@pytest.mark.parametrize("label", ["instance", "code", "path"])
def test_instances_that_take_turns_are_two_and_so_are_paths(label: str) -> None:
    reader = Reader(RatioMetric(name="errors", bad='r{reason="bad"}', total="r", shown_by="r"))
    for number in (0, 1):
        total = [series(100 * number + 5000, pod="c", **{label: value}) for value in "12"]
        tally = reader.take(arm(total=tuple(total), bad=(), shown_by=tuple(total)))
    assert tally.n_c == 200
    assert reader.reader.note == ""


def test_without_a_target_only_what_is_equal_is_alike() -> None:
    for lag, expected in ((0, 100), (1, 200)):
        reader = Reader(ONE_NAME)
        for number in (0, 1):
            total = [
                series(100 * number + 5000 - lag * index, code="200", zone=zone)
                for index, zone in enumerate("ab")
            ]
            tally = reader.take(arm(total=tuple(total), bad=()))
        assert tally.n_c == expected


def test_pods_that_take_turns_are_two() -> None:
    reader = Reader(ONE_NAME)
    for number in (0, 1):
        pods = [*halves(number, "v", pod="c1").parts["total"]]
        pods = [one for one in pods if one.labels["v"] == "1"]
        twin = [series(one.value, **{**one.labels, "pod": "c2"}) for one in pods]
        tally = reader.take(arm(total=(*pods, *twin), bad=()))
    assert tally.n_c == 600


# --- values that are none, and too many of them ---


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("part", ["total", "bad"])
def test_a_count_that_is_none_is_no_evidence(part: str, value: float) -> None:
    reader = Reader(ONE_NAME)
    reader.take(arm(total=(good(0),), bad=()))
    odd = series(value, pod="c", code="500")
    parts = {"total": (good(1),), "bad": (), part: (good(1), odd)}
    assert reader.take(ArmReading(parts=parts)).n_c == 0
    assert reader.fault is Fault.NOT_A_NUMBER
    assert "NaN" in reader.reader.note
    assert reader.take(arm(total=(good(2),), bad=())).n_c == 200


def test_series_without_end_are_not_remembered() -> None:
    reader = Reader(ONE_NAME, most_series=100)
    many = tuple(good(1, f"c{n}") for n in range(101))
    assert reader.take(arm(total=many, bad=())).n_c == 0
    assert (reader.fault, len(json.dumps(reader.reader.dump())) < 1000) == (Fault.TOO_LARGE, True)


def test_an_instance_without_a_bucket_is_not_taken_for_slow() -> None:
    reader = CounterReader(HistogramMetric(name="latency", buckets="b", edges=(0.1,)), timing())
    whole = tuple(series(90, pod=p, le="0.1") for p in "ab")
    totals = tuple(series(100, pod=p, le="+Inf") for p in "ab")
    stable_arm = arm(buckets=(*whole, *totals))
    reader.take(both(stable_arm, stable_arm), 0, 0)
    assert reader.take(both(arm(buckets=(whole[0], *totals)), stable_arm), 15, 0) is None
    assert reader.fault is Fault.EMPTY
    assert "no bucket at 0.1 s on 1 instances of canary" in reader.note


def test_gauges_are_held_to_the_same() -> None:
    reader = GaugeReader(GaugeMetric(name="memory"))
    twice = arm(value=tuple(pair(*TWICE["two jobs"])))
    one = arm(value=(series(5, pod="c"),))
    none = arm(value=(series(math.nan, pod="c"),))
    for canary, fault in ((twice, Fault.DUPLICATE), (none, Fault.NOT_A_NUMBER)):
        assert reader.take(both(canary, one), 0, 0) is None
        assert reader.fault is fault
    named = GaugeReader(GaugeMetric(name="memory"), Limits(replica_labels=("job",)))
    named.take(both(twice, one), 0, 0)
    assert named.take(both(twice, one), 15, 0) == Interval(0, 15, ((Tally(500, 1, 5, 1),),))


# --- what a person reads ---

WORDS = {
    Fault.TIMED_OUT: "timed out",
    Fault.UNREACHABLE: "can't be reached",
    Fault.UNAVAILABLE: "can't answer now",
    Fault.DENIED: "denies",
    Fault.REDIRECTED: "redirected",
    Fault.WEB_PAGE: "web page",
    Fault.MALFORMED: "malformed",
    Fault.WRONG_TYPE: "wrong type",
    Fault.TOO_LARGE: "too large",
    Fault.PARTIAL: "partial",
}


def verdict(metric: MetricSpec, canary: ArmReading | Gap) -> Verdict:
    judge = Judge(JudgeSpec(), [metric], subject="payments 2.0.1")
    for number in range(4):
        judge.observe(snapshot(15 * number, {"errors": both(canary, stable(number))}))  # type: ignore[arg-type]
    judge = Judge.load(JudgeSpec(), [metric], json.loads(json.dumps(judge.dump())))
    zero = timedelta(0)
    return judge.verdict(at(60), started_at=START, bake_min=zero, bake_max=zero)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize(
    "metric", [ONE_NAME, ThresholdMetric(name="errors", value="v", limit=1)], ids=["ratio", "limit"]
)
def test_each_fault_has_its_words_and_its_kind(fault: Fault, metric: MetricSpec) -> None:
    told = verdict(metric, Gap(fault=fault, detail="http://p: seen"))
    assert told.kind is VerdictKind.INCONCLUSIVE
    assert "errors: the query of canary failed" in told.sentence
    assert WORDS.get(fault, "") in told.sentence
    assert "http://p: seen" in told.sentence
    assert told.metrics[0].fault is fault


def test_nan_is_not_called_no_requests() -> None:
    nan = arm(total=(series(math.nan, pod="c", code="200"),), bad=())
    told = verdict(ONE_NAME, nan)
    assert "1 of 1 values of canary are NaN" in told.sentence
    assert told.metrics[0].fault is Fault.NOT_A_NUMBER


def test_a_limit_is_not_held_by_values_that_are_none() -> None:
    metric = ThresholdMetric(name="errors", value="v", limit=1)
    half = arm(value=(series(0.5, pod="a"), series(math.nan, pod="b")))
    assert verdict(metric, half).metrics[0].fault is Fault.NOT_A_NUMBER
    over = arm(value=(series(math.inf, pod="a"), series(math.nan, pod="b")))
    assert verdict(metric, over).kind is VerdictKind.FAIL
