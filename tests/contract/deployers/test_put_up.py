"""Versions are put up beside each other, once, and adopted where they are half-made."""

from __future__ import annotations

from itertools import pairwise

import pytest

from adapters.ports import Deployer
from schemas.deployment import InstanceState, VersionState
from tests.contract.deployers.orders import Reports, begin, put_up, stop
from tests.contract.deployers.subjects import NEW, OLD, Subject, free, names, new_name


async def test_it_returns_once_all_instances_take_requests(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    state = await put_up(deployer, subject.wanted(service, NEW, 1, 3))
    assert (state.service, state.version, state.release) == (service, NEW, "r1")
    assert (state.generation, state.wanted, state.ready) == (1, 3, 3)
    assert len(set(state.endpoints)) == 3
    assert [await subject.answer(one) for one in state.endpoints] == [NEW] * 3
    assert names(state.instances) <= await subject.things()


async def test_it_reports_what_has_changed_and_ends_with_what_it_returns(
    subject: Subject, deployer: Deployer
) -> None:
    reports = Reports()
    state = await deployer.put_up(subject.wanted(new_name(), NEW, 1, 2), reports)
    assert reports[-1] == state
    assert all(before != after for before, after in pairwise(reports))
    assert {one.wanted for one in reports} == {2}
    assert [one.ready for one in reports] == sorted(one.ready for one in reports)


async def test_the_order_is_remembered_as_long_as_the_version_is_up(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    wanted = subject.wanted(service, NEW, 1, 2, config={"LEVEL": "high"})
    await put_up(deployer, wanted)
    (known,) = await subject.deployer().versions(service)
    if known.order is None and not getattr(subject, "remembers", False):
        pytest.skip("it does not remember orders")
    assert known.order == wanted
    fewer = wanted.model_copy(update={"generation": 2, "instances": 1})
    await deployer.scale(fewer, Reports())
    (known,) = await subject.deployer().versions(service)
    assert known.order == fewer
    await deployer.take_down(service, NEW, 3, free)
    assert not await subject.deployer().versions(service)


async def test_the_same_order_again_changes_nothing(subject: Subject, deployer: Deployer) -> None:
    service = new_name()
    wanted = subject.wanted(service, NEW, 1, 2)
    first = await put_up(deployer, wanted)
    before = await subject.things()
    assert await put_up(deployer, wanted) == first
    assert await put_up(subject.deployer(), wanted) == first, "nor by another worker"
    assert await subject.things() == before


async def test_a_newer_order_of_the_same_takes_over_what_is_there(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    first = await put_up(deployer, subject.wanted(service, NEW, 1, 2))
    second = await put_up(subject.deployer(), subject.wanted(service, NEW, 2, 2))
    assert (second.release, second.generation) == ("r2", 2)
    assert second.endpoints == first.endpoints
    assert names(second.instances) == names(first.instances)


@pytest.mark.parametrize("reports_seen", [1, 2, 3])
async def test_what_is_half_made_is_adopted(
    subject: Subject, deployer: Deployer, reports_seen: int
) -> None:
    before, service = await subject.things(), new_name()
    wanted = subject.wanted(service, NEW, 1, 3)
    task, reports = await begin(deployer, wanted)
    await reports.until(lambda state: len(reports) >= reports_seen or state.ready == 3)
    await stop(task)

    state = await put_up(subject.deployer(), wanted)
    assert state.ready == 3
    assert await subject.things() - before == names(state.instances), "and nothing is there twice"


async def test_versions_stand_beside_each_other(subject: Subject, deployer: Deployer) -> None:
    service = new_name()
    old = await put_up(deployer, subject.wanted(service, OLD, 1))
    new = await put_up(deployer, subject.wanted(service, NEW, 2))
    assert [await subject.answer(one.endpoints[0]) for one in (old, new)] == [OLD, NEW]
    assert {one.version: one.endpoints for one in await deployer.versions(service)} == {
        OLD: old.endpoints,
        NEW: new.endpoints,
    }


async def test_versions_are_those_of_one_service_or_of_all(
    subject: Subject, deployer: Deployer
) -> None:
    first, second = new_name(), new_name()
    await put_up(deployer, subject.wanted(first, NEW, 1))
    await put_up(deployer, subject.wanted(second, OLD, 1))
    found = {(one.service, one.version) for one in await deployer.versions()}
    assert {(first, NEW), (second, OLD)} <= found
    assert [one.service for one in await deployer.versions(second)] == [second]
    assert list(await deployer.versions(new_name())) == []


async def test_an_instance_that_ended_is_seen_and_made_again(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    wanted = subject.wanted(service, NEW, 1, 2)
    state = await put_up(deployer, wanted)
    gone = state.instances[0]
    await subject.kill(gone)
    (seen,) = await deployer.versions(service)
    assert gone.endpoint not in seen.endpoints

    again = await put_up(subject.deployer(), wanted)
    assert again.ready == 2
    assert [await subject.answer(one) for one in again.endpoints] == [NEW] * 2


async def test_another_configuration_replaces_the_instances(
    subject: Subject, deployer: Deployer
) -> None:
    service, drained = new_name(), []

    async def drain(state: VersionState) -> None:
        drained.append(state)
        assert all([await subject.answer(one) == NEW for one in first.endpoints]), "still there"

    first = await put_up(deployer, subject.wanted(service, NEW, 1))
    wanted = subject.wanted(service, NEW, 2, config={"COLOUR": "blue"})
    second = await deployer.put_up(wanted, Reports(), drain)
    assert second.ready == 1
    assert not names(first.instances) & names(second.instances)
    assert not names(first.instances) & await subject.things()
    assert [one.endpoints for one in drained] == [second.endpoints]


async def test_a_closed_deployer_leaves_everything_up(subject: Subject) -> None:
    service, first = new_name(), subject.deployer()
    state = await put_up(first, subject.wanted(service, NEW, 1))
    await first.aclose()
    (found,) = await subject.deployer().versions(service)
    assert found.endpoints == state.endpoints
    assert await subject.answer(state.endpoints[0]) == NEW
    assert found.instances[0].state is InstanceState.READY
    await subject.deployer().take_down(service, NEW, 2, free)
