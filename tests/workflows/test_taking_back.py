"""A release that has ended is taken back: by a release of its own, on a real Temporal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aviary.releases.reverting import Looked, Reverter
from schemas.alert import Alert, AlertStatus
from schemas.ids import QUERY_STATUS, release_workflow_id
from schemas.release import CauseKind, ReleasePhase, ReleaseStatus
from schemas.reverting import ObstacleKind
from schemas.route import Route
from tests.workflows.kit import Release, World, with_deployer
from tests.workflows.test_contract import contract, released
from tests.workflows.test_deploy import CHAIN, SHORT, retired, up
from workflows.contract import ContractStatus

ONE: dict[str, list[str]] = {"a": []}


def reverter(world: World) -> Reverter:
    return Reverter(world.client, world.queue, world.cell)


async def look(world: World, release: Release) -> Looked:
    return await reverter(world).look((await release.status()).release)


async def take_back(world: World, looked: Looked) -> Release:
    assert looked.preview.obstacles == ()
    assert await reverter(world).start(looked, "reverted by ann: it is slow")
    workflow_id = release_workflow_id(looked.preview.revert, world.cell)
    handle: Any = world.client.get_workflow_handle(workflow_id, result_type=ReleaseStatus)
    return Release(world, handle)


async def obstacles(world: World, release: Release) -> list[ObstacleKind]:
    return [one.kind for one in (await look(world, release)).preview.obstacles]


async def finalized(world: World, graph: Any, version: str, **more: Any) -> Release:
    release = await world.release(graph, version=version, **{"strategy": SHORT, **more})
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    return release


async def test_expired_versions_are_put_up_again_and_dependents_go_first(world: World) -> None:
    await finalized(world, CHAIN, "2", **with_deployer())
    bad = await finalized(world, CHAIN, "3", **with_deployer(instances=3))
    for service in CHAIN:
        assert (await retired(world, "2", service)).gone
        assert up(world, service) == {"3": 3}
    firing = {"alertname": "Errors", "severity": "critical", "service": world.service("cart")}
    world.alerts.alerts.append(
        Alert(
            status=AlertStatus.FIRING, fingerprint="f", labels=firing, starts_at=datetime.now(UTC)
        )
    )
    world.router.applied.clear()
    looked = await look(world, bad)
    back = await take_back(world, looked)
    done = await back.result()
    assert done.phase is ReleasePhase.FINALIZED, done.cause
    assert done.reverts == looked.preview.release
    moved = [one.service for one in world.router.applied if one.canary == "2" and one.weight]
    assert world.short(list(dict.fromkeys(moved))) == ["cart", "ledger"]
    for service in CHAIN:
        assert (await world.router.read(world.service(service))).stable == "2"
        assert (await retired(world, "3", service)).gone
    assert world.router.into_nothing == []
    assert not await reverter(world).start(looked, "reverted by bob"), "asked twice is asked once"
    assert await obstacles(world, bad) == [ObstacleKind.REVERTED]
    again = await look(world, back)
    assert again.preview.obstacles == (), "what was taken back can be brought back"


async def test_what_has_not_ended_or_is_not_the_newest_is_refused(world: World) -> None:
    first = await world.release(ONE, strategy={"steps": [50], "soak": "1h"})
    await first.until(a="holding")
    assert await obstacles(world, first) == [ObstacleKind.NOT_ENDED]
    await first.handle.cancel()
    assert (await first.result()).phase is ReleasePhase.ROLLED_BACK
    assert await obstacles(world, first) == [ObstacleKind.WENT_BACK]
    second = await finalized(world, ONE, "2")
    third = await finalized(world, ONE, "3")
    assert await obstacles(world, second) == [ObstacleKind.NEWER]
    assert await obstacles(world, third) == []


async def test_what_somebody_else_made_stable_is_left(world: World) -> None:
    bad = await finalized(world, ONE, "2")
    service = world.service("a")
    route = await world.router.read(service)
    later = Route.split(service=service, stable="3", generation=route.generation + 1)
    await world.router.apply(later)
    looked = await look(world, bad)
    done = await (await take_back(world, looked)).result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.SUPERSEDED
    assert done.cause.text == f"{service} 2 is not taken back to 0: 3 is stable by now"
    assert (await world.router.read(service)).stable == "3"
    assert await obstacles(world, bad) == [ObstacleKind.NEWER]


async def test_another_attempt_after_one_that_went_back_is_another_release(world: World) -> None:
    bad = await finalized(world, ONE, "2")
    service = world.service("a")
    world.router.broken.add(service)
    first = await take_back(world, await look(world, bad))
    await first.until(a="shifting")
    assert await obstacles(world, bad) == [ObstacleKind.REVERTED]
    await first.handle.cancel()
    await first.until(a="rolling_back")
    world.router.broken.clear()
    assert (await first.result()).phase is ReleasePhase.ROLLED_BACK
    looked = await look(world, bad)
    assert looked.preview.revert.endswith(".revert-2")
    assert (await (await take_back(world, looked)).result()).phase is ReleasePhase.FINALIZED
    assert (await world.router.read(service)).stable == "0"


async def test_a_contract_that_was_called_is_no_way_back(world: World) -> None:
    bad = await released(world, "100ms")
    await bad.result()
    await (await contract(world)).result()
    looked = await look(world, bad)
    assert looked.preview.refusal == (
        f"{world.service('a')} can't go back to 0: "
        f"contracted: {world.service('a')} can't go back to 0"
    )


async def test_a_contract_that_waits_is_not_called_any_more(world: World) -> None:
    bad = await released(world, "1h")
    await bad.result()
    waiting = await contract(world)
    looked = await look(world, bad)
    (way,) = looked.preview.stages[0]
    assert "can go back to 0) is not called once 0 serves" in way.notes[-1]
    assert (await (await take_back(world, looked)).result()).phase is ReleasePhase.FINALIZED
    now: ContractStatus = await waiting.query(QUERY_STATUS, result_type=ContractStatus)
    assert not now.gone
    await waiting.terminate()
