"""Intervals: when one counts, and what is in it."""

from __future__ import annotations

import pytest

from analysis.evalues import Tally
from analysis.intervals import CounterReader, GaugeReader, Interval, Timing
from schemas.judging import Direction, GaugeMetric, HistogramMetric, RatioMetric
from schemas.reading import ArmReading
from tests.unit.analysis.readings import Pod, arm, both, series

TIMING = Timing(interval=15.0, warmup=0.0, max_groups=10)


class Scene:
    """One canary pod and two stable ones, read by one reader."""

    def __init__(self, reader: CounterReader) -> None:
        self.reader = reader
        self.canary = Pod("c")
        self.stable = [Pod("s1"), Pod("s2")]

    def read(self, time: float, not_before: float = 0.0) -> Interval | None:
        reading = both(arm(self.canary), arm(*self.stable))
        return self.reader.take(reading, time, not_before)

    def serve(self, canary: tuple[float, float], stable: tuple[float, float]) -> None:
        self.canary.serve(*canary)
        for pod in self.stable:
            pod.serve(stable[0] / 2, stable[1] / 2)


@pytest.fixture
def scene() -> Scene:
    return Scene(CounterReader(RatioMetric(name="errors"), TIMING))


def test_an_interval_has_what_happened_in_it(scene: Scene) -> None:
    assert scene.read(0) is None
    scene.serve((50, 2), (950, 4))
    assert scene.read(15) == Interval(0, 15, ((Tally(2, 50, 4, 950),),))
    assert scene.reader.note == ""


def test_the_interval_of_a_weight_change_is_left_out(scene: Scene) -> None:
    scene.read(0)
    scene.serve((50, 50), (950, 4))
    assert scene.read(15, not_before=10) is None
    scene.serve((60, 1), (900, 2))
    assert scene.read(30, not_before=10) == Interval(15, 30, ((Tally(1, 60, 2, 900),),))


def test_a_failed_query_delays_and_loses_nothing(scene: Scene) -> None:
    scene.read(0)
    scene.serve((50, 2), (950, 4))
    assert scene.reader.take(both(None, arm(*scene.stable)), 15, 0) is None
    assert "canary failed" in scene.reader.note
    scene.serve((50, 1), (950, 0))
    assert scene.read(30) == Interval(0, 30, ((Tally(3, 100, 4, 1900),),))


def test_a_late_scrape_of_one_arm_delays_until_both_are_complete(scene: Scene) -> None:
    scene.read(0)
    for pod in scene.stable:
        pod.serve(400, 3)
    assert scene.read(15) is None
    scene.canary.serve(40, 1)
    assert scene.read(20) == Interval(0, 20, ((Tally(1, 40, 6, 800),),))


def test_an_arm_that_stays_silent_starts_the_count_afresh(scene: Scene) -> None:
    scene.read(0)
    for look in range(1, 5):
        for pod in scene.stable:
            pod.serve(400, 40)
        assert scene.read(15 * look) is None
    scene.serve((50, 1), (950, 0))
    assert scene.read(75) == Interval(60, 75, ((Tally(1, 50, 0, 950),),))


def test_an_arm_without_series_is_no_data(scene: Scene) -> None:
    assert scene.reader.take(both(ArmReading(parts={}), arm(*scene.stable)), 0, 0) is None
    assert scene.reader.note == "no series of canary"


def test_pods_are_grouped_where_the_canary_has_a_large_share() -> None:
    reader = CounterReader(RatioMetric(name="errors"), TIMING)
    canary, stable = [Pod("c1"), Pod("c2")], [Pod("s1"), Pod("s2"), Pod("s3")]
    reader.take(both(arm(*canary), arm(*stable)), 0, 0)
    for pod in (*canary, *stable):
        pod.serve(100, 1 if pod.name == "c1" else 0)
    interval = reader.take(both(arm(*canary), arm(*stable)), 15, 0)
    assert interval is not None
    assert interval.streams == ((Tally(1, 100, 0, 200), Tally(0, 100, 0, 100)),)


def test_good_requests_can_be_counted_instead_of_bad_ones() -> None:
    metric = RatioMetric(name="success", direction=Direction.LOWER_IS_BAD)
    scene = Scene(CounterReader(metric, TIMING))
    scene.serve((1, 1), (2, 2))
    scene.read(0)
    scene.serve((50, 48), (950, 950))
    assert scene.read(15) == Interval(0, 15, ((Tally(2, 50, 0, 950),),))


def test_a_histogram_counts_what_is_slower_than_each_edge() -> None:
    scene = Scene(CounterReader(HistogramMetric(name="latency", edges=(0.1, 1.0)), TIMING))
    scene.read(0)
    scene.canary.serve(50, slower=7)
    scene.canary.slow[1.0] -= 5
    scene.stable[0].serve(950, slower=10)
    assert scene.read(15) == Interval(0, 15, ((Tally(7, 50, 10, 950),), (Tally(2, 50, 10, 950),)))


def test_edges_are_chosen_near_the_quantiles_of_stable() -> None:
    scene = Scene(CounterReader(HistogramMetric(name="latency"), TIMING))
    for pod in scene.stable:
        pod.slow.update({0.1: 600.0, 0.5: 50.0, 1.0: 0.0})
    scene.read(0)
    assert scene.reader.edges == (0.5, 1.0)


def test_edges_in_milliseconds_are_read_as_seconds() -> None:
    metric = HistogramMetric(name="latency", unit="ms", edges=(0.25,))
    buckets = (series(10, le="250"), series(12, le="+Inf"))
    more = (series(15, le="250"), series(20, le="+Inf"))
    reader = CounterReader(metric, TIMING)
    for time, rows in ((0.0, buckets), (15.0, more)):
        reading = ArmReading(parts={"buckets": rows})
        interval = reader.take(both(reading, reading), time, 0)
    assert interval == Interval(0, 15, ((Tally(3, 8, 3, 8),),))


def test_an_edge_that_is_no_bucket_is_said_and_never_guessed() -> None:
    scene = Scene(CounterReader(HistogramMetric(name="latency", edges=(0.3,)), TIMING))
    assert scene.read(0) is None
    assert scene.reader.note == "no bucket at 0.3 s on canary"


def test_a_limit_needs_no_stable_series() -> None:
    reader = CounterReader(RatioMetric(name="errors", slo=0.01), TIMING)
    pod = Pod("c")
    reader.take(both(arm(pod), None), 0, 0)
    pod.serve(100, 3)
    assert reader.take(both(arm(pod), None), 15, 0) == Interval(0, 15, ((Tally(3, 100, 0, 0),),))


def test_a_gauge_is_summed_beside_its_instances() -> None:
    reader = GaugeReader(GaugeMetric(name="memory"))
    canary = ArmReading(parts={"value": (series(3, pod="a"), series(float("nan"), pod="b"))})
    stable = ArmReading(parts={"value": (series(1, pod="c"), series(2, pod="d"))})
    assert reader.take(both(canary, stable), 0, 0) is None
    assert reader.take(both(canary, stable), 15, 0) == Interval(0, 15, ((Tally(3, 1, 3, 2),),))
    assert reader.take(both(ArmReading(parts={"value": ()}), stable), 30, 0) is None
