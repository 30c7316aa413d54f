"""The hash chain of a release, as a real server and real workers make it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aviary.audit.verify import Audit
from aviary.history.fetch import fetch_events, fetch_timeline
from aviary.report.folder import ReportFolder
from schemas.event_data import DATA
from schemas.events import CloudEvent
from schemas.ids import SIGNAL_PAUSE, SIGNAL_RESUME
from schemas.release import Command, ReleasePhase
from tests.workflows.kit import World, eventually
from tests.workflows.kit.audit import audits_of
from tests.workflows.test_long_histories import first_run, until_another_run
from tests.workflows.test_long_histories import world as world  # noqa: PLC0414 - a fixture

SERIES = {
    "began_at": "2026-03-04T10:00:00Z",
    "at": [0, 15.5],
    "needed": 2,
    "metrics": {
        "errors": {
            "streams": [
                {"bad_canary": [0, 1], "canary": [0, 50], "bad_stable": [0, 2], "stable": [0, 950]}
            ]
        }
    },
}


def audit_of(events: Sequence[CloudEvent]) -> Audit:
    (audit,) = audits_of(events)
    return audit


def said(events: Sequence[CloudEvent], kind: str) -> list[dict[str, Any]]:
    return [one.data for one in events if one.type == f"dev.aviary.{kind}.v1"]


async def test_one_chain_over_a_rollback_and_runs_that_went_on_in_others(
    world: World, tmp_path: Path
) -> None:
    """What canaries decide in several runs of theirs is told once each, and all of it is linked."""
    ledger = world.service("ledger")
    world.judge.blocked.add((ledger, 50))
    world.judge.series = SERIES
    release = await world.release({"ledger": [], "payments": ["ledger"]})
    await release.until(ledger="baking")
    await eventually(lambda: any(one.weight == 50 for one in world.judge.requests))
    run = await first_run(release, "ledger")
    await release.canary("ledger").signal(SIGNAL_PAUSE, Command(by="ann", reason="lunch"))
    await release.canary("ledger").signal(SIGNAL_RESUME, Command(by="ann"))
    await until_another_run(release, "ledger", run)
    await release.alert("ledger")
    status = await release.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    events = world.log.events
    audit = audit_of(events)
    assert audit.whole, audit.found
    assert audit.ended
    assert status.audit is not None
    assert (audit.links, audit.head) == (status.audit.links, status.audit.head)
    assert said(events, "release.rolledback")[0]["links"] == audit.links
    decided = said(events, "decision.made")
    assert len({(one["service"], one["decision"]["number"]) for one in decided}) == len(decided)
    did = [one["decision"]["did"] for one in decided if one["service"] == ledger]
    assert {"paused", "resumed", "back"} <= set(did)
    assert said(events, "evidence.measured")[0]["weight"] == 10
    assert said(events, "evidence.measured")[0]["series"]["at"] == [0.0, 15.5]
    for one in events:
        DATA[one.type].model_validate(one.data)
    await file_is_the_same_chain(world, status.release, audit, tmp_path)


async def file_is_the_same_chain(world: World, release: str, audit: Audit, tmp_path: Path) -> None:
    folder = ReportFolder(
        tmp_path,
        partial(fetch_timeline, world.client),
        events=partial(fetch_events, world.client),
    )
    await folder.write(release)
    lines = (tmp_path / f"{release}.audit.jsonl").read_text().splitlines()
    again = audit_of([CloudEvent.model_validate_json(one) for one in lines])
    assert (again.whole, again.links, again.head) == (True, audit.links, audit.head)
    assert audit.head in (tmp_path / f"{release}.html").read_text()
    assert json.loads(lines[-1])["chaindigest"] == audit.head
