from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from adapters.errors import Retryable
from aviary import deploy_plan
from aviary.bridge.accept import Acceptor
from aviary.bridge.metrics import BridgeMetrics, Outcome
from aviary.bridge.temporal import summary
from aviary.catalog_watch import CatalogWatch
from schemas import ids
from tests.unit.ingestion.fakes import (
    CATALOG,
    FakeGateway,
    FakeWriter,
    Record,
    alert_value,
    deploy_value,
)
from workflows.pages import release_details


class Setup:
    def __init__(self, folder: Path, catalog: str = CATALOG, *, max_age_s: int = 86_400) -> None:
        path = folder / "catalog.yaml"
        path.write_text(catalog)
        self.registry = CollectorRegistry()
        self.gateway = FakeGateway()
        self.dead_letters = FakeWriter()
        self.now = 1_002.0
        self.acceptor = Acceptor(
            self.gateway,
            self.dead_letters,
            CatalogWatch(path, self.registry).newest,
            BridgeMetrics(self.registry),
            max_age_s=max_age_s,
            clock=lambda: self.now,
        )

    async def accept(self, record: Record) -> Outcome:
        [outcome] = await self.acceptor.accept([record])
        return outcome

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def reason(self) -> tuple[str, str]:
        [message] = self.dead_letters.to(ids.TOPIC_DEADLETTERS)
        headers = {name: value or b"" for name, value in message.headers}
        return headers["aviary-reason"].decode(), headers["aviary-error"].decode()


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


async def test_a_deploy_is_a_release(setup: Setup) -> None:
    assert await setup.accept(Record(deploy_value())) is Outcome.STARTED
    assert await setup.accept(Record(deploy_value(), offset=8)) is Outcome.DUPLICATE
    assert setup.gateway.releases["shop-1"].source == "/ci#1"
    topic = ids.TOPIC_DEPLOYS
    assert setup.metric("aviary_bridge_records_total", topic=topic, outcome="started") == 1
    assert setup.metric("aviary_bridge_records_total", topic=topic, outcome="duplicate") == 1
    # 1,000 s on the record, 1,002 s on the clock, twice.
    assert setup.metric("aviary_bridge_accepted_seconds_sum", topic=topic) == 4


@pytest.mark.parametrize(
    ("record", "reason", "words"),
    [
        (Record(b"{"), "unparsable", "not valid JSON"),
        (Record(None), "unparsable", "empty"),
        (Record(deploy_value(type="x")), "unknown_type", "'x'"),
        (Record(deploy_value(service="chekout")), "unknown_service", "chekout"),
        (Record(b"{", topic=ids.TOPIC_ALERTS), "unparsable", "not valid JSON"),
        (Record(b"{}", topic=ids.TOPIC_ALERTS), "invalid_data", "version: missing"),
        (
            Record(alert_value({"app": "x"}), topic=ids.TOPIC_ALERTS),
            "unknown_service",
            "alerts[0].labels: expected one of service, got app",
        ),
    ],
)
async def test_the_hopeless_is_kept_with_its_reason(
    setup: Setup, record: Record, reason: str, words: str
) -> None:
    assert await setup.accept(record) is Outcome.DEAD_LETTER
    found, text = setup.reason()
    assert found == reason
    assert words in text
    [message] = setup.dead_letters.to(ids.TOPIC_DEADLETTERS)
    assert (message.topic, message.value, message.key) == (
        ids.TOPIC_DEADLETTERS,
        record.value,
        record.key,
    )
    assert dict(message.headers)["aviary-source-topic"] == record.topic.encode()
    assert dict(message.headers)["aviary-source-partition"] == b"2"
    assert dict(message.headers)["aviary-source-offset"] == b"7"
    assert setup.metric("aviary_bridge_dead_letters_total", topic=record.topic, reason=reason) == 1


async def test_an_unknown_strategy_is_kept(setup: Setup) -> None:
    data = json.loads(deploy_value())["data"] | {"strategy": "nosuch"}
    await setup.accept(Record(deploy_value(data=data)))
    assert setup.reason()[0] == "unknown_strategy"


async def test_original_headers_come_first(setup: Setup) -> None:
    headers = (("traceparent", b"00"), ("traceparent", b"\xff"))
    await setup.accept(Record(b"", headers=headers))
    [message] = setup.dead_letters.to(ids.TOPIC_DEADLETTERS)
    assert tuple(message.headers[:2]) == headers


