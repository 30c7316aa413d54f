"""`aviary replay`: past releases by another policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from analysis.evalues import Tally
from analysis.rejudging import Way, shared
from aviary.audit.past import Past
from aviary.audit.rejudge import Rejudged, rejudged
from aviary.cli import build_app
from schemas.catalog import Catalog
from schemas.measured import MEASURED_BYTES
from schemas.verdict import Source
from tests.hostile import TEXTS
from tests.unit.audit.chains import edited
from tests.unit.audit.past_releases import BEGAN, STEPS, Happened, catalog, document, happened

GOOD, BAD = (0.002, 0.002), (0.03, 0.002)
ONCE = {"steps": [1, 2], "bake": {"min": "1m", "max": "10m"}}
"""A strategy that risks less at first."""


@cache
def past_of(bad: bool, seed: int = 1) -> Happened:
    return happened(catalog(), BAD if bad else GOOD, seed=seed)


def again(records: Sequence[bytes], policy: Catalog) -> Rejudged:
    past = Past()
    for record in records:
        past.take(json.loads(record))
    ((found,),) = rejudged(past.since(None), policy)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bad", [False, True])
def test_the_policy_of_then_decides_as_it_did_then_and_costs_nothing(bad: bool, seed: int) -> None:
    happened_then = past_of(bad, seed)
    found = again(happened_then.records, catalog())
    assert found.outcome is not None
    assert found.outcome.way is (Way.BACK if happened_then.went_back else Way.THROUGH)
    assert not found.differs
    assert found.outcome.cost == 0
    assert found.outcome.requests > 0
    assert found.outcome.verdict is not None
    if happened_then.went_back:
        assert found.at == happened_then.last.at
        assert found.outcome.verdict.kind is happened_then.last.kind


ASKED = {"burst": "0s"}
"""Then the router is asked."""


@pytest.mark.parametrize("burst", ["0s", "1s"])
@pytest.mark.parametrize("rates", [(0.3, 0.002), (0.5, 0.01)])
def test_a_verdict_by_the_routers_own_counts_comes_out_again(
    rates: tuple[float, float], burst: str
) -> None:
    policy = catalog(judge={"burst": burst})
    then = happened(policy, rates, asked=True)
    assert then.last.decided_by is Source.ROUTER
    found = again(then.records, policy)
    assert found.outcome is not None
    assert found.outcome.verdict is not None
    assert not found.differs
    assert (found.outcome.way, found.outcome.cost) == (Way.BACK, 0)
    assert found.outcome.verdict.decided_by is Source.ROUTER
    assert found.outcome.verdict.decided_at == then.last.decided_at
    alone = again(then.records, catalog())
    assert alone.outcome is not None
    assert alone.outcome.verdict is not None
    assert alone.outcome.verdict.decided_by is None, "such a policy does not ask the router"


def test_a_verdict_after_more_readings_than_are_kept_is_the_same() -> None:
    """Older readings are added up: the verdict may be some readings earlier or later."""
    then = happened(catalog(judge=ASKED), (0.05, 0.01), asked=True)
    assert then.went_back
    found = again(then.records, catalog(judge=ASKED))
    assert found.outcome is not None
    assert found.outcome.way is Way.BACK


def test_a_good_canary_that_the_router_was_asked_about_goes_through_again() -> None:
    then = happened(catalog(judge=ASKED), GOOD, asked=True)
    found = again(then.records, catalog(judge=ASKED))
    assert not then.went_back
    assert found.outcome is not None
    assert (found.outcome.way, found.differs, found.outcome.cost) == (Way.THROUGH, False, 0)
    longest = max(len(record) for record in then.records)
    assert longest < 2 * MEASURED_BYTES


@pytest.mark.parametrize("column", ["at", "took", "bad_canary"])
def test_counts_of_a_router_that_can_not_be_are_not_read(column: str) -> None:
    then = happened(catalog(judge=ASKED), (0.3, 0.002), asked=True)
    past = Past()
    for record in then.records:
        told = json.loads(record)
        series = (told["data"].get("series") or {}).get("router")
        if series is not None:
            holds = series if column in series else series["metrics"]["errors"]["streams"][0]
            holds[column] = [-1, *holds[column][1:]]
        past.take(told)
    (release,) = past.since(None)
    assert release.unread == 1
    assert not release.services or not release.services["checkout"].measured


def test_a_judge_that_would_have_seen_it_later_costs_more_or_lets_it_through() -> None:
    found = again(past_of(bad=True).records, catalog(judge={"alpha": 1e-12}))
    assert found.differs
    assert found.outcome is not None
    assert found.outcome.way is Way.OPEN, "the record ends where it went back"


def test_a_sharper_judge_would_have_been_earlier_and_cheaper() -> None:
    slow = catalog(judge={"alpha": 1e-9})
    then = happened(slow, (0.006, 0.002), seed=3)
    assert then.went_back
    found = again(then.records, catalog(judge={"alpha": 0.05}))
    assert found.differs
    assert found.earlier > timedelta(0)
    assert found.outcome is not None
    assert found.outcome.cost < 0, "the requests after it would have been stable's"


def test_a_strategy_that_risks_less_fails_fewer_requests() -> None:
    found = again(past_of(bad=True).records, catalog(strategy=ONCE))
    assert found.outcome is not None
    assert found.outcome.cost < 0
    larger = again(past_of(bad=True).records, catalog(strategy={**STEPS, "steps": [50]}))
    assert larger.outcome is not None
    assert larger.outcome.cost > 0


def test_what_fails_by_another_metric_is_not_judged_by_this_one() -> None:
    metric = {"kind": "ratio", "name": "timeouts", "bad": "bad", "total": "total"}
    found = again(past_of(bad=True).records, catalog(metrics=[metric]))
    assert found.outcome is None
    assert not found.differs
    assert found.notes == [
        "timeouts: not counted then",
        "nothing was recorded that the catalog judges by",
    ]


def test_another_kind_of_metric_is_left_out() -> None:
    histogram = {"kind": "histogram", "name": "errors", "buckets": "b", "edges": [0.1]}
    found = again(past_of(bad=True).records, catalog(metrics=[histogram]))
    assert "errors: another kind of metric then" in found.notes


def test_a_ramp_is_not_simulated_but_judged() -> None:
    records = past_of(bad=True).records
    policy = catalog(strategy={"ramp": {"budget": 100}})
    found = again(records, policy)
    assert found.outcome is not None
    assert found.outcome.way is Way.BACK
    assert any("ramp is not simulated" in note for note in found.notes)


def test_counts_at_the_same_share_are_as_counted_and_others_keep_the_rates() -> None:
    tally = Tally(3, 100, 4, 900)
    rates = (0.03, 4 / 900)
    assert shared(tally, 0.1, 0.1, rates) is tally
    assert shared(tally, None, 0.5, rates) is tally
    half = shared(tally, 0.1, 0.5, rates)
    assert (half.n_c, half.n_b) == (500, 500)
    assert half.bad_c == pytest.approx(15)
    assert half.bad_b == pytest.approx(500 * 4 / 900)
    none = shared(tally, 0.1, 0.0, rates)
    assert (none.bad_c, none.n_c, none.n_b) == (0, 0, 1000)


# --- the command ---


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build_app(), ["replay", *map(str, words)])


def policy_file(folder: Path, **parts: Any) -> Path:
    path = folder / "policy.yaml"
    path.write_text(json.dumps(document(**parts)))
    return path


def records_file(folder: Path, records: Sequence[bytes]) -> Path:
    path = folder / "events.jsonl"
    path.write_bytes(b"\n".join(records))
    return path


@pytest.fixture
def events(tmp_path: Path) -> Path:
    old = happened(catalog(), GOOD, release="old", began=BEGAN - timedelta(days=40))
    return records_file(tmp_path, [*past_of(bad=True).records, *old.records])


def test_the_command_shows_each_release_and_what_it_stands_on(events: Path, tmp_path: Path) -> None:
    result = run("--policy", policy_file(tmp_path, strategy=ONCE), events)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "release old, 2026-01-23 10:00 UTC: finalized"
    assert any(line.startswith("release r1, 2026-03-04") for line in lines)
    assert "fewer failed requests" in result.stdout
    assert "  assumed: nothing is known after the last count" in lines
    again_result = run("--policy", policy_file(tmp_path, strategy=ONCE), events)
    assert again_result.stdout == result.stdout


def test_since_counts_back_from_the_newest_event(events: Path, tmp_path: Path) -> None:
    result = run("--policy", policy_file(tmp_path), events, "--since", "30d", "--format", "json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    (release,) = answer["releases"]
    assert (release["release"], release["whole"], release["differs"]) == ("r1", True, False)
    (service,) = release["services"]
    assert service["then"]["way"] == service["other"]["way"] == "back"
    assert service["cost"]["more"] == 0
    assert answer["assumed"]


def test_a_record_that_was_touched_is_judged_and_said(tmp_path: Path) -> None:
    records = past_of(bad=True).records
    file = records_file(tmp_path, [edited(records[0], subject="x"), *records[1:]])
    result = run("--policy", policy_file(tmp_path), file)
    assert "its record is not whole: aviary audit verify" in result.stdout


@pytest.mark.parametrize(
    "series",
    [
        {"at": [3, 2]},
        {"at": [0, 1e308]},
        {"at": []},
        {"metrics": {"errors": {"streams": [{"canary": [1]}]}}},
        {"began_at": "yesterday"},
    ],
)
def test_counts_that_make_no_sense_are_left_out_and_said(tmp_path: Path, series: Any) -> None:
    records = []
    for record in past_of(bad=True).records:
        data = json.loads(record)["data"]
        if "series" in data:
            data["series"].update(series)
        records.append(edited(record, data=data))
    result = run("--policy", policy_file(tmp_path), records_file(tmp_path, records))
    assert result.exit_code == 0, result.output
    assert "events with counts can't be read" in result.stdout


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("at", lambda column: column[::-1]),
        ("at", lambda column: [one * 1e300 for one in column]),
        ("at", lambda column: [one - 100 for one in column]),
        ("canary", lambda column: [-1, *column[1:]]),
        ("bad_stable", lambda column: [1e300, *column[1:]]),
    ],
)
def test_columns_that_make_no_sense_are_left_out(
    column: str, change: Callable[[list[float]], list[float]]
) -> None:
    past = Past()
    for record in past_of(bad=True).records:
        event = json.loads(record)
        if series := event["data"].get("series"):
            place = series if column == "at" else series["metrics"]["errors"]["streams"][0]
            place[column] = change(place[column])
        past.take(event)
    (release,) = past.since(None)
    assert release.unread > 0
    assert not any(one.measured for one in release.services.values())


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_no_text_of_a_record_acts_on_the_terminal(tmp_path: Path, text: str) -> None:
    records = [
        edited(one, partitionkey=text, data={**json.loads(one)["data"], "cause": {"text": text}})
        for one in past_of(bad=True).records
    ]
    result = run("--policy", policy_file(tmp_path), records_file(tmp_path, records))
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_nothing_to_judge_is_no_answer(tmp_path: Path) -> None:
    result = run("--policy", policy_file(tmp_path), records_file(tmp_path, [b"{}"]))
    assert result.exit_code == 4
    assert "no event of a release among 1 records" in result.stderr
    assert run("--policy", tmp_path / "none.yaml", tmp_path).exit_code == 2
