"""`release explain` in words, at several widths."""

from __future__ import annotations

import re
from datetime import UTC, timedelta

import pytest
from rich.console import Console, Group

from aviary.cli.explain import Explanation, folded_moments
from aviary.history.timeline import build
from schemas.alert import Alert, AlertStatus
from schemas.event_kinds import MomentKind
from schemas.timeline import Moment, Timeline
from schemas.verdict import Counts, MetricEvidence, Reason, Verdict, VerdictKind
from tests.unit.cli import looks
from tests.unit.history import recorded


def timeline(scenario: str, *, canaries: bool = True) -> Timeline:
    """A recorded release, its services named as the scenario calls them."""
    found = recorded.canaries(scenario) if canaries else {}
    return build(recorded.release(scenario), found)


def written(found: Timeline, width: int) -> list[str]:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(Group(*Explanation(width, UTC).lines(found)))
    return [line.rstrip() for line in captured.get().splitlines()]


def errors(canary: Counts, stable: Counts, *, e_value: float = 1, note: str = "") -> MetricEvidence:
    return MetricEvidence(
        name="errors",
        canary=canary,
        stable=stable,
        e_value=e_value,
        threshold=20,
        upper_bound=0.08,
        tolerance=0.005,
        intervals=4,
        since=looks.START,
        until=looks.NOW,
        note=note,
    )


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("scenario", ["judged_bad", "told_by_a_person", "alert_while_holding"])
def test_no_line_is_wider_than_asked_for(scenario: str, width: int) -> None:
    lines = written(timeline(scenario), width)
    assert max(len(line) for line in lines) <= width
    assert lines == [
        line.plain.rstrip() for line in Explanation(width, UTC).lines(timeline(scenario))
    ]


def test_it_begins_with_how_it_ended_and_why() -> None:
    lines = written(timeline("judged_bad"), 160)
    assert lines[0].startswith("Release r-")
    assert re.search(r"was rolled back after \ds: payments-", lines[0])
    assert lines[1].startswith("  ledger-")
    assert lines[1].endswith(" 2, before 0: rolled back")
    assert ", after ledger-" in lines[2]


def test_every_moment_has_its_line_with_time_and_service() -> None:
    found = timeline("told_by_a_person")
    lines = written(found, 160)
    for moment in found.moments:
        head = f"{moment.at:%H:%M:%S}  {(moment.service or 'release')[:19]}"
        assert any(line.startswith(head) for line in lines), moment
    assert any("approved by ann: recorded" in line for line in lines)


def test_what_can_not_be_seen_is_said() -> None:
    text = " ".join(written(timeline("healthy", canaries=False), 80))
    assert "Not seen here:" in text
    assert "commands that were refused" in text
    assert text.count("is gone: its verdicts") == 2


def test_a_quiet_last_interval_does_not_hide_the_numbers() -> None:
    metric = errors(looks.counts(0, 119), looks.counts(0, 285), note="no new requests on canary")
    verdict = looks.verdict(VerdictKind.PASS, "good").model_copy(update={"metrics": (metric,)})
    found = timeline("healthy")
    moment = found.moments[-1].model_copy(update={"verdict": verdict})
    lines = written(found.model_copy(update={"moments": (moment,)}), 160)
    told = next(line for line in lines if line.strip().startswith("errors"))
    assert "(119 and 285 requests)" in told
    assert told.endswith("no new requests on canary")


def test_a_verdict_is_beside_its_evidence_and_an_alert_beside_its_labels() -> None:
    metric = errors(looks.counts(52, 1000), looks.counts(60, 20_000), e_value=25)
    failed = Verdict(
        kind=VerdictKind.FAIL,
        reason=Reason.WORSE_THAN_STABLE,
        sentence="it fails too often",
        metrics=(metric,),
        at=looks.NOW,
    )
    alert = Alert(
        status=AlertStatus.FIRING,
        fingerprint="f",
        labels={"alertname": "Errors", "severity": "page"},
        annotations={"summary": "too many errors"},
        starts_at=looks.START,
    )
    base = timeline("healthy")
    moments = (
        Moment(at=looks.NOW, kind=MomentKind.JUDGED, text=failed.sentence, verdict=failed),
        Moment(at=looks.NOW, kind=MomentKind.ALERT, text="alert Errors fired", alert=alert),
    )
    lines = written(base.model_copy(update={"moments": moments}), 160)
    assert any(line.endswith("FAIL: it fails too often") for line in lines)
    text = "\n".join(lines)
    assert "errors: 5.2 % against 0.3 % on stable (1,000 and 20,000 requests)" in text
    assert "odds 25 of 20; at most 8 % extra, 0.5 % will do" in text
    assert "since 2026-01-31 12:00:00 UTC; alertname=Errors, severity=page" in text
    assert "too many errors" in text


def test_a_release_that_runs_says_where_it_is() -> None:
    release = recorded.cut(recorded.release("healthy"), 40)
    lines = written(build(release, {}), 80)
    assert " is running" in lines[0]
    assert "And now:" in lines


def alerts(*names: str) -> tuple[Moment, ...]:
    return tuple(
        Moment(at=looks.START + timedelta(seconds=n), kind=MomentKind.ALERT, service="a", text=name)
        for n, name in enumerate(names)
    )


def test_the_same_alert_many_times_is_told_once_with_how_often_and_until_when() -> None:
    found = timeline("healthy").model_copy(update={"moments": alerts(*["X fires"] * 402)})
    lines = written(found, 100)
    assert sum("X fires" in line for line in lines) == 1
    assert any("the same 401 times more, until 2026-01-31 12:06:41" in line for line in lines)


def test_alerts_that_come_in_turns_are_folded_each_and_others_end_the_fold() -> None:
    end = Moment(at=looks.NOW, kind=MomentKind.HOLDING, service="a", text="holds")
    moments = (*alerts("X", "Y", "X", "Y", "X"), end, *alerts("X"))
    told = [(one.text, again.count if again else 0) for one, again in folded_moments(moments)]
    assert told == [("X", 2), ("Y", 1), ("holds", 0), ("X", 0)]


def test_nothing_that_happened_once_is_folded() -> None:
    found = timeline("told_by_a_person")
    assert [one for one, _ in folded_moments(found.moments)] == list(found.moments)
