"""What a watcher decides and sends, and that no death of anything doubles or loses it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Retryable
from aviary.watching.status import State, heard
from schemas.deploy import parse_deploy
from tests.unit.watching.parts import ConfigMaps, Topic, World, catalog, deployment


def asked(topic: Topic) -> dict[str, dict[str, str]]:
    """Of each release, the services and their versions; the same event may be there twice."""
    found: dict[str, dict[str, str]] = {}
    ids: dict[str, bytes] = {}
    for record in topic.records:
        headers = {name: value or b"" for name, value in record.headers}
        event = parse_deploy(record.value, headers)
        assert record.value is not None
        assert ids.setdefault(event.id, record.value) == record.value
        assert record.key == event.deploy.release.encode()
        services = {one.service: one.version for one in event.deploy.services}
        assert found.setdefault(event.deploy.release, services) == services
    return found


def states(world: World) -> dict[str, State]:
    return {name: one.report.state for name, one in world.told.states.items()}


async def test_a_changed_template_is_one_event() -> None:
    world = World()
    world.watcher.seen(deployment())
    await world.step()
    assert not world.topic.records
    await world.step(5)
    await world.step(100)
    assert len(world.topic.records) == 1
    (services,) = asked(world.topic).values()
    assert services["checkout"].startswith("1.4.2-")
    assert world.told.states["checkout"].report.state is State.REQUESTED
    assert json.loads(world.topic.records[0].value or b"")["id"] == "uid-checkout/1"


async def test_a_restart_sends_none_twice_and_sees_what_came_meanwhile() -> None:
    world = World()
    world.watcher.seen(deployment())
    await world.settle()
    world.begin()
    world.watcher.seen(deployment(generation=2, replicas=1))
    await world.settle()
    assert len(world.topic.records) == 1
    assert world.told.numbers == {"checkout": 2}
    world.begin()
    world.watcher.seen(deployment(generation=3, image="checkout:1.4.3"))
    await world.settle()
    assert len(world.topic.records) == 2


async def test_two_services_of_one_commit_are_one_release() -> None:
    world = World()
    said = {"aviary.dev/revision": "f913b6cbf58aa5ae"}
    world.watcher.seen(deployment("checkout", annotations=said))
    await world.step(3)
    world.watcher.seen(deployment("cart", annotations=said))
    await world.step(0)
    await world.step(5)
    (services,) = asked(world.topic).values()
    assert list(services) == ["cart", "checkout"]


async def test_what_the_catalog_refuses_goes_out_when_the_catalog_is_right() -> None:
    world = World()
    world.watcher.seen(deployment("search"))
    world.watcher.seen(deployment("cart"))
    await world.step()
    await world.step(5)
    assert not world.topic.records
    for name in ("search", "cart"):  # nothing half of a release
        told = world.told.states[name].report
        assert told.state is State.REFUSED
        assert "search" in told.text
    world.catalog = catalog(("search", "cart"))
    await world.step()
    await world.step(5)
    (services,) = asked(world.topic).values()
    assert list(services) == ["cart", "search"]


async def test_what_can_not_be_read_is_told_and_stops_nobody_else() -> None:
    world = World()
    world.watcher.seen(deployment("Check.Out"))
    world.watcher.seen(deployment("cart"))
    await world.settle()
    assert list(asked(world.topic)) != []
    told = world.told.states["Check.Out"].report
    assert told.state is State.REFUSED
    assert told.text.startswith("metadata.name: got 'Check.Out', expected a service")


async def test_what_was_refused_keeps_nobody_back_who_comes_later() -> None:
    world = World()
    world.watcher.seen(deployment("nobody"))
    await world.settle()
    assert states(world)["nobody"] is State.REFUSED
    world.watcher.seen(deployment("nobody"))  # as it is after each word on it
    world.watcher.seen(deployment("cart"))
    await world.settle()
    (services,) = asked(world.topic).values()
    assert list(services) == ["cart"]


async def test_the_same_version_with_another_specification_is_refused() -> None:
    world = World()
    said = {"aviary.dev/version": "1.4.2"}
    world.watcher.seen(deployment(annotations=said))
    await world.settle()
    world.watcher.seen(deployment(annotations=said, generation=2, env="other"))
    await world.settle()
    assert len(world.topic.records) == 1
    assert "aviary.dev/version]: got '1.4.2'" in world.told.states["checkout"].report.text


async def test_what_was_refused_and_is_as_before_is_shown_as_before() -> None:
    world = World()
    world.watcher.seen(deployment())
    await world.settle()
    (release,) = asked(world.topic)
    await world.watcher.heard(_event("release.started", release), "1")
    world.watcher.seen(deployment(generation=2, image="checkout"))
    await world.settle()
    assert states(world) == {"checkout": State.REFUSED}
    await world.watcher.heard(_event("release.finalized", release), "2")
    assert states(world) == {"checkout": State.REFUSED}
    world.watcher.seen(deployment(generation=3))
    await world.settle()
    assert states(world) == {"checkout": State.FINALIZED}
    assert world.told.states["checkout"].of.generation == 3
    assert len(world.topic.records) == 1


async def test_two_templates_of_one_service_are_both_refused() -> None:
    world = World()
    world.watcher.seen(deployment("checkout"))
    world.watcher.seen(deployment("other", annotations={"aviary.dev/service": "checkout"}))
    await world.settle()
    assert not world.topic.records
    assert {one.report.state for one in world.told.states.values()} == {State.REFUSED}


async def test_a_template_that_runs_pods_is_told() -> None:
    world = World()
    world.watcher.seen(deployment(replicas=3))
    await world.settle()
    assert len(world.topic.records) == 1
    ((name, report),) = world.told.events
    assert (name, report.reason) == ("checkout", "TemplateRunsPods")
    assert report.text.startswith("spec.replicas: got 3, expected 0")


async def test_a_template_that_is_gone_asks_for_nothing() -> None:
    world = World()
    world.watcher.seen(deployment())
    await world.step()
    world.watcher.gone("uid-checkout")
    await world.settle()
    assert not world.topic.records


async def test_a_name_of_a_release_that_is_used_again_is_told_apart() -> None:
    world = World()
    said = {"aviary.dev/release": "shop-42"}
    world.watcher.seen(deployment(annotations=said))
    await world.settle()
    world.watcher.seen(deployment(annotations=said, generation=2, env="other"))
    await world.settle()
    first, second = asked(world.topic)
    assert first == "shop-42"
    assert second.startswith("shop-42-")


def _event(kind: str, release: str, **data: Any) -> Any:
    return heard({"type": f"dev.aviary.{kind}.v1", "data": {"release": release, **data}})


async def test_what_becomes_of_a_release_is_told_to_its_templates() -> None:
    world = World()
    world.watcher.seen(deployment("cart"))
    world.watcher.seen(deployment("checkout"))
    await world.settle()
    (release,) = asked(world.topic)
    world.begin()  # what it was is in the journal
    await world.watcher.heard(_event("release.started", release), "1")
    assert states(world) == {"cart": State.PROGRESSING, "checkout": State.PROGRESSING}
    paused = _event("canary.paused", release, service="cart", version="1", waits_for="a person")
    await world.watcher.heard(paused, "2")
    assert states(world) == {"cart": State.PAUSED, "checkout": State.PROGRESSING}
    assert world.told.states["cart"].report.text.endswith(": a person")
    back = _event("release.rolledback", release, cause={"text": "verdict FAIL"})
    await world.watcher.heard(back, "3")
    assert states(world) == {"cart": State.ROLLED_BACK, "checkout": State.ROLLED_BACK}
    assert world.told.states["cart"].report.text.endswith("went back: verdict FAIL")


async def test_an_older_release_says_nothing_of_a_newer_version() -> None:
    world = World()
    world.watcher.seen(deployment())
    await world.settle()
    (release,) = asked(world.topic)
    world.watcher.seen(deployment(generation=2, env="other"))
    await world.settle()
    await world.watcher.heard(_event("release.rolledback", release), "1")
    assert world.told.states["checkout"].report.state is State.REQUESTED


async def test_of_two_watchers_one_decides_and_both_tell() -> None:
    one = World()
    other = World(one.maps, one.topic)
    for number in range(1, 4):
        for world in (one, other):
            world.watcher.seen(deployment(generation=number, env=str(number)))
            world.watcher.seen(deployment("cart", generation=number, env=str(number)))
        # They read the same journal, and write at the same time.
        for after_s in (0, 5, 10, 10):
            await asyncio.gather(one.step(after_s), other.step(after_s), return_exceptions=True)
    found = asked(one.topic)
    assert len(found) == 3
    assert len({tuple(services.items()) for services in found.values()}) == 3
    for world in (one, other):
        await world.watcher.heard(_event("release.started", list(found)[-1]), "1")
        assert world.told.states["checkout"].report.state is State.PROGRESSING


@pytest.mark.parametrize("text", ["", "{}x", '{"format": 2}', '{"templates": {"a": {}}}'])
async def test_a_damaged_journal_stops_the_watcher_and_is_named(text: str) -> None:
    world = World()
    await world.step()
    assert world.maps.kept is not None
    world.maps.kept["data"]["journal"] = text
    world.begin()
    world.watcher.seen(deployment())
    with pytest.raises(Retryable, match=r"configmap shop/aviary-watch: data\.journal"):
        await world.step()
    assert not world.topic.records


_DEATHS = st.lists(st.sampled_from(["before", "after", ""]), max_size=6)
_STATES = st.lists(
    st.tuples(st.sampled_from(["cart", "checkout"]), st.sampled_from(["a", "b"]), st.booleans()),
    min_size=1,
    max_size=6,
)


@given(_STATES, _DEATHS, _DEATHS)
async def test_whatever_dies_each_decision_is_one_event_and_the_newest_state_goes_out(
    states: list[tuple[str, str, bool]], kubernetes: list[str], kafka: list[str]
) -> None:
    maps, topic = ConfigMaps(), Topic()
    world = World(maps, topic)
    await world.step()
    maps.dies, topic.dies = list(kubernetes), list(kafka)
    newest: dict[str, Any] = {}
    for number, (name, env, restarts) in enumerate(states):
        newest[name] = deployment(name, generation=number + 1, env=env)
        if restarts:
            world.begin()
            for thing in newest.values():
                world.watcher.seen(thing)
        else:
            world.watcher.seen(newest[name])
        for after_s in (0, 6):
            with contextlib.suppress(Retryable):
                await world.step(after_s)
    await world.settle()
    last: dict[str, str] = {}
    for services in asked(topic).values():
        for service, version in services.items():
            assert last.get(service) != version  # asked for anew, though nothing had changed
            last[service] = version
    assert maps.kept is not None
    journal = json.loads(maps.kept["data"]["journal"])
    assert journal["pending"] == []
    for name, thing in newest.items():
        entry = journal["templates"][f"uid-{name}"]
        assert entry["generation"] == thing["metadata"]["generation"]
        assert entry["version"] == last[name]
