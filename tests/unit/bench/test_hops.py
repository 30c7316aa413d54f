"""How a run is split into hops, from what histories and Envoy's log say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from activities.judge import JUDGE
from activities.traffic import APPLY
from bench import faults, restoring
from bench.rollback_order import last_end
from bench.seen import Call
from schemas.ids import SIGNAL_ALERT

BEGAN = 1_700_000_000.0


class History:
    """A history, event by event; moments are seconds since `BEGAN`."""

    def __init__(self) -> None:
        self.events: list[HistoryEvent] = []

    def add(self, kind: str, at: float) -> HistoryEvent:
        event = HistoryEvent(
            event_id=len(self.events) + 1, event_type=EventType.Value(f"EVENT_TYPE_{kind}")
        )
        event.event_time.FromDatetime(datetime.fromtimestamp(BEGAN + at, UTC))
        self.events.append(event)
        return event

    def signal(self, at: float) -> None:
        event = self.add("WORKFLOW_EXECUTION_SIGNALED", at)
        event.workflow_execution_signaled_event_attributes.signal_name = SIGNAL_ALERT

    def activity(self, name: str, scheduled: float, started: float, completed: float) -> None:
        first = self.add("ACTIVITY_TASK_SCHEDULED", scheduled)
        first.activity_task_scheduled_event_attributes.activity_type.name = name
        begun = self.add("ACTIVITY_TASK_STARTED", started)
        begun.activity_task_started_event_attributes.scheduled_event_id = first.event_id
        ended = self.add("ACTIVITY_TASK_COMPLETED", completed)
        ended.activity_task_completed_event_attributes.scheduled_event_id = first.event_id


def test_an_alert_is_split_by_its_signal_and_the_next_write() -> None:
    history = History()
    history.activity(APPLY, 0, 0.1, 0.2)  # to the canary
    history.signal(2.004)
    history.activity(APPLY, 2.010, 2.015, 2.050)
    calls = [Call(BEGAN + at, "target", version, 200) for at, version in ((2.02, "b"), (2.03, "a"))]
    found = restoring.moments(history.events, APPLY, calls, BEGAN + 2, BEGAN + 2.001, BEGAN + 2.003)
    hops = found.hops()
    assert [round(hops[hop]) for hop in restoring.HOPS] == [1, 3, 6, 5, 5]
    assert round(hops[restoring.CONFIRMED]) == 30
    assert round(hops[restoring.DELIVERED]) == 2
    assert round(found.restored) == 20


def test_a_write_counts_when_it_ended_last() -> None:
    history = History()
    history.activity(APPLY, 0, 1, 2)
    history.activity("other", 3, 4, 5)
    assert last_end(history.events, APPLY) == pytest.approx(BEGAN + 2)
    assert not last_end(history.events, "never")


def split(history: History, alert: float | None) -> faults.Took:
    at = BEGAN + 10
    told = BEGAN + alert if alert is not None else None
    return faults.split(history.events, told, at=at, seen=at + 0.5, last=BEGAN + 14.5)


def test_a_fault_that_the_judge_finds_is_detected_when_it_has_ended() -> None:
    history = History()
    history.activity(APPLY, 0, 0.1, 0.2)
    history.activity(JUDGE, 1, 1, 13)
    history.activity(APPLY, 14, 14.1, 15)
    took = split(history, None)
    assert (took.detected, took.decided, took.restored) == pytest.approx((3000, 1000, 500))
    assert (took.seen, took.writes, took.total) == pytest.approx((500, 1, 4500))


def test_a_fault_that_an_alert_finds_is_detected_by_alertmanager() -> None:
    history = History()
    history.activity(APPLY, 0, 0.1, 0.2)
    history.signal(12.5)
    history.activity(APPLY, 13, 14.1, 15)
    history.signal(13.5)
    took = split(history, 12)
    assert (took.detected, took.decided, took.restored) == pytest.approx((2000, 1000, 1500))


def test_two_ways_back_are_two_writes() -> None:
    history = History()
    history.signal(12)
    history.activity(APPLY, 13, 14, 15)
    history.activity(APPLY, 16, 17, 18)
    assert split(history, 11).writes == 2
