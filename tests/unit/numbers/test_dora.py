"""DORA's four, of what releases told: each number by hand, and what must not change it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from aviary.cli import build_app
from aviary.numbers.dora import Dora, Outcome, Span, by_environment, measure
from aviary.numbers.told import Told
from schemas.alert import Alert
from schemas.phase_facts import Waiting
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.release import Cause, CauseKind
from schemas.reverting import revert_id
from tests.unit.numbers.telling import BEGAN, Telling, after, plain

DAY = timedelta(days=1)


def told_of(*releases: Telling) -> Told:
    told = Told()
    for one in plain(*releases):
        told.take(one)
    return told


def of(*releases: Telling, **only: Any) -> Dora:
    return measure(told_of(*releases), BEGAN, BEGAN + 10 * DAY, **only)


def test_each_number_of_a_week() -> None:
    committed = {"commit_time": after(-3500).isoformat()}
    later = {"commit_time": after(86_400 - 100).astimezone(UTC).isoformat()}
    found = of(
        Telling("a", labels=committed).finalized(),
        Telling("b", 200).finalized(),
        Telling("c", 86_400, labels=later).finalized(),
        Telling("d", 90_000, labels=committed).rolled_back(),
    )
    assert [one.outcome for one in found.deployments] == [Outcome.DEPLOYED] * 3 + [
        Outcome.ROLLED_BACK
    ]
    assert (found.deployed, found.days, found.per_day) == (3, 2, 0.3)
    # From commit to stable: 3,500 + 100 s, and 100 + 100 s; what went back is none.
    assert found.lead == Span(2, median_s=1900.0, p90_s=3600.0, longest_s=3600.0)
    assert (found.failed, found.failure_rate) == (1, 0.25)
    # From the rollback to no user on it: not to the end, which waits for instances to go.
    assert found.restored == Span(1, 4.0, 4.0, 4.0)
    assert found.spent_on(Waiting.PEOPLE) == 3 * 40
    assert found.spent_on(Waiting.WORK) == 3 * 60 + 50


def test_nothing_that_no_user_had_is_a_deployment() -> None:
    early = Telling("early").at(ReleasePhase.RUNNING).canary(CanaryPhase.DEPLOYING).wait(5)
    cause = Cause(kind=CauseKind.NOT_READY, text="no instance", at=after(5))
    early.at(ReleasePhase.ROLLING_BACK, cause).canary(CanaryPhase.ROLLED_BACK)
    early.at(ReleasePhase.ROLLED_BACK, cause)
    same = Telling("same").at(ReleasePhase.RUNNING)
    same.canary(CanaryPhase.HOLDING, 100, stable="2").at(ReleasePhase.FINALIZED)
    found = of(early, same)
    assert found.deployments == ()
    assert found.failure_rate is None
    assert found.unseen == 1


def test_a_release_taken_back_later_failed_and_the_one_that_does_it_is_no_deployment() -> None:
    bad, again = Telling("shop-42").finalized(), Telling("shop-43", 50_000).finalized()
    back = Telling(revert_id("shop-42"), 5_000).rolled_back()
    second = Telling(revert_id("shop-42", 2), 6_000).finalized()
    found = of(bad, again, back, second)
    outcomes = {one.release: one.outcome for one in found.deployments}
    assert outcomes == {"shop-42": Outcome.REVERTED, "shop-43": Outcome.DEPLOYED}
    assert (found.deployed, found.failure_rate) == (2, 0.5)
    # From the first attempt to the end of the one that did it.
    assert found.restored == Span(1, 1100.0, 1100.0, 1100.0)
    # One that went back itself took nothing back.
    assert of(bad, back).failed == 0


@pytest.mark.parametrize(
    ("began", "seconds"), [(20.0, 24.0), (-500.0, 34.0), (45.0, 4.0)], ids=["in", "before", "late"]
)
def test_an_alert_is_noticed_when_it_began_but_not_before_users_had_the_version(
    began: float, seconds: float
) -> None:
    one = Telling("a").at(ReleasePhase.RUNNING).wait(10).canary(CanaryPhase.BAKING, 5).wait(30)
    alert = Alert.model_validate(
        {
            "status": "firing",
            "labels": {"alertname": "Errors", "service": "checkout"},
            "starts_at": after(began).isoformat(),
            "fingerprint": "a",
        }
    )
    cause = Cause(
        kind=CauseKind.ALERT, service="checkout", text="it fires", at=after(40), alert=alert
    )
    one.at(ReleasePhase.ROLLING_BACK, cause).canary(CanaryPhase.ROLLING_BACK, 5).wait(4)
    one.canary(CanaryPhase.ROLLED_BACK).wait(9).at(ReleasePhase.ROLLED_BACK, cause)
    (found,) = of(one).deployments
    assert found.cause == "alert"
    assert found.restored == timedelta(seconds=seconds)


def test_only_what_ended_then_and_there_counts() -> None:
    mine, other = Telling("a").finalized(), Telling("b", environment="staging").finalized()
    runs = Telling("c").at(ReleasePhase.RUNNING).canary(CanaryPhase.BAKING, 5)
    cart = Telling("d", 7, services={"cart": "3"}).at(ReleasePhase.RUNNING)
    cart.canary(CanaryPhase.HOLDING, 100, "cart").at(ReleasePhase.FINALIZED)
    everything = (mine, other, runs, cart)
    assert of(*everything).deployed == 3
    assert [one.release for one in of(*everything, service="cart").deployments] == ["d"]
    found = by_environment(told_of(*everything), BEGAN, BEGAN + DAY)
    assert {name: one.deployed for name, one in found.items()} == {"production": 2, "staging": 1}
    assert measure(told_of(mine), BEGAN - DAY, after(100)).deployed == 0
    assert measure(told_of(mine), after(100), after(101)).deployed == 1


def test_a_release_waits_for_others_in_the_queue_and_for_what_must_hold_first() -> None:
    one = Telling("a", services={"ledger": "2", "checkout": "2"}).at(ReleasePhase.QUEUED).wait(30)
    one.at(ReleasePhase.RUNNING).canary(CanaryPhase.PREFLIGHT, service="ledger").wait(20)
    one.canary(CanaryPhase.HOLDING, 100, "ledger").canary(CanaryPhase.PREFLIGHT).wait(5)
    one.canary(CanaryPhase.HOLDING, 100).at(ReleasePhase.FINALIZED)
    spent = {each.phase.value: each.seconds for each in of(one).spent}
    # The queue, checkout until ledger held, ledger until checkout did.
    assert spent == {"queued": 30, "waiting": 20, "preflight": 25, "holding": 5}
    assert of(one).spent_on(Waiting.OTHERS) == 55


@pytest.mark.parametrize("text", ["yesterday", "2026-03-04T09:00:00", "", "x" * 5000])
def test_a_commit_time_that_is_none_is_no_lead_time(text: str) -> None:
    found = of(Telling("a", labels={"commit_time": text}).finalized())
    assert (found.deployed, found.lead) == (1, None)


def test_a_commit_of_the_future_takes_no_time() -> None:
    found = of(Telling("a", labels={"commit_time": after(9e6).isoformat()}).finalized())
    assert found.lead == Span(1, 0.0, 0.0, 0.0)


_RELEASES = (
    Telling("a").finalized(),
    Telling("b", 3).rolled_back(),
    Telling("c", 7, environment="staging").finalized(),
    Telling(revert_id("a"), 400).finalized(),
)


@settings(max_examples=30)
@given(st.data())
def test_neither_copies_nor_the_order_of_releases_change_a_number(data: st.DataObject) -> None:
    told = Told()
    left = [plain(one) for one in _RELEASES]
    while any(left):
        events = data.draw(st.sampled_from([one for one in left if one]))
        for _ in range(data.draw(st.integers(1, 2))):
            told.take(events[0])
        del events[0]
    assert measure(told, BEGAN, BEGAN + DAY) == measure(told_of(*_RELEASES), BEGAN, BEGAN + DAY)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda more: (
        st.lists(more, max_size=3) | st.dictionaries(st.text(max_size=9), more, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=30)
@given(st.data())
def test_no_event_of_anybody_is_too_odd(data: st.DataObject) -> None:
    told = Told(most=2)
    for one in plain(*_RELEASES):
        event = {**one, "data": {**one["data"]}}
        for _ in range(data.draw(st.integers(0, 2))):
            there = [one for one in (event, event["data"]) if one]
            within: dict[str, Any] = data.draw(st.sampled_from(there))
            within[data.draw(st.sampled_from(sorted(within)))] = data.draw(_ANY)
            if not isinstance(event["data"], dict):
                break
        told.take(event)
    assert len(told.releases) <= 2
    far = datetime.max.replace(tzinfo=UTC)
    measure(told, datetime.min.replace(tzinfo=UTC), far)


def test_of_too_many_releases_the_oldest_are_forgotten() -> None:
    told = Told(most=2)
    for one in plain(*(Telling(name, at).finalized() for at, name in enumerate("abc"))):
        told.take(one)
    assert told.forgotten > 0
    assert len(told.releases) == 2


# --- the command ---


def run(folder: Path, *releases: Telling, words: tuple[str, ...] = ()) -> Any:
    file = folder / "events.jsonl"
    lines = [one.wire() for each in releases for one in each.events]
    file.write_bytes(b"\n".join([*lines, b"no event", b"{}"]))
    return CliRunner().invoke(build_app(), ["dora", str(file), *words])


def recently(**more: Any) -> Telling:
    """One that ended a minute ago."""
    now = (datetime.now(UTC) - BEGAN).total_seconds()
    return Telling("shop-42", now - 160, **more).finalized()


def test_the_command_says_the_four(tmp_path: Path) -> None:
    now = (datetime.now(UTC) - BEGAN).total_seconds()
    labels = {"commit_time": after(now - 660).isoformat()}
    done = run(tmp_path, recently(labels=labels), Telling("shop-43", now - 80).rolled_back())
    assert done.exit_code == 0, done.output
    text = done.stdout
    assert "deployment frequency   1 deployment, 0.0333 a day, on 1 day" in text
    assert "change failure rate    50 % (1 of 2)" in text
    assert "time to restore        median 4s, 9 of 10 within 4s (1)" in text
    assert "working" in text
    assert "for people" in text
    assert "no event is older than" in text


def test_the_command_says_the_same_as_json(tmp_path: Path) -> None:
    done = run(tmp_path, recently(), words=("--since", "1d", "--format", "json"))
    found: Mapping[str, Any] = json.loads(done.stdout)
    assert found["deployment_frequency"] == {"deployments": 1, "per_day": 1.0, "days": 1}
    assert found["lead_time_for_changes"] is None
    assert found["change_failure_rate"] == {"rate": 0.0, "failed": 0, "deployments": 1}
    assert found["time_spent"]["seconds"]["people"] == 40
    assert found["deployments"][0]["outcome"] == "deployed"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--since", "0s"), 2, "--since"),
        (("--since", "later"), 2, "--since"),
        (("--service", "no/service"), 2, "--service"),
    ],
)
def test_the_command_names_what_is_wrong(
    tmp_path: Path, words: tuple[str, ...], code: int, text: str
) -> None:
    done = run(tmp_path, recently(), words=words)
    assert done.exit_code == code
    assert text in done.output


def test_the_command_says_that_there_is_nothing(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 4
    assert "no event of a release among 2 records" in done.output
