"""Numbers of releases that really ran: what their recorded histories published."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.announce import PUBLISH
from aviary.numbers.dora import Dora, Outcome, measure
from aviary.numbers.told import Told
from schemas.phases import CanaryPhase, ReleasePhase
from tests.groups import ROOT

HISTORIES = ROOT / "tests/replay/histories"
ALWAYS = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def published(name: str) -> list[dict[str, Any]]:
    history = json.loads((HISTORIES / f"{name}.release.json").read_text())
    calls = [one.get("activityTaskScheduledEventAttributes", {}) for one in history["events"]]
    data = [
        json.loads(base64.b64decode(payload["data"]))
        for call in calls
        if call.get("activityType", {}).get("name") == PUBLISH
        for payload in call["input"]["payloads"]
    ]
    return [event for batch in data for event in batch["events"]]


def measured(name: str) -> Dora:
    told = Told()
    for event in published(name):
        told.take(event)
    return measure(told, *ALWAYS)


@pytest.mark.parametrize(
    ("name", "outcome", "cause"),
    [
        ("healthy", Outcome.DEPLOYED, ""),
        ("deployed", Outcome.DEPLOYED, ""),
        ("in_step", Outcome.DEPLOYED, ""),
        ("judged_bad", Outcome.ROLLED_BACK, "verdict"),
        ("alert_during_a_bake", Outcome.ROLLED_BACK, "alert"),
        ("alert_while_holding", Outcome.ROLLED_BACK, "alert"),
        ("cancelled", Outcome.ROLLED_BACK, "cancelled"),
    ],
)
def test_a_release_is_the_deployment_that_it_was(name: str, outcome: Outcome, cause: str) -> None:
    (found,) = measured(name).deployments
    assert (found.outcome, found.cause) == (outcome, cause)
    if outcome.failed:
        assert found.restored is not None
        assert 0 < found.restored.total_seconds() < 60


def test_one_without_instances_never_was_a_deployment() -> None:
    found = measured("not_ready")
    assert (found.deployments, found.unseen) == ((), 1)


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("told_by_a_person", CanaryPhase.GATED),
        ("told_by_a_person", CanaryPhase.PAUSED),
        ("in_step", CanaryPhase.IN_STEP),
        ("queued", ReleasePhase.QUEUED),
        ("healthy", CanaryPhase.BAKING),
    ],
)
def test_time_is_where_it_was_spent(name: str, phase: CanaryPhase | ReleasePhase) -> None:
    spent = {one.phase: one.seconds for one in measured(name).spent}
    assert spent[phase] > 0
