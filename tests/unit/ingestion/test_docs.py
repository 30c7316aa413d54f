"""docs/reference/events.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from aviary.bridge.metrics import BridgeMetrics, Outcome
from schemas.deploy import parse_deploy
from schemas.event_kinds import EventType
from schemas.rejection import RejectReason

TEXT = (Path(__file__).parents[3] / "docs/reference/events.md").read_text()


def test_its_events_are_accepted() -> None:
    found = [
        parse_deploy(text.encode()) for text in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    ]
    assert [event.deploy.services[0].version for event in found] == ["1.4.2", "1.4.2"]


def test_it_names_every_type_reason_and_outcome() -> None:
    rows = set(re.findall(r"^\| `([a-z_.0-9]+)` \|", TEXT, re.MULTILINE))
    assert {kind.value for kind in EventType} <= rows
    assert {reason.value for reason in RejectReason} <= rows
    types = {row for row in rows if row.startswith("dev.aviary.")}
    assert types - {kind.value for kind in EventType} == set()
    assert all(f"`{outcome.value}`" in TEXT for outcome in Outcome)


def test_it_names_every_metric_of_the_bridge() -> None:
    registry = CollectorRegistry()
    BridgeMetrics(registry)
    assert all(f"`{metric.name}" in TEXT for metric in registry.collect())
