"""A release records what it heard and what that did; its timeline reads that record."""

from __future__ import annotations

from aviary.history.fetch import fetch_timeline
from schemas.decisions import Did, Heard
from schemas.ids import SIGNAL_PAUSE, SIGNAL_RESUME, SIGNAL_ROLLBACK
from schemas.release import Command
from schemas.verdict import VerdictKind
from tests.workflows.kit import World

ANN = Command(by="ann", reason="looks fine")


async def test_a_release_records_what_it_was_told_and_what_that_did(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    release = await world.release({"a": []})
    await release.until(a="baking")
    await release.handle.signal(SIGNAL_RESUME, ANN)  # it is not paused
    await release.handle.execute_update(SIGNAL_PAUSE, ANN)
    await release.handle.signal(SIGNAL_ROLLBACK, Command(by="eve", reason="no"))
    records = (await release.result()).decisions
    assert [(one.name, one.did, one.by) for one in records] == [
        (SIGNAL_RESUME, Did.RECORDED, "ann"),
        (SIGNAL_PAUSE, Did.PAUSED, "ann"),
        (SIGNAL_ROLLBACK, Did.BACK, "eve"),
    ]
    assert records[0].text == "the release is not paused"
    timeline = await fetch_timeline(world.client, (await release.status()).release)
    said = [one for one in timeline.moments if one.by and one.service is None]
    assert [one.did for one in said if one.cause is None] == [one.did for one in records]
    assert said[0].text == "resumed by ann: looks fine; ignored: the release is not paused"


async def test_a_release_that_runs_is_asked_what_a_command_did(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    release = await world.release({"a": []})
    await release.until(a="baking")
    await release.handle.execute_update(SIGNAL_PAUSE, ANN)
    timeline = await fetch_timeline(world.client, (await release.status()).release)
    assert Did.PAUSED in {one.did for one in timeline.moments if one.service is None}
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()


async def test_what_a_release_went_back_for_is_recorded_once(world: World) -> None:
    world.judge.says[(world.service("a"), 10)] = VerdictKind.FAIL
    release = await world.release({"a": []})
    (record,) = (await release.result()).decisions
    assert (record.heard, record.did) == (Heard.VERDICT, Did.BACK)
