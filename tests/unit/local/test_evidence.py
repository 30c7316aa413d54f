"""Histories and Envoy's configuration, read for what they prove."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from activities.traffic import APPLY, READ
from adapters.routers.envoy.routes import local_domains, virtual_host
from aviary.local import evidence
from aviary.local.evidence import Canary
from aviary.local.fronts.envoy import weights_in
from schemas.ids import SIGNAL_ALERT, SIGNAL_ORDER_ROLLBACK
from schemas.route import Route


def _event(number: int, kind: EventType.ValueType, at: int) -> HistoryEvent:
    event = HistoryEvent(event_id=number, event_type=kind)
    event.event_time.FromDatetime(datetime.fromtimestamp(at, UTC))
    return event


def _signal(number: int, name: str, at: int) -> HistoryEvent:
    event = _event(number, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, at)
    event.workflow_execution_signaled_event_attributes.signal_name = name
    return event


def _activity(number: int, name: str, at: int) -> list[HistoryEvent]:
    scheduled = _event(number, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, at)
    scheduled.activity_task_scheduled_event_attributes.activity_type.name = name
    completed = _event(number + 1, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, at + 1)
    completed.activity_task_completed_event_attributes.scheduled_event_id = number
    return [scheduled, completed]


def test_a_history_tells_when_it_was_told_and_when_the_router_confirmed_last() -> None:
    canary = evidence.read_canary(
        "canary/ledger",
        [
            *_activity(1, APPLY, at=10),
            _signal(3, SIGNAL_ALERT, at=20),
            _signal(4, SIGNAL_ORDER_ROLLBACK, at=30),
            _signal(5, SIGNAL_ORDER_ROLLBACK, at=35),
            *_activity(6, APPLY, at=40),
            *_activity(8, READ, at=50),
            _event(10, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, 60),
        ],
    )
    assert canary == Canary(
        service="ledger",
        signals={SIGNAL_ALERT: 20_000.0, SIGNAL_ORDER_ROLLBACK: 30_000.0},
        written=41_000.0,
        ended=60_000.0,
    )


@pytest.mark.parametrize(
    ("told", "written", "wrong"),
    [
        (50.0, 40.0, []),
        (30.0, 40.0, ["ledger before payments"]),
        (None, 40.0, ["ledger before payments"]),
        (30.0, None, []),  # payments never had traffic
    ],
)
def test_a_service_goes_back_after_those_that_depend_on_it(
    told: float | None, written: float | None, wrong: list[str]
) -> None:
    signals = {} if told is None else {SIGNAL_ORDER_ROLLBACK: told}
    found = {
        "ledger": Canary("ledger", signals, 60.0, 70.0),
        "payments": Canary("payments", {SIGNAL_ORDER_ROLLBACK: 10.0}, written, 80.0),
    }
    depends_on = {"payments": ("ledger",), "ledger": (), "checkout": ("payments",)}
    assert evidence.out_of_order(found, depends_on) == wrong


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route.split(service="cart", stable="1.0"), {"cart@1~0": 10_000}),
        (
            Route.split(service="cart", stable="1.0", canary="2.0", weight=25),
            {"cart@1~0": 7_500, "cart@2~0": 2_500},
        ),
        (
            Route.split(service="cart", stable="1.0", canary="2.0", weight=100),
            {"cart@1~0": 0, "cart@2~0": 10_000},
        ),
    ],
)
def test_envoys_configuration_is_read_by_pool(route: Route, expected: dict[str, int]) -> None:
    config = {"virtual_hosts": [virtual_host(route, local_domains)]}
    assert weights_in(config, "cart") == expected
    assert weights_in(config, "ledger") == {}


def test_alone_means_that_no_other_pool_has_any_weight() -> None:
    assert evidence.serves_only({"cart@2~0": 10_000, "cart@1~0": 0}, "cart", "2.0")
    assert not evidence.serves_only({"cart@2~0": 9_999, "cart@1~0": 1}, "cart", "2.0")
    assert not evidence.serves_only({}, "cart", "2.0")
