"""Deploy events: one content for one release id, and only while they are fresh."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Retryable
from aviary.bridge.metrics import Outcome
from schemas import ids
from schemas.deploy import DeployRequested
from tests.unit.ingestion.fakes import Record, deploy_value
from tests.unit.ingestion.test_accept import Setup

CONTENT: dict[str, Any] = {
    "release": "shop-1",
    "services": [
        {"service": "checkout", "version": "2"},
        {"service": "cart", "version": "3"},
    ],
    "labels": {"commit": "1f", "by": "ann"},
}


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def _digest(**changes: Any) -> str:
    return DeployRequested.model_validate(CONTENT | changes).digest()


@given(st.permutations(CONTENT["services"]), st.permutations(list(CONTENT["labels"].items())))
def test_the_order_says_nothing(services: list[Any], labels: list[tuple[str, str]]) -> None:
    assert _digest(services=services, labels=dict(labels), strategy=None) == _digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"release": "shop-2"},
        {"services": CONTENT["services"][:1]},
        {"services": [{"service": "checkout", "version": "3"}, CONTENT["services"][1]]},
        {"strategy": "slow"},
        {"labels": {"commit": "1f"}},
        {"labels": {"commit": "2f", "by": "ann"}},
    ],
)
def test_what_is_asked_for_says_all(changes: dict[str, Any]) -> None:
    assert _digest(**changes) != _digest()


async def test_another_content_under_a_known_id_is_kept_apart(setup: Setup) -> None:
    assert await setup.accept(Record(deploy_value(data=CONTENT))) is Outcome.STARTED
    again = CONTENT | {"services": CONTENT["services"][::-1]}
    same = deploy_value(data=again, id="2", source="/elsewhere")
    assert await setup.accept(Record(same, offset=8)) is Outcome.DUPLICATE
    other = deploy_value(data=CONTENT | {"labels": {}})
    assert await setup.accept(Record(other, offset=9)) is Outcome.DEAD_LETTER
    assert setup.reason()[0] == "conflicting_release"
    assert setup.gateway.releases["shop-1"].labels == CONTENT["labels"]


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@pytest.mark.parametrize(
    ("age", "limit", "outcome"),
    [
        (60, 60, Outcome.STARTED),
        (61, 60, Outcome.STALE),
        (-4000, 60, Outcome.STARTED),
        (1e9, 0, Outcome.STARTED),
    ],
)
async def test_an_old_event_starts_nothing(
    tmp_path: Path, age: float, limit: int, outcome: Outcome
) -> None:
    setup = Setup(tmp_path, max_age_s=limit)
    setup.now = 2e9
    value = deploy_value(time=_at(setup.now - age))
    assert await setup.accept(Record(value, timestamp=int(setup.now * 1000))) is outcome
    assert bool(setup.gateway.releases) is (outcome is Outcome.STARTED)


async def test_a_stale_event_is_recorded_once(setup: Setup) -> None:
    setup.now = 2e9
    record = Record(deploy_value(time=_at(1e9)))
    setup.dead_letters.failure = Retryable("Kafka is away")
    with pytest.raises(Retryable):
        await setup.accept(record)
    setup.dead_letters.failure = None
    for _ in range(2):
        assert await setup.accept(record) is Outcome.STALE
    [written] = setup.dead_letters.to(ids.TOPIC_EVENTS)
    event = json.loads(written.value or b"")
    assert (event["type"], event["subject"]) == ("dev.aviary.deploy.stale.v1", "shop-1")
    assert event["data"]["age_s"] == 1_000_000_000
    assert event["data"]["services"] == {"checkout": "2"}
    assert setup.metric("aviary_bridge_stale_total", topic=ids.TOPIC_DEPLOYS) == 2


async def test_without_a_time_the_records_own_counts(setup: Setup) -> None:
    setup.now = 1_000 + 86_401
    assert await setup.accept(Record(deploy_value(), timestamp=1_000_000)) is Outcome.STALE


async def test_an_event_whose_producer_told_no_time_at_all_is_new(setup: Setup) -> None:
    """Kafka keeps -1 then, which is no second of 1969."""
    setup.now = 2e9
    assert await setup.accept(Record(deploy_value(), timestamp=-1)) is Outcome.STARTED
