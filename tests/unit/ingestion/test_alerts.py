"""Alerts: told once, to all whom they concern, in few signals, and only while they last."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.errors import Retryable
from aviary.bridge import alerts
from aviary.bridge.metrics import Outcome
from schemas import ids
from tests.unit.ingestion.fakes import CATALOG, Record, alert_value
from tests.unit.ingestion.test_accept import Setup

CHECKOUT = {"service": "checkout"}
PAST = "1970-01-01T00:16:00Z"
"""960 s on the tests' clock, which stands at 1,002 s."""


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    monkeypatch.setattr(alerts, "PACE_S", 0.0)
    return Setup(tmp_path)


def _record(value: bytes, offset: int = 7) -> Record:
    return Record(value, topic=ids.TOPIC_ALERTS, offset=offset)


def _alert(offset: int, number: int, service: str = "checkout", **changes: str) -> Record:
    return _record(alert_value({"service": service}, first=number, **changes), offset)


def _events(setup: Setup) -> list[dict[str, object]]:
    return [json.loads(record.value or b"") for record in setup.dead_letters.to(ids.TOPIC_EVENTS)]


async def test_a_first_alert_is_told_without_a_question(setup: Setup) -> None:
    assert await setup.accept(_alert(1, 1)) is Outcome.SIGNALLED
    assert (setup.gateway.asked, setup.gateway.sent) == (0, 1)


async def test_only_a_first_repeat_costs_a_signal(setup: Setup) -> None:
    assert await setup.accept(_alert(1, 1)) is Outcome.SIGNALLED
    assert await setup.accept(_alert(2, 1)) is Outcome.SIGNALLED
    for offset in (3, 4, 5):
        assert await setup.accept(_alert(offset, 1)) is Outcome.REPEATED
    both = [_alert(6, 2), _alert(7, 2)]
    assert await setup.acceptor.accept(both) == [Outcome.SIGNALLED] * 2
    assert setup.gateway.told("checkout") == ["f1", "f1", "f2"]
    assert setup.gateway.sent == 3


async def test_a_signal_is_logged_under_its_service(setup: Setup) -> None:
    with capture_logs() as logs:
        await setup.accept(_alert(1, 1))
    told = [line for line in logs if line["event"] == "alerts_signalled"]
    assert [(line["service"], line["alerts"]) for line in told] == [("checkout", 1)]


async def test_the_end_of_an_alert_is_told_as_such(setup: Setup) -> None:
    await setup.accept(_alert(1, 1))
    end = _alert(2, 1, status="resolved", endsAt=PAST)
    assert await setup.accept(end) is Outcome.SIGNALLED
    told = [alert for alerts in setup.gateway.signals.values() for alert in alerts]
    assert [alert.status for alert in told] == ["firing", "resolved"]
    # An end whose beginning another bridge may have told.
    assert await setup.accept(_alert(3, 9, status="resolved")) is Outcome.SIGNALLED


async def test_the_next_canary_is_told_of_what_still_fires(setup: Setup) -> None:
    await setup.accept(_alert(1, 1))
    setup.gateway.generation += 1
    assert await setup.accept(_alert(2, 1)) is Outcome.SIGNALLED
    assert setup.gateway.sent == 2


async def test_what_found_no_canary_is_told_once_there_is_one(setup: Setup) -> None:
    setup.gateway.canaries = set()
    assert await setup.accept(_alert(1, 1)) is Outcome.UNMATCHED
    setup.gateway.canaries = {"checkout"}
    assert await setup.accept(_alert(2, 1)) is Outcome.SIGNALLED


async def test_an_unmatched_alert_is_counted_and_recorded_once(setup: Setup) -> None:
    for offset in range(3):
        assert await setup.accept(_alert(offset, 1, "ledger")) is Outcome.UNMATCHED
    [event] = _events(setup)
    assert event["type"] == "dev.aviary.alert.unmatched.v1"
    assert event["subject"] == "ledger"
    assert event["data"]["fingerprint"] == "f1"  # type: ignore[index]
    assert setup.metric("aviary_bridge_unmatched_alerts_total") == 3


async def test_an_alert_is_not_done_before_its_record_is_durable(setup: Setup) -> None:
    setup.dead_letters.failure = Retryable("Kafka is away")
    with pytest.raises(Retryable):
        await setup.accept(_alert(1, 1, "ledger"))
    setup.dead_letters.failure = None
    assert await setup.accept(_alert(1, 1, "ledger")) is Outcome.UNMATCHED
    assert len(_events(setup)) == 1


async def test_an_alert_reaches_all_that_its_service_depends_on(setup: Setup) -> None:
    setup.gateway.canaries = {"ledger"}
    assert await setup.accept(_alert(1, 1, "checkout")) is Outcome.SIGNALLED
    assert setup.gateway.told("ledger") == ["f1"]
    # And none that depend on it.
    setup.gateway.canaries = {"checkout", "cart"}
    assert await setup.accept(_alert(2, 2, "ledger")) is Outcome.UNMATCHED


