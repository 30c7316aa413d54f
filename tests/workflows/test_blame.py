"""An alert while several releases are under way along the calls: who goes back, and who waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from schemas.alert import Alert, AlertStatus
from schemas.blame import Exposed
from schemas.decisions import Did, Heard
from schemas.ids import QUERY_EXPOSED, SIGNAL_ALERT
from schemas.release import CanaryPhase, CauseKind, ReleasePhase
from tests.workflows.kit import Release, World, eventually

CALLS: dict[str, list[str]] = {"ledger": [], "web": ["ledger"]}
SLOW = {"steps": [10, 50], "bake": "1h"}
"""It stays in its first step."""


async def two(world: World, within: str = "30s") -> tuple[Release, Release]:
    """A release of web and another one of ledger, which it calls, both in their first step."""
    more: dict[str, Any] = {
        "strategy": SLOW,
        "defaults": {"alerts": {"blame_within": within}},
        "services": {
            world.service(name): {"depends_on": [world.service(need) for need in needs]}
            for name, needs in CALLS.items()
        },
    }
    world.judge.blocked = {(world.service(name), 10.0) for name in CALLS}
    web = await world.release({"web": []}, **more)
    await web.until(web="baking")
    ledger = await world.release({"ledger": []}, **more)
    await ledger.until(ledger="baking")
    return web, ledger


async def began(release: Release, service: str) -> float:
    """When a service's canary got its weight, in seconds since the epoch."""
    told = await release.canary(service).query(QUERY_EXPOSED, result_type=Exposed)
    assert [one.weight for one in told.changes] == [10.0]
    return float(told.changes[-1].at.timestamp())


def about(world: World, service: str, **more: Any) -> Alert:
    fields = {"fingerprint": uuid4().hex, "starts_at": datetime.now(UTC), **more}
    labels = {"alertname": "Errors", "severity": "critical", "service": world.service(service)}
    return Alert(**{"status": AlertStatus.FIRING, "labels": labels, **fields})


async def test_the_culprit_goes_back_and_its_victim_goes_on_when_the_symptom_ends(
    world: World,
) -> None:
    web, ledger = await two(world)
    world.failures.began = await began(ledger, "ledger")
    world.failures.bad_versions = {(world.service("ledger"), "2")}
    world.failures.failing = {world.service("web"): 0.06}
    alert = about(world, "web")
    await web.canary("web").signal(SIGNAL_ALERT, alert)
    done = await ledger.result()
    assert (done.phase, done.cause and done.cause.kind) == (
        ReleasePhase.ROLLED_BACK,
        CauseKind.ALERT,
    )
    assert done.cause is not None
    assert f"found out by {world.service('web')}" in done.cause.text
    await eventually(lambda: web.is_paused("web"))
    await eventually(lambda: web.waits_for("it pauses as a victim"))
    ended = about(
        world,
        "web",
        status=AlertStatus.RESOLVED,
        fingerprint=alert.fingerprint,
        starts_at=alert.starts_at,
    )
    await web.canary("web").signal(SIGNAL_ALERT, ended)

    async def goes_on() -> bool:
        return not await web.is_paused("web")

    await eventually(goes_on)
    told = (await web.canary_status("web")).decisions
    assert [(one.heard, one.did) for one in told][:2] == [
        (Heard.ALERT, Did.PAUSED),
        (Heard.ALERT, Did.RESUMED),
    ]
    first = told[0]
    assert first.ranked[0].startswith((await ledger.status()).release)
    assert (await web.canary_status("web")).phase is CanaryPhase.BAKING


async def test_the_release_that_alerts_goes_back_where_it_is_the_culprit(world: World) -> None:
    web, ledger = await two(world)
    world.failures.began = await began(web, "web")
    world.failures.bad_versions = {(world.service("web"), "2")}
    await web.canary("web").signal(SIGNAL_ALERT, about(world, "web"))
    done = await web.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert "it fails more of its own requests" in done.cause.text
    assert not await ledger.is_paused("ledger")


async def test_what_is_called_finds_out_by_itself_that_it_is_the_culprit(world: World) -> None:
    """The alert reaches it as one on what depends on it, which only pauses without evidence."""
    web, ledger = await two(world)
    world.failures.began = await began(ledger, "ledger")
    world.failures.bad_versions = {(world.service("ledger"), "2")}
    world.failures.failing = {world.service("web"): 0.06}
    await ledger.canary("ledger").signal(SIGNAL_ALERT, about(world, "web"))
    assert (await ledger.result()).phase is ReleasePhase.ROLLED_BACK
    assert not await web.is_paused("web")


async def test_without_a_clear_answer_nothing_goes_back_and_a_person_decides(world: World) -> None:
    """Failures rose at a time of their own, and no version is worse than its stable one."""
    web, _ = await two(world)
    world.failures.began = await began(web, "web") - 5.0
    world.failures.failing = {world.service("web"): 0.06}
    await web.canary("web").signal(SIGNAL_ALERT, about(world, "web"))
    await eventually(lambda: web.waits_for("a person decides"))
    status = await web.canary_status("web")
    assert status.paused
    assert status.cause is None
    assert "no clear answer" in status.decisions[-1].text


@pytest.mark.parametrize("trouble", ["nothing", "hangs", "refuses"])
async def test_where_nobody_can_tell_the_alert_does_what_it_does_without(
    world: World, trouble: str
) -> None:
    """Nothing is counted, the metrics hang, or they can't be asked."""
    web, ledger = await two(world, within="1s")
    world.failures.began = None if trouble == "nothing" else 1.0
    world.failures.hangs = trouble == "hangs"
    world.failures.refuses = trouble == "refuses"
    await web.canary("web").signal(SIGNAL_ALERT, about(world, "web"))
    done = await web.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.text == f"alert Errors fired on {world.service('web')}"
    assert not await ledger.is_paused("ledger")


async def test_a_catalog_may_do_without(world: World) -> None:
    """`blame_within: 0s`: whoever alerts goes back, and hears no accusation."""
    web, ledger = await two(world, within="0s")
    world.failures.began = await began(ledger, "ledger")
    world.failures.bad_versions = {(world.service("ledger"), "2")}
    world.failures.failing = {world.service("web"): 0.06}
    await web.canary("web").signal(SIGNAL_ALERT, about(world, "web"))
    assert (await web.result()).phase is ReleasePhase.ROLLED_BACK
    assert not await ledger.is_paused("ledger")
