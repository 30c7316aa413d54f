"""The timeline says of alerts, commands and foreign changes what the canary recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHistory

from aviary.cli.explain import Explanation
from aviary.history.timeline import build
from aviary.report.tables import alerts_table
from schemas.decisions import DecisionRecord, Did, Heard
from schemas.event_kinds import MomentKind
from schemas.timeline import Moment, Timeline
from tests.unit.history import recorded

SCENARIO = "alert_during_a_bake"
Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def payloads(history: WorkflowHistory) -> Iterable[Payload]:
    """All that a history carries, to be changed in place."""
    for event in history.events:
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        for name in {"input", "result"}.intersection(attributes.DESCRIPTOR.fields_by_name):
            yield from getattr(attributes, name).payloads


def rewritten(history: WorkflowHistory, change: Change) -> WorkflowHistory:
    """The same history, had its canary recorded something else."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            found = {key: walk(inner) for key, inner in value.items()}
            if "decisions" in found:
                found["decisions"] = change(found["decisions"])
            return found
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    for payload in payloads(history):
        payload.data = json.dumps(walk(json.loads(payload.data or b"null"))).encode()
    return history


def timeline(change: Change, *, alone: bool = False) -> Timeline:
    canaries = {} if alone else recorded.canaries(SCENARIO)
    changed = {run_id: rewritten(one, change) for run_id, one in canaries.items()}
    return build(rewritten(recorded.release(SCENARIO), change), changed)


def alerts(found: Timeline) -> list[Moment]:
    return [one for one in found.moments if one.kind is MomentKind.ALERT]


def shown(found: Timeline) -> str:
    """What people read, in the terminal and in the report."""
    lines = "\n".join(line.plain for line in Explanation(200).lines(found))
    return f"{lines}\n{alerts_table(found) or ''}"


def of_alerts(did: Did, text: str) -> Change:
    """A change of what was recorded of alerts."""
    return lambda records: [
        one | ({"did": did.value, "text": text} if one["heard"] == "alert" else {})
        for one in records
    ]


@pytest.mark.parametrize("did", list(Did))
@pytest.mark.parametrize("alone", [False, True])
def test_an_alert_did_what_is_recorded_whatever_the_catalog_says_of_it(
    did: Did, *, alone: bool
) -> None:
    """The plan of this release has such an alert take it back, and it was critical."""
    found = timeline(of_alerts(did, "a sentence that no rule makes"), alone=alone)
    (told,) = alerts(found)
    assert told.did is did
    assert told.text.startswith("a sentence that no rule makes")
    assert "a sentence that no rule makes" in shown(found)


def test_an_alert_of_which_nothing_is_recorded_was_no_news() -> None:
    """As one that preflight was told to let by."""
    found = timeline(lambda records: [one for one in records if one["heard"] != "alert"])
    assert alerts(found) == []


def test_what_a_full_record_may_have_dropped_is_told_as_heard_only() -> None:
    other = {"at": "2999-01-01T00:00:00Z", "heard": "command", "did": "kept", "text": "another"}
    found = timeline(lambda _: [other] * 50)
    (told,) = alerts(found)
    assert told.did is None
    assert told.alert is not None
    assert "(what that did is not recorded yet)" in told.text
    assert "firing: what that did is not recorded yet" in shown(found)


def test_a_canary_that_runs_is_asked_for_what_it_has_not_told_yet() -> None:
    whole = recorded.canaries(SCENARIO)
    heard = {run_id: _alerted(one) for run_id, one in whole.items()}
    (run_id,) = (one for one, at in heard.items() if at)
    there = {run_id: recorded.cut(whole[run_id], heard[run_id])}
    release = recorded.release(SCENARIO)
    (before,) = alerts(build(release, there))
    assert before.alert is not None
    assert before.did is None
    known = DecisionRecord(
        at=before.at,
        heard=Heard.ALERT,
        did=Did.RECORDED,
        identity=before.alert.identity,
        text="it was asked",
    )
    (after,) = alerts(build(release, there, asked={run_id: (known,)}))
    assert (after.did, after.text) == (Did.RECORDED, "it was asked")


def _alerted(history: WorkflowHistory) -> int:
    """How many events there are up to the first alert; 0 without one."""
    for count, event in enumerate(history.events, 1):
        if event.workflow_execution_signaled_event_attributes.signal_name.startswith("alert"):
            return count
    return 0
