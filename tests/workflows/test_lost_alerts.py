"""What a canary does when alerts that may concern it were lost."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from schemas.alert import Alert, AlertStatus
from schemas.event_kinds import NoticeKind
from schemas.ids import SIGNAL_ALERTS, SIGNAL_PAUSE, SIGNAL_RESUME
from schemas.loss import Loss, LossReason
from schemas.release import CanaryPhase, Command, ReleasePhase
from tests.workflows.kit import Release, World, eventually

ANN = Command(by="ann", reason="nothing fires")


async def test_it_pauses_once_says_why_and_goes_on_when_told(world: World) -> None:
    release = await world.release({"a": []}, strategy={"steps": [50], "soak": "2s"})
    await release.until(a="holding")
    text = "body: larger than expected; " + "x" * 5000
    loss = Loss.at(time.time(), LossReason.TOO_LARGE, text, None)
    told = [loss.to_alert(world.service("a"), "service")] * 2
    await release.canary("a").signal(SIGNAL_ALERTS, told)
    await eventually(release.is_paused)
    waits_for = (await release.canary_status("a")).waits_for
    assert f"alerts that may concern {world.service('a')} were lost: body: larger" in waits_for
    await eventually(
        lambda: any(
            notice.kind is NoticeKind.WAITING and "were lost: body: larger" in notice.text
            for notice in world.notifier.notices
        )
    )
    await eventually(lambda: release.resumes(ANN))
    await release.canary("a").signal(SIGNAL_ALERTS, told)
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_loss_before_its_first_request_does_not_hide_the_next_one(world: World) -> None:
    service = world.service("a")
    labels = {"alertname": "Errors", "service": service}
    world.alerts.alerts = [
        Alert(
            status=AlertStatus.FIRING,
            fingerprint="f",
            labels=labels,
            starts_at=datetime.now(UTC),
        )
    ]
    release = await world.release({"a": []}, strategy={"steps": [50], "soak": "2s"})
    await eventually(lambda: release.waits_for("Errors"))
    loss = Loss.at(time.time(), LossReason.TRUNCATED, "cut short", None)
    told = [loss.to_alert(service, "service")]
    await release.canary("a").signal(SIGNAL_ALERTS, told)
    assert not (await release.canary_status("a")).paused
    world.alerts.alerts = []
    await release.until(a="holding")
    await release.canary("a").signal(SIGNAL_ALERTS, told)
    await eventually(release.is_paused)


async def test_an_alert_between_preflight_and_the_first_request_holds_the_canary_back(
    world: World,
) -> None:
    service = world.service("a")
    first, second = (_firing(service, name) for name in ("Errors", "Latency"))
    world.alerts.alerts = [first]
    release = await world.release({"a": []}, strategy={"steps": [50], "soak": "2s"})
    await eventually(lambda: release.waits_for("Errors"))
    await release.canary("a").signal(SIGNAL_PAUSE, ANN)
    world.alerts.alerts = []
    await eventually(lambda: release.waits_for("resume"))
    await eventually(lambda: _is_in(release, CanaryPhase.PAUSED))

    world.alerts.alerts = [second]
    await release.canary("a").signal(SIGNAL_ALERTS, [second])
    await release.canary("a").signal(SIGNAL_RESUME, ANN)

    await eventually(lambda: release.waits_for("Latency"))
    assert (await release.canary_status("a")).weight == 0
    world.alerts.alerts = []
    await release.until(a="holding")


def _firing(service: str, name: str) -> Alert:
    return Alert(
        status=AlertStatus.FIRING,
        fingerprint=name,
        labels={"alertname": name, "service": service},
        starts_at=datetime.now(UTC),
    )


async def _is_in(release: Release, phase: CanaryPhase) -> bool:
    return (await release.canary_status("a")).phase is phase
