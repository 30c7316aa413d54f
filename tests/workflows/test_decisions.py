"""What a canary heard, and what each did, is recorded when it is decided."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.alert import Alert, AlertStatus
from schemas.decisions import DECISIONS_MOST, NEWEST, Did, Heard
from schemas.ids import SIGNAL_ALERT, SIGNAL_RESUME, SIGNAL_ROLLBACK
from schemas.release import CanaryOutcome, Command, ReleasePhase
from schemas.verdict import VerdictKind
from tests.workflows.kit import Release, World, eventually

HOLD = {"steps": [50], "soak": "1h"}


def alert(name: str, severity: str, status: AlertStatus = AlertStatus.FIRING) -> Alert:
    labels = {"alertname": name, "severity": severity}
    return Alert(status=status, fingerprint=name, labels=labels, starts_at=datetime.now(UTC))


async def outcome(release: Release, service: str) -> CanaryOutcome:
    canary = release.world.client.get_workflow_handle(
        release.canary(service).id, result_type=CanaryOutcome
    )
    ended: CanaryOutcome = await canary.result()
    return ended


async def test_alerts_commands_and_orders_are_recorded_with_what_they_did(world: World) -> None:
    release = await world.release({"a": []}, strategy=HOLD)
    await release.until(a="holding")
    canary = release.canary("a")
    await canary.signal(SIGNAL_ALERT, alert("Slow", "warning"))
    await canary.execute_update(SIGNAL_RESUME, Command(by="ann", reason="known"))
    await canary.signal(SIGNAL_ALERT, alert("Old", "critical", AlertStatus.RESOLVED))
    await canary.signal(SIGNAL_ALERT, alert("Errors", "critical"))
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK

    told = (await outcome(release, "a")).decisions
    assert [(one.heard, one.did, one.name) for one in told] == [
        (Heard.ALERT, Did.PAUSED, "Slow"),
        (Heard.COMMAND, Did.RESUMED, "resume"),
        (Heard.ALERT, Did.RECORDED, "Old"),
        (Heard.ALERT, Did.TOLD, "Errors"),
        (Heard.ORDER, Did.BACK, ""),
    ]
    assert told[1].by == "ann"
    assert told[1].text == "resumed by ann: known"
    assert "Slow" in told[0].identity
    assert all(one.text for one in told)


async def test_a_verdict_is_recorded(world: World) -> None:
    world.judge.says[(world.service("a"), 50)] = VerdictKind.FAIL
    release = await world.release({"a": []}, strategy={"steps": [50], "bake": "1m"})
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    (first, *_) = (await outcome(release, "a")).decisions
    assert (first.heard, first.did) == (Heard.VERDICT, Did.BACK)
    assert "FAIL" in first.text


async def test_the_record_is_bounded(world: World) -> None:
    release = await world.release({"a": []}, strategy=HOLD)
    await release.until(a="holding")
    for number in range(DECISIONS_MOST + 10):
        await release.canary("a").signal(SIGNAL_ALERT, alert("x" * 500 + str(number), "info"))

    async def heard() -> bool:
        return (await release.canary_status("a")).alerts_seen == DECISIONS_MOST + 10

    await eventually(heard)
    status = await release.canary_status("a")
    assert len(status.decisions) == DECISIONS_MOST
    assert len(status.model_dump_json()) < 100_000
    assert NEWEST < DECISIONS_MOST
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()
