"""A canary that went on in another run: what that one was told is part of the timeline."""

from __future__ import annotations

import json
from typing import Any

from temporalio.client import WorkflowHistory

from aviary.history.canary import CanaryReader
from aviary.history.events import first, read
from schemas.alert import Alert
from schemas.event_kinds import MomentKind
from schemas.release import CanaryState, ReleaseInput
from schemas.timeline import Moment
from tests.unit.history import recorded

SCENARIO = "alert_while_holding"


def alerted(**state: Any) -> list[Moment]:
    """The alerts of the run that an alert reached, had it been continued with this state."""
    (ledger,) = (one for one in recorded.canaries(SCENARIO).values() if b'"alert' in _signals(one))
    begin = first(
        recorded.release(SCENARIO).events[0].workflow_execution_started_event_attributes.input
    )
    plan = ReleaseInput.model_validate(begin).plan
    started = ledger.events[0].workflow_execution_started_event_attributes.input.payloads[0]
    data = json.loads(started.data)
    data["resume"] = _state(**state)
    started.data = json.dumps(data).encode()
    kept = [event for event in ledger.events if b"traffic.apply" not in event.SerializeToString()]
    events = read(WorkflowHistory(workflow_id=ledger.workflow_id, events=kept))
    reader = CanaryReader(plan.services[data["plan"]["service"]], ledger.run_id, events)
    return [one for one in reader.moments() if one.kind is MomentKind.ALERT]


def _signals(history: WorkflowHistory) -> bytes:
    names = [
        event.workflow_execution_signaled_event_attributes.signal_name for event in history.events
    ]
    return json.dumps(names).encode()


def _state(**over: Any) -> dict[str, Any]:
    fields = CanaryState.model_fields
    empty = {name: None for name, field in fields.items() if field.is_required()}
    known = {
        "phase": "holding",
        "at": 9,
        "sequence": 5,
        "weight": 100,
        "touched": [2],
        "first": False,
        "alerted": False,
        "let_by": False,
        "overrule": False,
        "decisions": [],
        "alerts": [],
        "alerts_seen": 0,
        "go_on": 0,
        "approved": False,
        "skip": False,
        "finalize": False,
    }
    return {**empty, **known, **over}


def test_an_alert_that_an_earlier_run_has_heard_is_not_told_again() -> None:
    (found,) = alerted(began_at="2026-01-01T00:00:00Z")
    assert isinstance(found.alert, Alert)
    assert alerted(began_at="2026-01-01T00:00:00Z", alerts=[found.alert.identity]) == []
