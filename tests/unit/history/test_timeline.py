"""The timeline of a release, read from recorded histories."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise

import pytest
from temporalio.client import WorkflowHistory

from activities.judge import JUDGE
from aviary.cli.explain import Explanation
from aviary.history.reports import moments_told
from aviary.history.timeline import build
from schemas.decisions import Did
from schemas.event_kinds import MomentKind
from schemas.live import Live
from schemas.release import CanaryPhase, CanaryReport, CauseKind, ReleasePhase
from schemas.timeline import Moment, Timeline
from schemas.verdict import VerdictKind
from tests.unit.cli.looks import live
from tests.unit.history import recorded

SCENARIOS = [
    "healthy",
    "judged_bad",
    "alert_during_a_bake",
    "alert_while_holding",
    "told_by_a_person",
    "cancelled",
    "queued",
    "in_step",
]
K = MomentKind


def timeline(scenario: str) -> Timeline:
    return build(recorded.release(scenario), recorded.canaries(scenario))


def of(found: Timeline, service: str) -> list[Moment]:
    """The moments of the service whose name begins like this."""
    return [one for one in found.moments if (one.service or "").startswith(service)]


def kinds(moments: list[Moment]) -> list[MomentKind]:
    return [one.kind for one in moments]


def until(history: WorkflowHistory, at: datetime) -> WorkflowHistory:
    """What was there of a canary's history at a time, and at least that it began."""
    there = sum(event.event_time.ToDatetime() <= at for event in history.events)
    return recorded.cut(history, max(there, 1))


def only(moments: list[Moment] | tuple[Moment, ...], kind: MomentKind) -> Moment:
    (found,) = [one for one in moments if one.kind is kind]
    return found


def test_a_healthy_release_from_start_to_end() -> None:
    found = timeline("healthy")
    assert (found.phase, found.execution, found.cause) == (
        ReleasePhase.FINALIZED,
        "completed",
        None,
    )
    assert found.finished_at is not None
    assert found.unseen == ()
    assert kinds([one for one in found.moments if one.service is None]) == [
        K.STARTED,
        K.ADMITTED,
        K.FINALIZING,
        K.FINALIZED,
    ]
    ledger = of(found, "ledger")
    assert kinds(ledger) == [
        K.BEGUN,
        K.SHIFTED,
        K.BAKING,
        K.JUDGED,
        K.SHIFTED,
        K.BAKING,
        K.JUDGED,
        K.SHIFTED,
        K.HOLDING,
        K.SHIFTED,
        K.FINALIZED,
    ]
    weights = [one.weight for one in ledger if one.kind is K.SHIFTED]
    assert weights == [10, 50, 100, 100]
    assert [one.step for one in ledger if one.kind is K.SHIFTED] == [0, 1, 2, None]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_moments_are_in_order_and_services_in_that_of_dependencies(scenario: str) -> None:
    found = timeline(scenario)
    assert all(one.at <= other.at for one, other in pairwise(found.moments))
    assert tuple(found.services) == tuple(name for stage in found.plan.stages for name in stage)
    assert Timeline.model_validate_json(found.model_dump_json()) == found


def test_a_bad_canary_takes_the_release_back_with_its_verdict_as_the_cause() -> None:
    found = timeline("judged_bad")
    assert found.phase is ReleasePhase.ROLLED_BACK
    assert found.cause is not None
    assert found.cause.kind is CauseKind.VERDICT
    payments = of(found, "payments")
    verdicts = [one.verdict.kind for one in payments if one.verdict is not None]
    assert verdicts == [VerdictKind.PASS, VerdictKind.FAIL]
    back = only(found.moments[:-1], K.ROLLBACK)
    assert back.cause == found.cause
    restored = [one for one in found.moments if one.kind is K.RESTORED]
    assert [(one.service or "").split("-")[0] for one in restored] == ["payments", "ledger"]
    assert {one.weight for one in restored} == {0}
    assert {service.weight for service in found.services.values()} == {0}


@pytest.mark.parametrize(
    ("scenario", "did", "words"),
    [
        ("alert_during_a_bake", Did.BACK, ": it goes back"),
        ("alert_while_holding", Did.TOLD, ": its release is told"),
    ],
)
def test_an_alert_is_told_with_what_it_did(scenario: str, did: Did, words: str) -> None:
    found = timeline(scenario)
    told = only(found.moments, K.ALERT)
    assert told.did is did
    assert told.alert is not None
    assert told.alert.name == "Errors"
    assert told.alert.labels["severity"] == "critical"
    assert words in told.text
    assert found.cause is not None
    assert found.cause.kind is CauseKind.ALERT


def test_who_pressed_what_is_told_once_though_it_is_handed_on() -> None:
    found = timeline("told_by_a_person")
    said = [one for one in found.moments if one.by]
    assert kinds(said) == [K.PAUSED, K.SKIPPED_BAKE, K.APPROVED, K.RESUMED]
    assert {(one.by, one.reason) for one in said} == {("ann", "recorded")}
    gated = only(found.moments, K.GATED)
    assert "waits for approval: go on?" in gated.text
    assert gated.at < said[2].at


def test_a_release_with_a_group_says_who_waited_for_whom() -> None:
    found = timeline("in_step")
    waits = [one for one in found.moments if one.kind is K.IN_STEP]
    seat, travel = sorted(found.services)
    assert [one.service for one in waits if one.step == 0] == [seat, travel]
    assert [one.service for one in waits if one.step == 1] == [travel, seat]
    assert f"its group ({seat}) to have ended step 2 of 3" in waits[2].text
    explained = "\n".join(line.plain for line in Explanation(200).lines(found))
    assert f"in step with {travel}: finalized" in explained


