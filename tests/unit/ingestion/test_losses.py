"""Losses on their way through the bridge: every canary that they may concern is told, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Retryable
from adapters.kafka_batches import Fault
from aviary.bridge.metrics import Outcome
from schemas import ids
from schemas.alert import Alert
from schemas.loss import WINDOW_S, Loss, LossReason
from schemas.rejection import RejectReason
from tests.unit.ingestion.fakes import Record, alert_value
from tests.unit.ingestion.test_accept import Setup

NOW = 1_800_000_000.0


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def _record(value: bytes, offset: int = 7) -> Record:
    return Record(value, topic=ids.TOPIC_ALERTS, offset=offset)


def _loss(service: str | None = None, at: float = NOW, offset: int = 7) -> Record:
    return _record(Loss.at(at, LossReason.TOO_LARGE, "too large", service).wire(), offset)


def _told(setup: Setup, service: str) -> list[Alert]:
    return [a for (to, _), alerts in setup.gateway.signals.items() if to == service for a in alerts]


async def test_a_loss_that_may_concern_any_service_is_told_to_every_canary(setup: Setup) -> None:
    setup.gateway.canaries = {"cart", "ledger", "removed-from-the-catalog"}
    assert await setup.accept(_loss()) is Outcome.SIGNALLED
    for service in setup.gateway.canaries:
        alerts = [alert for alert in _told(setup, service) if alert.labels["service"] == service]
        assert [(alert.lost, alert.name) for alert in alerts] == [(True, "AviaryAlertsLost")]


async def test_a_loss_of_one_services_alerts_is_told_where_its_alerts_are(setup: Setup) -> None:
    setup.gateway.canaries = {"cart", "ledger", "checkout"}
    assert await setup.accept(_loss("cart")) is Outcome.SIGNALLED
    assert not _told(setup, "checkout")
    for service in ("cart", "ledger"):
        assert [alert.labels["service"] for alert in _told(setup, service)] == ["cart"]


async def test_a_loss_of_what_is_no_service_any_more_is_told_to_every_canary(setup: Setup) -> None:
    assert await setup.accept(_loss("gone")) is Outcome.SIGNALLED
    assert _told(setup, "checkout")


async def test_a_loss_without_a_canary_is_done(setup: Setup) -> None:
    setup.gateway.canaries = set()
    assert await setup.accept(_loss()) is Outcome.UNMATCHED
    assert await setup.accept(_loss("cart", offset=8)) is Outcome.UNMATCHED
    assert not setup.dead_letters.to(ids.TOPIC_DEADLETTERS)


async def test_repeats_of_a_loss_are_one_alert_until_the_hour_is_over(setup: Setup) -> None:
    for offset, at in enumerate((NOW, NOW + 1, NOW + WINDOW_S - 1, NOW + WINDOW_S)):
        await setup.accept(_loss("checkout", at, offset))
    identities = [alert.identity for alert in _told(setup, "checkout")]
    assert len(set(identities)) == 2


async def test_while_temporal_is_away_a_loss_waits(setup: Setup) -> None:
    setup.gateway.away = True
    with pytest.raises(Retryable):
        await setup.accept(_loss())


@pytest.mark.parametrize("broken", ["running", "dead_letters"])
async def test_no_loss_and_no_dead_letter_stands_before_an_alert(setup: Setup, broken: str) -> None:
    """Temporal's list of canaries, or the topic of dead letters, may be away for long."""
    alert = _record(alert_value({"service": "checkout"}), offset=8)
    if broken == "running":
        setup.gateway.away_for = {"running"}
        before = _loss()
    else:
        setup.dead_letters.failure = Retryable("no such topic")
        fault = Fault(RejectReason.UNPARSABLE, "broken batch", 7)
        before = Record(None, topic=ids.TOPIC_ALERTS, offset=7, fault=fault)
    with pytest.raises(Retryable):
        await setup.acceptor.accept([before, alert])
    assert setup.gateway.told("checkout") == ["f0"]


@pytest.mark.parametrize(
    "changes", [{"reason": "odd"}, {"service": "NOT A NAME"}, {"since": "noon"}, {"more": 1}]
)
async def test_an_order_that_nobody_wrote_is_a_dead_letter(
    setup: Setup, changes: dict[str, Any]
) -> None:
    loss = json.loads(_loss().value or b"") | changes
    value = json.dumps(loss, separators=(",", ":")).encode()
    assert await setup.accept(_record(value)) is Outcome.DEAD_LETTER
    assert setup.reason()[0] == "invalid_data"
    assert not setup.gateway.signals


async def test_one_wrong_alert_of_a_record_does_not_hold_back_the_others(setup: Setup) -> None:
    document = json.loads(alert_value(*[{"service": "checkout"}] * 3))
    del document["alerts"][1]["startsAt"]
    assert await setup.accept(_record(json.dumps(document).encode())) is Outcome.DEAD_LETTER
    assert setup.gateway.told("checkout") == ["f0", "f2"]
    assert setup.reason() == ("invalid_data", "alerts[1].startsAt: missing, expected a value")


@pytest.mark.parametrize(
    ("group", "told"),
    [({"service": "cart"}, {"cart", "ledger"}), ({}, {"cart", "ledger", "checkout"})],
)
async def test_a_truncated_notification_of_another_writer_pauses(
    setup: Setup, group: dict[str, str], told: set[str]
) -> None:
    setup.gateway.canaries = {"cart", "ledger", "checkout"}
    document = json.loads(alert_value({"service": "cart"}))
    document |= {"truncatedAlerts": 1, "groupLabels": group}
    await setup.accept(_record(json.dumps(document).encode()))
    found = {to for (to, _), alerts in setup.gateway.signals.items() if any(a.lost for a in alerts)}
    assert found == told
    assert setup.metric("aviary_bridge_lost_total", reason="truncated") == 1


@pytest.mark.parametrize("written_at", [-1, -(2**63), 10**15, 2**63 - 1])
async def test_an_odd_time_of_a_truncated_notification_costs_no_alert(
    setup: Setup, written_at: int
) -> None:
    document = json.loads(alert_value({"service": "checkout"})) | {"truncatedAlerts": 1}
    value = json.dumps(document).encode()
    record = Record(value, topic=ids.TOPIC_ALERTS, timestamp=written_at)
    assert await setup.accept(record) is Outcome.SIGNALLED
    assert "f0" in setup.gateway.told("checkout")
    assert setup.metric("aviary_bridge_lost_total", reason="truncated") == 1


async def test_what_is_wrong_with_ten_thousand_alerts_is_said_in_few_words(setup: Setup) -> None:
    await setup.accept(_record(alert_value(*[{"service": "nosuch" * 30}] * 10_000)))
    assert len(setup.reason()[1]) <= 2000