async def test_the_fan_out_is_bounded(tmp_path: Path) -> None:
    deep = "".join(f"  s{n}: {{depends_on: [s{n + 1}]}}\n" for n in range(60)) + "  s60: {}\n"
    setup = Setup(tmp_path, CATALOG + deep)
    setup.gateway.canaries = {"s60"}
    assert await setup.accept(_alert(1, 1, "s0")) is Outcome.SIGNALLED
    assert setup.gateway.told("s60") == ["f1"]
    assert 1 < setup.gateway.most_at_once <= alerts.FAN_OUT


async def test_one_canary_out_of_reach_does_not_keep_the_others_waiting(setup: Setup) -> None:
    setup.gateway.canaries = {"cart", "ledger"}
    setup.gateway.away_for = {"cart"}
    for _ in range(3):
        with pytest.raises(Retryable):
            await setup.accept(_alert(1, 1, "cart"))
        assert setup.gateway.told("ledger") == ["f1"]
    setup.gateway.away_for = set()
    await setup.accept(_alert(1, 1, "cart"))
    assert (setup.gateway.told("ledger"), setup.gateway.told("cart")) == (["f1"], ["f1"])
    assert setup.gateway.sent == 3  # ledger twice: only a first repeat costs a signal


async def test_a_signal_that_is_refused_for_good_is_kept(setup: Setup) -> None:
    setup.gateway.refuses = {"checkout"}
    records = [_alert(1, 1), _alert(2, 2, "ledger")]
    assert await setup.acceptor.accept(records) == [Outcome.DEAD_LETTER, Outcome.UNMATCHED]
    assert setup.reason() == ("refused", "checkout: never")


async def test_a_storm_of_repeats_is_two_signals(setup: Setup) -> None:
    for start in range(0, 10_000, 500):
        batch = [_alert(offset, 1) for offset in range(start, start + 500)]
        await setup.acceptor.accept(batch)
    assert setup.gateway.sent == 2


async def test_a_storm_that_concerns_nobody_waits_for_nothing(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "PACE_S", 3600.0)
    setup.gateway.canaries = set()
    for start in range(0, 2_000, 500):
        batch = [_alert(offset, offset) for offset in range(start, start + 500)]
        assert set(await setup.acceptor.accept(batch)) == {Outcome.UNMATCHED}


async def test_a_storm_of_different_alerts_is_few_signals_and_loses_none(setup: Setup) -> None:
    for start in range(0, 10_000, 500):
        batch = [_alert(offset, offset) for offset in range(start, start + 500)]
        await setup.acceptor.accept(batch)
    assert setup.gateway.told("checkout") == [f"f{n}" for n in range(10_000)]
    assert setup.gateway.sent == 100
    assert max(len(alerts) for alerts in setup.gateway.signals.values()) == 100
    assert setup.metric("aviary_bridge_signals_total") == 100


async def test_a_trickle_is_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    setup = Setup(tmp_path)
    monkeypatch.setattr(alerts, "PACE_S", 1000.0)
    monkeypatch.setattr(asyncio, "sleep", pause)
    for number in range(3):
        await setup.accept(_alert(number, number))
    paces = [round(seconds, -2) for seconds in waited if seconds > 1]
    assert paces == [1000, 2000]


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([_alert(1, 1, endsAt=PAST)], id="says that it has ended"),
        pytest.param([_alert(1, 1), _alert(2, 1, status="resolved")], id="its end comes with it"),
        pytest.param([_alert(1, 1, status="resolved"), _alert(2, 1)], id="in the other order"),
    ],
)
async def test_what_ended_before_it_was_read_is_recorded_and_not_acted_upon(
    setup: Setup, records: list[Record]
) -> None:
    assert await setup.acceptor.accept(records) == [Outcome.STALE] * len(records)
    assert not setup.gateway.signals
    assert {event["type"] for event in _events(setup)} == {"dev.aviary.alert.stale.v1"}
    assert len(_events(setup)) == len(records)
    topic = ids.TOPIC_ALERTS
    assert setup.metric("aviary_bridge_stale_total", topic=topic) == len(records)
    # Its end, which comes later, is no news to anybody.
    assert await setup.accept(_alert(9, 1, status="resolved", endsAt=PAST)) is Outcome.STALE


async def test_what_ends_later_is_acted_upon(setup: Setup) -> None:
    for offset in (0, 1):
        told = await setup.accept(_alert(offset, 1, endsAt="1970-01-01T00:17:00Z"))
        assert told is Outcome.SIGNALLED
    setup.now = 2_000
    # Told once: its end is news, and a repeat beside it changes nothing.
    pair = [_alert(2, 1, endsAt="1970-01-01T00:17:00Z"), _alert(3, 1, status="resolved")]
    assert await setup.acceptor.accept(pair) == [Outcome.REPEATED, Outcome.SIGNALLED]


async def test_a_time_that_no_clock_can_show_is_refused(setup: Setup) -> None:
    record = _alert(1, 1, startsAt="0001-01-01T00:00:00+01:00")
    assert await setup.accept(record) is Outcome.DEAD_LETTER
    assert "startsAt" in setup.reason()[1]
