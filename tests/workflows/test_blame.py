"""An alert while several releases are under way along the calls: who goes back, and who waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from schemas.alert import Alert, AlertStatus
from schemas.blame import Exposed
from schemas.decisions import Did, Heard
from schemas.ids import QUERY_EXPOSED, SIGNAL_ALERT, SIGNAL_ROLLBACK
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


async def test_a_limit_that_is_crossed_takes_the_culprit_back_and_pauses_its_victim(
    world: World,
) -> None:
    """A limit says nothing of stable: what it shows may be another release's doing."""
    web, ledger = await two(world)
    world.failures.began = await began(ledger, "ledger")
    world.failures.bad_versions = {(world.service("ledger"), "2")}
    world.failures.failing = {world.service("web"): 0.06}
    world.judge.over_limit = {world.service("web")}
    done = await ledger.result()
    assert (done.phase, done.cause and done.cause.kind) == (
        ReleasePhase.ROLLED_BACK,
        CauseKind.VERDICT,
    )
    assert done.cause is not None
    assert f"a limit of {world.service('web')} is crossed" in done.cause.text
    world.judge.over_limit = set()
    await eventually(lambda: web.waits_for("it pauses as a victim, and goes on when no limit"))
    record = (await web.canary_status("web")).decisions[-1]
    assert (record.heard, record.did) == (Heard.VERDICT, Did.PAUSED)
    assert record.ranked[0].startswith((await ledger.status()).release)


async def test_a_limit_takes_back_whoever_crosses_it_where_that_is_its_doing(world: World) -> None:
    web, ledger = await two(world)
    world.failures.began = await began(web, "web")
    world.failures.bad_versions = {(world.service("web"), "2")}
    world.judge.over_limit = {world.service("web")}
    done = await web.result()
    assert (done.phase, done.cause and done.cause.kind) == (
        ReleasePhase.ROLLED_BACK,
        CauseKind.VERDICT,
    )
    assert done.cause is not None
    assert "it fails more of its own requests" in done.cause.text
    assert not await ledger.is_paused("ledger")


@pytest.mark.parametrize("trouble", ["nothing", "hangs", "compared"])
async def test_a_verdict_takes_its_canary_back_where_nobody_can_tell_or_stable_was_compared(
    world: World, trouble: str
) -> None:
    web, ledger = await two(world, within="1s")
    world.failures.began = None if trouble == "nothing" else await began(ledger, "ledger")
    world.failures.hangs = trouble == "hangs"
    world.failures.bad_versions = {(world.service("ledger"), "2")}
    world.failures.failing = {world.service("web"): 0.06}
    which = world.judge.failing if trouble == "compared" else world.judge.over_limit
    which.add(world.service("web"))
    done = await web.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.text == f"{world.service('web')} at 10 %: FAIL"
    assert not await ledger.is_paused("ledger")


async def test_a_persons_rollback_does_not_wait_until_it_is_known_whose_doing_a_limit_is(
    world: World,
) -> None:
    """Metrics hang, and the catalog would wait half a minute for them."""
    web, _ = await two(world, within="30s")
    world.failures.hangs = True
    world.judge.over_limit = {world.service("web")}
    await eventually(lambda: world.failures.asking)
    await web.canary("web").signal(SIGNAL_ROLLBACK)

    async def back() -> bool:
        return not (await world.router.read(world.service("web"))).weight

    await eventually(back)
    assert world.failures.asking
    world.failures.gate.set()
    done = await web.result()
    assert (done.phase, done.cause and done.cause.kind) == (
        ReleasePhase.ROLLED_BACK,
        CauseKind.COMMAND,
    )


@pytest.mark.parametrize("symptom", ["alert", "limit"])
async def test_a_worker_that_dies_while_it_is_asked_costs_neither_alert_nor_verdict(
    world: World, symptom: str
) -> None:
    """The next one finds metrics that hang: what is done is what is done without an answer."""
    world = World(world.client)
    async with world.working():
        web, ledger = await two(world, within="4s")
        world.failures.hangs = True
        if symptom == "limit":
            world.judge.over_limit = {world.service("web")}
        else:
            await web.canary("web").signal(SIGNAL_ALERT, about(world, "web"))
        await eventually(lambda: world.failures.asking)
    async with world.working():
        done = await web.result()
        assert done.phase is ReleasePhase.ROLLED_BACK
        assert not (await world.router.read(world.service("web"))).weight
        assert not await ledger.is_paused("ledger")
