"""After the end of a release: a late alert, or a limit that is crossed, takes it back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from temporalio.client import WorkflowHandle

from aviary.bridge.temporal import TemporalGateway
from schemas.alert import Alert, AlertStatus
from schemas.blame import Accusation
from schemas.event_kinds import NoticeKind
from schemas.ids import QUERY_STATUS, SIGNAL_ACCUSED, release_workflow_id, watch_workflow_id
from schemas.notice import Notice
from schemas.release import ReleasePhase, ReleaseStatus
from schemas.watching import Watched
from tests.workflows.kit import PATIENCE_S, Release, World, eventually

CHAIN = {"ledger": [], "checkout": ["ledger"]}
ONE: dict[str, Sequence[str]] = {"a": []}
WATCHED = {"steps": [50], "watch": "1h"}


def watch(world: World, service: str) -> WorkflowHandle[Any, Watched]:
    return world.client.get_workflow_handle(
        watch_workflow_id(world.service(service), world.cell), result_type=Watched
    )


async def ended(handle: WorkflowHandle[Any, Watched]) -> Watched:
    async with asyncio.timeout(PATIENCE_S):
        return await handle.result()


async def says(world: World, service: str) -> str:
    return str(await watch(world, service).query(QUERY_STATUS))


async def tell(world: World, service: str, severity: str = "critical", **more: Any) -> bool:
    """What the bridge does with an alert; whether anybody heard it."""
    fields = {"starts_at": datetime.now(UTC), "status": AlertStatus.FIRING, **more}
    labels = {"alertname": "Errors", "severity": severity, "service": world.service(service)}
    alert = Alert(fingerprint=uuid4().hex, labels=labels, **fields)
    gateway = TemporalGateway(world.client, world.queue, cell=world.cell)
    return await gateway.signal(world.service(service), [alert], uuid4().hex)


async def finalized(world: World, graph: Any, **more: Any) -> Release:
    release = await world.release(graph, **{"strategy": WATCHED, **more})
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    return release


async def revert_of(world: World, release: Release) -> ReleaseStatus:
    workflow_id = release_workflow_id(f"{(await release.status()).release}.revert", world.cell)
    handle: Any = world.client.get_workflow_handle(workflow_id, result_type=ReleaseStatus)
    return await Release(world, handle).result()


async def test_a_late_alert_takes_the_whole_release_back(world: World) -> None:
    release = await finalized(world, CHAIN)
    world.router.applied.clear()
    until = [one.watched_until for one in (await release.status()).services]
    assert all(one is not None and one > datetime.now(UTC) for one in until)
    assert await tell(world, "ledger")
    end = await ended(watch(world, "ledger"))
    name = (await release.status()).release
    assert end.reverted_by == f"{name}.revert"
    assert f"alert Errors fired on {world.service('ledger')}" in end.text
    done = await revert_of(world, release)
    assert (done.phase, done.reverts) == (ReleasePhase.FINALIZED, name)
    moved = [one.service for one in world.router.applied if one.canary == "0" and one.weight]
    assert world.short(list(dict.fromkeys(moved))) == ["checkout", "ledger"]
    (notice,) = [one for one in world.notifier.notices if one.kind is NoticeKind.ROLLING_BACK]
    assert notice.text == end.text
    assert await tell(world, "checkout"), "the other one is watched still"
    assert (await ended(watch(world, "checkout"))).text.startswith("over: release ")
    assert not await tell(world, "checkout"), "nobody watches any more"


async def test_a_weak_alert_asks_people_and_the_newest_version_is_watched(world: World) -> None:
    first = await finalized(world, ONE)
    assert await tell(world, "a", "info")
    assert await tell(world, "a", starts_at=datetime.now(UTC) - timedelta(hours=1))

    def asked() -> list[Notice]:
        return [one for one in world.notifier.notices if one.kind is NoticeKind.WAITING]

    await eventually(asked)
    (notice,) = asked()
    assert notice.text.endswith(
        f"`aviary release revert {(await first.status()).release}` takes the release back"
    )
    assert f"{world.service('a')} 2 is watched until" in await says(world, "a")
    second = await finalized(world, ONE, version="3")

    async def newer() -> bool:
        return f"{world.service('a')} 3 is watched until" in await says(world, "a")

    await eventually(newer)
    world.judge.failing.add(world.service("a"))
    end = await ended(watch(world, "a"))
    name = (await second.status()).release
    assert end.reverted_by == f"{name}.revert"
    assert "FAIL" in end.text
    assert (await revert_of(world, second)).phase is ReleasePhase.FINALIZED
    assert (await world.router.read(world.service("a"))).stable == "2"


async def test_a_watch_ends_by_itself(world: World) -> None:
    release = await finalized(
        world, ONE, strategy={"steps": [50]}, defaults={"alerts": {"revert_within": "1s"}}
    )
    end = await ended(watch(world, "a"))
    assert end.reverted_by is None
    assert end.text.endswith("nothing took it back")
    assert not await tell(world, "a")
    assert (await release.status()).phase is ReleasePhase.FINALIZED


async def test_what_is_watched_goes_back_where_another_release_finds_that_it_is_the_culprit(
    world: World,
) -> None:
    """Told of another release, or where its catalog does without blame, it does nothing."""
    release = await finalized(world, ONE)
    name, service = (await release.status()).release, world.service("a")
    labels = {"alertname": "Slow", "severity": "critical", "service": "shop"}
    alert = Alert(
        fingerprint="1", labels=labels, status=AlertStatus.FIRING, starts_at=datetime.now(UTC)
    )
    about = Accusation(release="another", service="shop", alert=alert, text="it is the culprit")
    await watch(world, "a").signal(SIGNAL_ACCUSED, about)
    assert f"{service} 2 is watched until" in await says(world, "a")
    await watch(world, "a").signal(SIGNAL_ACCUSED, about.model_copy(update={"release": name}))
    end = await ended(watch(world, "a"))
    assert end.reverted_by == f"{name}.revert"
    assert "alert Slow: it is the culprit (found out by shop)" in end.text
    assert (await revert_of(world, release)).phase is ReleasePhase.FINALIZED
    assert (await world.router.read(service)).stable == "0"


async def test_an_alert_shortly_before_the_end_counts_though_its_answer_comes_later(
    world: World,
) -> None:
    """Whose doing it is, nobody can tell: metrics hang for as long as the answer is waited for."""
    graph = {"ledger": [], "shop": ["ledger"]}
    alerts = {"revert_within": "4s", "blame_within": "8s"}
    more: dict[str, Any] = {
        "strategy": {"steps": [50]},
        "defaults": {"alerts": alerts},
        "services": {
            world.service(name): {"depends_on": [world.service(one) for one in calls]}
            for name, calls in graph.items()
        },
    }
    await finalized(world, {"shop": []}, **more)
    release = await finalized(world, {"ledger": []}, **more)
    world.failures.hangs = True
    assert await tell(world, "ledger")
    end = await ended(watch(world, "ledger"))
    assert end.reverted_by == f"{(await release.status()).release}.revert"
