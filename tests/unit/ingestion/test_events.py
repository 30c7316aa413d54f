from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter
from temporalio.contrib.pydantic import pydantic_data_converter

from schemas.event_kinds import EventType
from schemas.events import CloudEvent, event
from schemas.release import CanaryPhase, ReleasePhase

AT = datetime(2026, 1, 1, 10, tzinfo=UTC)
SILENT = {"waiting", "shifting", "in_step", "verifying", "finalizing", "skipped"}


def _event(sequence: int = 3) -> CloudEvent:
    return event(
        "canary/checkout",
        sequence,
        EventType.CANARY_HOLDING,
        release="shop-42",
        subject="checkout",
        time=AT,
        data={"weight": 100.0, "cause": None},
    )


def test_on_the_wire() -> None:
    assert json.loads(_event().wire()) == {
        "specversion": "1.0",
        "type": "dev.aviary.canary.holding.v1",
        "source": "/aviary/release/shop-42",
        "id": "canary/checkout/3",
        "time": "2026-01-01T10:00:00Z",
        "subject": "checkout",
        "datacontenttype": "application/json",
        "partitionkey": "shop-42",
        "data": {"weight": 100.0, "cause": None},
    }


def test_the_same_step_is_the_same_event() -> None:
    assert _event() == _event()
    assert _event(4).id != _event(3).id


def test_a_negative_sequence_is_an_error() -> None:
    with pytest.raises(ValueError, match="sequence: got -1"):
        _event(-1)


async def test_it_survives_the_way_to_an_activity() -> None:
    [payload] = await pydantic_data_converter.encode([_event()])
    assert await pydantic_data_converter.decode([payload], [CloudEvent]) == [_event()]


def test_every_phase_has_its_event() -> None:
    told = [phase.about.event for phase in (*ReleasePhase, *CanaryPhase) if phase.about.event]
    assert len(set(told)) == len(told)
    assert {phase for phase in CanaryPhase if phase.about.event is None} == SILENT
    words = [phase.replace("_", "") for phase in CanaryPhase if phase not in SILENT]
    named = {f"dev.aviary.canary.{word}.v1" for word in words}
    assert {phase.about.event for phase in CanaryPhase} - {None} == named


def test_every_type_is_told_by_something() -> None:
    others = {
        EventType.RELEASE_PAUSED,
        EventType.RELEASE_RESUMED,
        EventType.CANARY_SHIFTED,
        EventType.CANARY_JUDGED,
        EventType.CANARY_CHANGED,
        EventType.DRIFT_FOUND,
        EventType.DEPLOY_STALE,
        EventType.ALERT_STALE,
        EventType.ALERT_UNMATCHED,
        EventType.DECISION_MADE,
        EventType.EVIDENCE_MEASURED,
    }
    phases = {phase.about.event for phase in (*ReleasePhase, *CanaryPhase)} - {None}
    assert phases | others == set(EventType)


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(ValueError, match="type"):
        TypeAdapter(CloudEvent).validate_python(_event().model_dump() | {"type": "dev.other"})