async def test_text_that_is_no_unicode_still_becomes_a_dead_letter(setup: Setup) -> None:
    value = deploy_value().replace(b'"shop-1"', rb'"\ud800"')
    assert await setup.accept(Record(value)) is Outcome.DEAD_LETTER


async def test_alerts_go_to_their_canaries(setup: Setup) -> None:
    setup.gateway.canaries = {"cart"}
    labels = {"service": "cart"}, {"service": "ledger"}, {"service": "cart", "a": "b"}
    record = Record(alert_value(*labels), topic=ids.TOPIC_ALERTS)
    assert await setup.accept(record) is Outcome.SIGNALLED
    assert setup.gateway.told("cart") == ["f0", "f2"]
    assert setup.gateway.sent == 1
    assert setup.metric("aviary_bridge_unmatched_alerts_total") == 1
    assert not setup.dead_letters.to(ids.TOPIC_DEADLETTERS)


async def test_one_unknown_alert_does_not_hold_back_the_others(setup: Setup) -> None:
    labels = {"service": "nosuch"}, {"service": "checkout"}
    record = Record(alert_value(*labels), topic=ids.TOPIC_ALERTS)
    assert await setup.accept(record) is Outcome.DEAD_LETTER
    assert list(setup.gateway.signals) == [("checkout", "aviary.alerts/2/7/1")]


async def test_an_alert_without_a_canary_is_done(setup: Setup) -> None:
    record = Record(alert_value({"service": "cart"}), topic=ids.TOPIC_ALERTS)
    assert await setup.accept(record) is Outcome.UNMATCHED
    assert not setup.dead_letters.to(ids.TOPIC_DEADLETTERS)


async def test_while_temporal_is_away_nothing_is_done(setup: Setup) -> None:
    setup.gateway.away = True
    with pytest.raises(Retryable):
        await setup.accept(Record(deploy_value()))
    assert not setup.dead_letters.to(ids.TOPIC_DEADLETTERS)
    topic = ids.TOPIC_DEPLOYS
    assert setup.metric("aviary_bridge_records_total", topic=topic, outcome="started") is None


async def test_a_dead_letter_that_is_not_durable_is_not_done(setup: Setup) -> None:
    setup.dead_letters.failure = Retryable("Kafka is away")
    with pytest.raises(Retryable):
        await setup.accept(Record(b"{"))


async def test_a_fault_while_planning_is_kept_and_out_of_the_way(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(deploy_plan, "plan_release", broken)
    assert await setup.accept(Record(deploy_value())) is Outcome.DEAD_LETTER
    assert setup.reason() == ("unplannable", "no plan because of a fault: ZeroDivisionError: oops")


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        ("prod", "prod", Outcome.STARTED),
        ("prod", "staging", Outcome.DEAD_LETTER),
        ("default", "staging", Outcome.STARTED),
    ],
)
async def test_events_for_another_environment_are_not_acted_upon(
    tmp_path: Path, ours: str, theirs: str, outcome: Outcome
) -> None:
    setup = Setup(tmp_path, CATALOG + f"environment: {ours}\n")
    content = {"environment": {"id": theirs}, "artifactId": "pkg:oci/checkout@2"}
    data = {"subject": {"id": "checkout", "content": content}}
    value = deploy_value(type="dev.cdevents.service.deployed.0.2.0", data=data)
    assert await setup.accept(Record(value)) is outcome


async def test_what_the_temporal_ui_shows(setup: Setup) -> None:
    services = [{"service": name, "version": "2"} for name in ("checkout", "cart", "ledger")]
    data = {"release": "shop-1", "services": services}
    await setup.accept(Record(deploy_value(data=data)))
    plan = setup.gateway.releases["shop-1"]
    assert summary(plan) == "cart 2, checkout 2, ledger 2"
    shown = [
        [cell.strip() for cell in line.split("|")[1:3]]
        for line in release_details(plan).splitlines()
        if line.startswith("|")
    ]
    assert shown[2:] == [["1", "ledger 2"], ["2", "cart 2"], ["3", "checkout 2"]]


async def test_a_large_release_is_shown_cut(tmp_path: Path) -> None:
    names = [f"service-{number}" for number in range(100)]
    catalog = CATALOG + "".join(f"  {name}: {{}}\n" for name in names)
    setup = Setup(tmp_path, catalog)
    services = [{"service": name, "version": "2"} for name in names]
    await setup.accept(Record(deploy_value(data={"release": "shop-1", "services": services})))
    plan = setup.gateway.releases["shop-1"]
    assert len(summary(plan)) == 200
    assert "and 70 more" in release_details(plan)
    assert len(release_details(plan).encode()) < 4_096
