"""The judge: verdicts, and that its evidence survives."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.evalues import Tally
from analysis.judge import Judge, counted_metrics
from schemas.judging import (
    GaugeMetric,
    HistogramMetric,
    JudgeSpec,
    KayentaSettings,
    Method,
    MetricSpec,
    RatioMetric,
    ThresholdMetric,
    ThresholdSettings,
)
from schemas.reading import Snapshot
from schemas.verdict import Reason, Verdict, VerdictKind
from tests.unit.analysis.readings import START, Pod, arm, at, both, only, snapshot

ERRORS = RatioMetric(name="errors")
MINUTE = timedelta(minutes=1)


def count(judge: Judge, look: int, **tallies: Tally) -> None:
    """One interval of 15 s, counted already."""
    begin = START.timestamp() + 15 * look
    judge.observe_counts(tallies, begin, begin + 15)


def verdict(judge: Judge, seconds: float, least: float = 0, most: float = 600) -> Verdict:
    return judge.verdict(
        at(seconds),
        started_at=START,
        bake_min=timedelta(seconds=least),
        bake_max=timedelta(seconds=most),
    )


class Shop:
    """One canary and three stable pods that serve every 15 s."""

    def __init__(self, *, bad: float = 0.0, stable_bad: float = 0.0, slower: float = 0.0) -> None:
        self.canary, self.stable = Pod("c"), [Pod("s1"), Pod("s2"), Pod("s3")]
        self.bad, self.stable_bad, self.slower = bad, stable_bad, slower

    def snapshot(self, look: int, *names: str) -> Snapshot:
        parts = {
            "errors": ("bad", "total"),
            "latency": ("buckets",),
            "memory": ("value",),
            "limit": ("value",),
        }
        if look:
            self.canary.serve(750, self.bad, self.slower)
            for pod in self.stable:
                pod.serve(4750, self.stable_bad)
        canary, stable = arm(self.canary), arm(*self.stable)
        return snapshot(
            15 * look,
            {n: both(only(canary, *parts[n]), only(stable, *parts[n])) for n in names},
        )

    def run(self, judge: Judge, looks: int, *names: str) -> None:
        for look in range(looks + 1):
            judge.observe(self.snapshot(look, *names))


def test_a_worse_canary_fails_at_once_and_says_why() -> None:
    judge = Judge(JudgeSpec(), [ERRORS], subject="payments 2.0.1")
    Shop(bad=4, stable_bad=5).run(judge, 12, "errors")
    told = verdict(judge, 180, least=3600)
    assert (told.kind, told.reason, told.final) == (
        VerdictKind.FAIL,
        Reason.WORSE_THAN_STABLE,
        True,
    )
    assert told.sentence.startswith(
        "payments 2.0.1 fails 0.53 % of requests against 0.11 % on stable "
        "(9,000 and 171,000 requests in 3 min); the odds against chance passed 20:1 at 12:0"
    )
    assert told.sentence.endswith(
        ", after 3 intervals with bad requests (at 5 % of the requests one burst on the canary "
        "alone is 20:1)"
    )
    (numbers,) = told.metrics
    assert (numbers.canary.bad, numbers.canary.total) == (48, 9000)
    assert numbers.e_value >= numbers.threshold == pytest.approx(20)
    assert numbers.passed_at == told.decided_at


def test_a_good_canary_passes_when_the_bound_is_low_enough_but_not_before_the_bake() -> None:
    judge = Judge(JudgeSpec(), [ERRORS])
    Shop(bad=0, stable_bad=1).run(judge, 20, "errors")
    early, ripe = verdict(judge, 300, least=301), verdict(judge, 300, least=300)
    assert (early.kind, early.reason, early.final) == (
        VerdictKind.INCONCLUSIVE,
        Reason.COLLECTING,
        False,
    )
    assert (ripe.kind, ripe.reason) == (VerdictKind.PASS, Reason.GOOD_ENOUGH)
    assert "0.5 % is accepted" in ripe.sentence


def test_too_little_evidence_is_inconclusive_at_the_end_and_never_a_pass() -> None:
    judge = Judge(JudgeSpec(tolerance=0.0001), [ERRORS])
    Shop().run(judge, 10, "errors")
    told = verdict(judge, 600)
    assert (told.kind, told.reason, told.final) == (
        VerdictKind.INCONCLUSIVE,
        Reason.NOT_ENOUGH_EVIDENCE,
        True,
    )


def test_no_data_is_inconclusive_and_names_what_is_missing() -> None:
    judge = Judge(JudgeSpec(), [ERRORS])
    for look in range(5):
        judge.observe(snapshot(15 * look))
    told = verdict(judge, 600)
    assert (told.kind, told.reason) == (VerdictKind.INCONCLUSIVE, Reason.NO_DATA)
    assert "errors: the query of canary failed" in told.sentence


def test_nothing_passes_while_the_source_is_silent_however_good_it_was_before() -> None:
    judge = Judge(JudgeSpec(), [ERRORS])
    Shop(bad=0, stable_bad=1).run(judge, 20, "errors")
    spoken, silent = verdict(judge, 345, least=300), verdict(judge, 346, least=300)
    assert (spoken.kind, spoken.reason) == (VerdictKind.PASS, Reason.GOOD_ENOUGH)
    assert (silent.kind, silent.final) == (VerdictKind.INCONCLUSIVE, False)
    judge = Judge.load(JudgeSpec(), [ERRORS], judge.dump())
    over = verdict(judge, 600, least=300)
    assert (over.kind, over.reason) == (VerdictKind.INCONCLUSIVE, Reason.NO_DATA)
    for seconds in (600, 615):
        judge.observe(snapshot(seconds, {"errors": both(None, None)}))
    assert verdict(judge, 615, least=300).kind is VerdictKind.INCONCLUSIVE


def test_a_step_needs_data_of_its_own() -> None:
    judge = Judge(JudgeSpec(), [ERRORS])
    Shop().run(judge, 20, "errors")
    later = judge.verdict(at(900), started_at=at(600), bake_min=timedelta(0), bake_max=5 * MINUTE)
    assert (later.kind, later.reason) == (VerdictKind.INCONCLUSIVE, Reason.NO_DATA)


def test_low_traffic_never_fails() -> None:
    judge = Judge(JudgeSpec(), counted_metrics(["errors"]))
    for look in range(240):
        count(judge, look, errors=Tally(0, 1, 0, 29))
    assert judge.failure is None
    assert verdict(judge, 3600, most=3600).reason is Reason.NOT_ENOUGH_EVIDENCE


def test_without_metrics_time_alone_decides() -> None:
    judge = Judge(JudgeSpec(), [])
    assert verdict(judge, 599).kind is VerdictKind.INCONCLUSIVE
    told = verdict(judge, 600)
    assert (told.kind, told.reason) == (VerdictKind.PASS, Reason.TIME_ELAPSED)


def test_a_dry_run_metric_is_shown_and_not_acted_upon() -> None:
    dry = RatioMetric(name="errors", dry_run=True)
    judge = Judge(JudgeSpec(), [dry])
    Shop(bad=100).run(judge, 12, "errors")
    told = verdict(judge, 600)
    assert told.kind is VerdictKind.PASS
    assert told.metrics[0].e_value > 20
    assert told.metrics[0].passed_at is not None


def test_a_limit_fails_where_stable_is_as_bad() -> None:
    judge = Judge(JudgeSpec(), [RatioMetric(name="errors", slo=0.01)])
    Shop(bad=60, stable_bad=380).run(judge, 8, "errors")
    told = verdict(judge, 120)
    assert (told.kind, told.reason) == (VerdictKind.FAIL, Reason.OVER_LIMIT)
    assert "the limit is 1 %" in told.sentence


def test_a_slower_canary_fails_on_its_histogram() -> None:
    judge = Judge(JudgeSpec(), [HistogramMetric(name="latency", edges=(0.5,))])
    shop = Shop(slower=200)
    for look in range(12):
        judge.observe(shop.snapshot(look, "latency"))
        for pod in shop.stable:
            pod.slow = {edge: slow + 240 for edge, slow in pod.slow.items()}
    told = verdict(judge, 180)
    assert told.kind is VerdictKind.FAIL
    assert "slower than 500 ms against 5" in told.sentence


def test_a_gauge_fails_when_instances_use_much_more() -> None:
    judge = Judge(JudgeSpec(), [GaugeMetric(name="memory")])
    for look in range(40):
        count(judge, look, memory=Tally(200, 1, 300, 3))
    assert judge.failure is not None
    assert "memory of 200 per instance against 100" in verdict(judge, 600).sentence


def test_a_value_beyond_its_limit_fails_after_so_many_checks() -> None:
    metric = ThresholdMetric(name="limit", limit=99, checks=3)
    judge = Judge(JudgeSpec(), [metric])
    shop = Shop()
    for look in range(1, 3):
        judge.observe(shop.snapshot(look, "limit"))
        assert judge.failure is None
    judge.observe(shop.snapshot(3, "limit"))
    assert verdict(judge, 45).sentence == (
        "limit of the canary is 100; the limit is 99, passed at 12:00:45"
    )


def test_all_metrics_share_one_alpha() -> None:
    metrics = [RatioMetric(name=name) for name in ("errors", "b", "c", "d")]
    judge = Judge(JudgeSpec(), metrics)
    alone = Judge(JudgeSpec(), metrics[:1])
    for look in range(4):
        tallies = {m.name: Tally(0, 750, 3, 14250) for m in metrics}
        tallies["errors"] = Tally(5, 750, 10, 14250)
        count(judge, look, **tallies)
        count(alone, look, errors=tallies["errors"])
    assert judge.e_value < alone.e_value / 2


def test_the_same_snapshot_counts_once() -> None:
    once, twice = Judge(JudgeSpec(), [ERRORS]), Judge(JudgeSpec(), [ERRORS])
    shop = Shop(bad=2, stable_bad=4)
    for look in range(6):
        one = shop.snapshot(look, "errors")
        once.observe(one)
        twice.observe(one)
        twice.observe(one)
    assert once.dump() == twice.dump()


@pytest.mark.parametrize(
    ("settings_", "bad", "kind"),
    [
        (ThresholdSettings(max_error_ratio=0.01), 5, VerdictKind.PASS),
        (ThresholdSettings(max_error_ratio=0.01), 15, VerdictKind.FAIL),
        (ThresholdSettings(max_error_ratio=None, max_times_stable=2), 5, VerdictKind.FAIL),
        (ThresholdSettings(max_error_ratio=0.01, checks=99), 15, VerdictKind.INCONCLUSIVE),
    ],
)
def test_fixed_limits(settings_: ThresholdSettings, bad: float, kind: VerdictKind) -> None:
    judge = Judge(JudgeSpec(method=Method.THRESHOLD, threshold=settings_), [ERRORS])
    Shop(bad=bad, stable_bad=4).run(judge, 20, "errors")
    assert verdict(judge, 300, most=301).kind in {VerdictKind.INCONCLUSIVE, VerdictKind.FAIL}
    assert verdict(judge, 301, most=301).kind is kind


def test_a_failed_check_with_too_few_checks_to_fail_is_never_a_pass() -> None:
    limits = ThresholdSettings(window=timedelta(minutes=1), checks=5)
    judge = Judge(JudgeSpec(method=Method.THRESHOLD, threshold=limits), [ERRORS])
    judge.observe_counts({"errors": Tally(25, 100, 0, 300)}, 0, 15)
    verdict = judge.verdict(
        datetime.fromtimestamp(15, UTC),
        started_at=datetime.fromtimestamp(0, UTC),
        bake_min=timedelta(seconds=15),
        bake_max=timedelta(seconds=15),
    )
    assert (verdict.kind, verdict.reason) == (
        VerdictKind.INCONCLUSIVE,
        Reason.NOT_ENOUGH_EVIDENCE,
    )


def test_kayenta_fails_a_worse_canary_and_passes_an_equal_one_at_the_end() -> None:
    spec = JudgeSpec(method=Method.KAYENTA, kayenta=KayentaSettings(step=timedelta(seconds=15)))
    verdicts = {}
    for bad in (6, 2):
        judge = Judge(spec, counted_metrics(["errors"]))
        for look in range(40):
            counts = Tally(bad + look % 3, 750, 38 + 19 * (look % 3), 14250)
            count(judge, look, errors=counts)
        verdicts[bad] = verdict(judge, 600).reason
    assert verdicts == {6: Reason.KAYENTA_SCORE, 2: Reason.WITHIN_LIMITS}


def test_a_small_step_tolerates_a_wider_bound() -> None:
    judge = Judge(JudgeSpec(tolerance=0.001), [ERRORS])
    Shop(stable_bad=1).run(judge, 20, "errors")

    def kind(exposure: float) -> VerdictKind:
        return judge.verdict(
            at(300), started_at=START, bake_min=MINUTE, bake_max=20 * MINUTE, exposure=exposure
        ).kind

    assert (kind(0.25), kind(1.0)) == (VerdictKind.PASS, VerdictKind.INCONCLUSIVE)


def test_a_pass_shows_the_tolerance_it_was_given_for_and_the_step() -> None:
    judge = Judge(JudgeSpec(), [ERRORS])
    for look in range(4):
        count(judge, look, errors=Tally(1, 750, 14, 14250))
    passed = judge.verdict(
        at(60), started_at=START, bake_min=MINUTE, bake_max=5 * MINUTE, exposure=0.25
    )
    (numbers,) = passed.metrics
    assert passed.kind is VerdictKind.PASS
    assert numbers.upper_bound is not None
    assert numbers.tolerance == pytest.approx(0.02)
    assert 0.005 < numbers.upper_bound <= 0.02
    assert "2 % is accepted for a next step of 25 %" in passed.sentence


def test_a_latency_may_be_as_much_worse_as_the_margin_says() -> None:
    upper, tolerances = [], []
    for margin in (1.0, 1.5):
        judge = Judge(JudgeSpec(margin=margin), [HistogramMetric(name="latency", edges=(0.5,))])
        for look in range(20):
            count(judge, look, latency=Tally(375, 750, 7125, 14250))
        (numbers,) = verdict(judge, 300).metrics
        upper.append(numbers.upper_bound)
        tolerances.append(numbers.tolerance)
    assert tolerances == pytest.approx([0.05, 0.25])
    assert upper[0] == upper[1]


def test_nothing_seen_is_not_good_enough() -> None:
    assert not Judge(JudgeSpec(), [GaugeMetric(name="memory")]).good_enough()
    assert not Judge(JudgeSpec(), []).good_enough()


def test_an_absolute_margin_excuses_that_much_more() -> None:
    strict, lenient = (
        Judge(JudgeSpec(margin=1.0, absolute_margin=delta), counted_metrics(["errors"]))
        for delta in (0.0, 0.01)
    )
    for look in range(20):
        for judge in (strict, lenient):
            count(judge, look, errors=Tally(5, 750, 10, 14250))
    assert strict.failure is not None
    assert lenient.failure is None
    assert lenient.e_value < 1.5


def test_unknown_metrics_and_states_are_errors() -> None:
    judge = Judge(JudgeSpec(), [ERRORS])
    with pytest.raises(ValueError, match="unknown metric other"):
        judge.observe(snapshot(0, {"other": both(None, None)}))
    with pytest.raises(ValueError, match="each name once"):
        Judge(JudgeSpec(), [ERRORS, ERRORS])
    with pytest.raises(ValueError, match="unknown metric oops"):
        Judge(JudgeSpec(kayenta=KayentaSettings(critical=frozenset({"oops"}))), [ERRORS])
    with pytest.raises(ValueError, match="expected 1, lr"):
        Judge.load(JudgeSpec(method=Method.LR), [ERRORS], judge.dump())
    with pytest.raises(ValueError, match="nothing kept for other"):
        Judge.load(JudgeSpec(), [RatioMetric(name="other")], judge.dump())


ALL: list[MetricSpec] = [
    ERRORS,
    HistogramMetric(name="latency"),
    GaugeMetric(name="memory"),
    ThresholdMetric(name="limit", limit=1000),
]
step = st.tuples(st.integers(0, 20), st.integers(0, 60), st.booleans(), st.integers(0, 200))


@settings(max_examples=60)
@given(st.lists(step, min_size=2, max_size=12), st.sampled_from(Method), st.data())
def test_a_judge_taken_up_anywhere_goes_on_the_same(
    steps: list[tuple[int, int, bool, int]], method: Method, data: st.DataObject
) -> None:
    spec = JudgeSpec(
        method=method,
        absolute_margin=0.001,
        kayenta=KayentaSettings(step=timedelta(seconds=15)),
    )
    whole = Judge(spec, ALL)
    broken = Judge(spec, ALL)
    stop = data.draw(st.integers(0, len(steps)))
    shop = Shop()
    for look, (bad, stable_bad, gap, slower) in enumerate(steps):
        shop.bad, shop.stable_bad, shop.slower = bad, stable_bad / 3, slower
        names = [] if gap else ["errors", "latency", "memory", "limit"]
        one = shop.snapshot(look, *names)
        if look == stop:
            state: dict[str, Any] = json.loads(json.dumps(broken.dump()))
            broken = Judge.load(spec, ALL, state)
        whole.observe(one)
        broken.observe(one)
    assert broken.dump() == whole.dump()
    assert verdict(broken, 600) == verdict(whole, 600)


def test_the_dump_fits_a_heartbeat() -> None:
    judge = Judge(JudgeSpec(), ALL)
    canary, stable = [Pod(f"10.0.0.{i}:9090") for i in range(5)], [Pod(f"s{i}") for i in range(45)]
    parts = {"errors": ("bad", "total"), "latency": ("buckets",), "memory": ("value",)}
    for look in range(40):
        for pod in (*canary, *stable):
            pod.serve(1e6 + look, 1e3, 1e4)
        one, two = arm(*canary), arm(*stable)
        readings = {name: both(only(one, *p), only(two, *p)) for name, p in parts.items()}
        judge.observe(snapshot(15 * look, readings))
    assert len(json.dumps(judge.dump())) < 32_000
