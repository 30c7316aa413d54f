"""The API on a real Temporal: lists, one release, its record, and words that are said once."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from aviary.api.problems import Problem
from aviary.api.source import TemporalReleases
from aviary.attributes import ensure_attributes
from aviary.releases.finding import Filters
from aviary.settings import load_settings
from schemas.phases import ReleasePhase
from schemas.release import Command
from tests.workflows.kit import World, eventually
from tests.workflows.test_finding import VISIBLE

GATED = {"steps": [{"weight": 50, "gate": True}], "bake": "0s"}
CHAIN = {"ledger": [], "payments": ["ledger"]}


def source_of(world: World) -> TemporalReleases:
    return TemporalReleases(load_settings(), world.client)


async def read(source: TemporalReleases, release: str) -> list[str]:
    return [one["id"] async for part in source.events(release) for one in part.events]


async def test_a_list_is_paged_and_needs_no_worker(
    server: WorkflowEnvironment, world: World
) -> None:
    assert await ensure_attributes(server.client)
    made = [
        await world.release({"ledger": []}, tuning=VISIBLE, environment=world.queue)
        for _ in range(3)
    ]
    for one in made:
        await one.result()
    source = source_of(world)
    wanted = Filters(environment=world.queue, state=ReleasePhase.FINALIZED)

    async def all_there() -> bool:
        return len((await source.page(wanted, 10, None)).releases) == 3

    await eventually(all_there)
    first = await source.page(wanted, 2, None)
    second = await source.page(wanted, 2, first.after)
    names = [one.release for page in (first, second) for one in page.releases]
    assert sorted(names) == sorted(one.handle.id.removeprefix("release/") for one in made)
    assert first.releases[0].services == (world.service("ledger"),)
    assert first.releases[0].finished_at is not None
    with pytest.raises(Problem) as caught:
        await source.page(wanted, 2, b"nonsense")
    assert caught.value.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE}


async def test_a_word_counts_once_however_often_it_is_said_and_also_after_the_end(
    world: World,
) -> None:
    release = await world.release({"ledger": []}, strategy=GATED)
    name = release.handle.id.removeprefix("release/")
    source = source_of(world)
    await release.until(ledger="gated")
    assert await source.services(name) == {world.service("ledger")}
    command = Command(by="token:ann", reason="looks good")
    said = await asyncio.gather(*(source.say("approve", name, command, "a-key") for _ in range(5)))
    assert len({one.answer for one in said}) == 1
    assert "approved by token:ann: looks good" in said[0].answer
    await release.result()
    again = await source.say("approve", name, command, "a-key")
    assert again == said[0]
    with pytest.raises(Problem) as caught:
        await source.say("approve", name, command, "another-key")
    assert (caught.value.status, caught.value.reason) == (HTTPStatus.CONFLICT, "ended")
    look = await source.look(name)
    assert look.status.phase is ReleasePhase.FINALIZED


async def test_what_makes_no_sense_is_refused_and_who_said_it_stands_in_its_events(
    world: World,
) -> None:
    release = await world.release({"ledger": []}, strategy=GATED)
    name = release.handle.id.removeprefix("release/")
    source = source_of(world)
    await release.until(ledger="gated")
    command = Command(by="github:repo:acme/shop", reason="bad")
    with pytest.raises(Problem) as caught:
        await source.say("resume", name, command, "k1")
    assert (caught.value.status, caught.value.reason) == (HTTPStatus.CONFLICT, "refused")
    following = asyncio.create_task(read(source, name))
    await source.say("rollback", name, command, "k2")
    status = await release.result()
    assert status.cause is not None
    assert status.cause.by == "github:repo:acme/shop"
    published = [event.id for event in world.log.events if event.partitionkey == name]
    assert await following == published
    assert await read(source, name) == published
    told = " ".join(event.model_dump_json() for event in world.log.events)
    assert "github:repo:acme/shop" in told


async def test_a_rollback_that_nobody_takes_is_kept_once(world: World) -> None:
    name = f"kept-{world.queue}"
    handle = await world.client.start_workflow(
        "aviary.release", {}, id=f"release/{name}", task_queue=f"nobody-{world.queue}"
    )
    source = source_of(world)
    source.patience_s = 0.5
    for _ in range(3):
        said = await source.say("rollback", name, Command(by="token:ann"), "k")
        assert said.kept
    with pytest.raises(Problem) as caught:
        await source.say("approve", name, Command(by="token:ann"), "k")
    assert (caught.value.status, caught.value.retry_s) == (HTTPStatus.SERVICE_UNAVAILABLE, 5)
    kinds: list[Any] = [
        event.workflow_execution_signaled_event_attributes.signal_name
        async for event in handle.fetch_history_events()
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert kinds == ["rollback"]
    await handle.terminate()


async def test_an_unknown_release_is_none(world: World) -> None:
    source = source_of(world)
    for ask in (
        source.look("never-was"),
        source.services("never-was"),
        source.say("rollback", "never-was", Command(), "k"),
        read(source, "never-was"),
    ):
        with pytest.raises(Problem) as caught:
            await ask
        assert caught.value.status is HTTPStatus.NOT_FOUND