def test_a_queued_release_says_what_it_waited_for() -> None:
    found = timeline("queued")
    assert kinds(list(found.moments[:3])) == [K.STARTED, K.QUEUED, K.ADMITTED]
    assert "to end (it has ledger-" in found.moments[1].text


def test_a_cancelled_release_says_so_before_it_goes_back() -> None:
    found = timeline("cancelled")
    assert found.cause is not None
    assert found.cause.kind is CauseKind.CANCELLED
    cancelled, back = only(found.moments, K.CANCELLED), only(found.moments, K.ROLLBACK)
    assert cancelled.at <= back.at
    assert cancelled.by


def test_judgings_have_their_weights_bakes_and_verdicts() -> None:
    (service,) = timeline("told_by_a_person").services.values()
    assert [one.weight for one in service.judgings] == [10, 10, 10, 50, 100]
    assert [one.bake_max is not None for one in service.judgings] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert all(one.ended_at and one.ended_at >= one.began_at for one in service.judgings)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_the_canaries_histories_the_release_tells_the_rest(scenario: str) -> None:
    whole, found = timeline(scenario), build(recorded.release(scenario), {})
    assert len(found.unseen) == len(recorded.canaries(scenario))
    assert (found.phase, found.cause) == (whole.phase, whole.cause)
    for name, service in whole.services.items():
        assert found.services[name].phase is service.phase
        assert found.services[name].weight == service.weight
        assert [run.seen for run in found.services[name].runs] == [False]
        told = {one.weight for one in found.of(name) if one.kind is K.SHIFTED}
        assert told, "what it told the release has its weights"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_release_that_runs_can_be_read_at_any_moment(scenario: str) -> None:
    release, canaries = recorded.release(scenario), recorded.canaries(scenario)
    whole = build(release, canaries)
    known = {(one.kind, one.service, one.text) for one in whole.moments}
    for events in {*range(1, len(release.events), 11), len(release.events)}:
        at = release.events[events - 1].event_time.ToDatetime()
        then = {run_id: until(history, at) for run_id, history in canaries.items()}
        found = build(recorded.cut(release, events), then)
        assert found.execution == ("completed" if events == len(release.events) else "running")
        told = {(one.kind, one.service, one.text) for one in found.moments}
        assert {one for one in told - known if one[0] is not K.ROLLBACK} <= {
            (one.kind, one.service, one.text)
            for one in found.moments
            if one.kind is K.ALERT and one.did is None  # it has not recorded yet what that did
        }


def test_what_a_bake_has_seen_so_far_is_beside_it() -> None:
    canaries = recorded.canaries("told_by_a_person")
    ((run_id, history),) = canaries.items()
    judged = [i for i, e in enumerate(history.events) if b"aviary.judge" in e.SerializeToString()]
    cut = {run_id: recorded.cut(history, judged[0] + 1)}
    seen: dict[str, Live] = {run_id: live()}
    found = build(recorded.cut(recorded.release("told_by_a_person"), 35), cut, seen)
    (service,) = found.services.values()
    assert service.phase is CanaryPhase.BAKING
    assert service.judgings[-1].ended_at is None
    assert service.judgings[-1].live == live()


def test_a_report_with_fields_of_a_newer_version_is_read() -> None:
    release = recorded.release("healthy")
    for event in release.events:
        payloads = event.workflow_execution_signaled_event_attributes.input.payloads
        for payload in payloads:
            data = json.loads(payload.data) if payload.data else None
            if isinstance(data, dict) and "sequence" in data:
                payload.data = json.dumps({**data, "mood": "good"}).encode()
    assert build(release, {}).phase is ReleasePhase.FINALIZED


def test_a_judge_that_was_told_to_stop_and_said_nothing_more_was_stopped() -> None:
    scenario = "alert_during_a_bake"
    canaries = recorded.canaries(scenario)
    for run_id, history in canaries.items():
        judges = {
            event.event_id
            for event in history.events
            if event.activity_task_scheduled_event_attributes.activity_type.name == JUDGE
        }
        kept = [
            event
            for event in history.events
            if event.activity_task_completed_event_attributes.scheduled_event_id not in judges
        ]
        canaries[run_id] = WorkflowHistory(workflow_id=history.workflow_id, events=kept)
    for service in build(recorded.release(scenario), canaries).services.values():
        last = service.judgings[-1]
        assert last.stopped
        assert last.verdict is None
        assert last.ended_at is not None
        assert service.runs[-1].ended_at is not None
        assert last.ended_at < service.runs[-1].ended_at


@pytest.mark.parametrize("alone", [False, True])
def test_it_goes_back_once_however_often_the_first_write_fails(*, alone: bool) -> None:
    """What it waits for is other words once it is known why the router does not confirm."""
    found = timeline("judged_bad")
    [service] = [name for name in found.services if name.startswith("ledger")]
    plan = found.services[service].plan
    words = ["the router to confirm", "the router: Read-only file system", "the router, still"]
    reports = [
        CanaryReport(
            service=service,
            sequence=number,
            phase=CanaryPhase.ROLLING_BACK,
            weight=5,
            waits_for=text,
            at=found.started_at,
        )
        for number, text in enumerate(words)
    ]
    told = moments_told(plan, reports, alone=alone)
    assert [one.text for one in told].count(f"{service} goes back") == 1
