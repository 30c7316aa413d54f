"""A version that is up gets more instances, or fewer, and those that go are drained first."""

from __future__ import annotations

import pytest

from adapters.errors import UnknownVersion
from adapters.ports import Deployer
from schemas.deployment import VersionState
from tests.contract.deployers.orders import Reports, put_up
from tests.contract.deployers.subjects import NEW, Subject, free, names, new_name


async def test_more_instances_come_beside_those_that_are_there(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    before = await put_up(deployer, subject.wanted(service, NEW, 1, 1))
    reports = Reports()
    after = await deployer.scale(subject.wanted(service, NEW, 2, 3), reports)
    assert (after.ready, after.wanted, after.generation) == (3, 3, 2)
    assert set(before.endpoints) < set(after.endpoints)
    assert [await subject.answer(one) for one in after.endpoints] == [NEW] * 3
    assert reports[-1] == after


async def test_those_that_go_are_out_of_the_router_before_they_end(
    subject: Subject, deployer: Deployer
) -> None:
    service, told = new_name(), []

    async def drain(state: VersionState) -> None:
        told.append(state.endpoints)
        assert [await subject.answer(one) for one in before.endpoints] == [NEW] * 3

    before = await put_up(deployer, subject.wanted(service, NEW, 1, 3))
    after = await deployer.scale(subject.wanted(service, NEW, 2, 1), Reports(), drain)
    assert after.ready == len(after.instances) == 1
    assert told == [after.endpoints]
    assert set(after.endpoints) < set(before.endpoints)
    assert len(names(before.instances) & await subject.things()) == 1


async def test_scaling_again_to_the_same_size_changes_nothing(
    subject: Subject, deployer: Deployer
) -> None:
    service, wanted = new_name(), None
    await put_up(deployer, subject.wanted(service, NEW, 1, 3))
    wanted = subject.wanted(service, NEW, 2, 2)
    after = await deployer.scale(wanted, Reports())
    before = await subject.things()
    assert await subject.deployer().scale(wanted, Reports()) == after
    assert await subject.things() == before


async def test_a_version_without_instances_is_still_known(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    await put_up(deployer, subject.wanted(service, NEW, 1, 2))
    none = await deployer.scale(subject.wanted(service, NEW, 2, 0), Reports())
    assert (none.ready, none.wanted, none.instances) == (0, 0, ())
    assert [one.version for one in await subject.deployer().versions(service)] == [NEW]
    assert (await deployer.scale(subject.wanted(service, NEW, 3, 1), Reports())).ready == 1


async def test_what_is_not_up_is_not_put_up(subject: Subject, deployer: Deployer) -> None:
    before, service = await subject.things(), new_name()
    with pytest.raises(UnknownVersion, match=f"{service} {NEW}"):
        await deployer.scale(subject.wanted(service, NEW, 1), Reports())
    await put_up(deployer, subject.wanted(service, NEW, 2))
    await deployer.take_down(service, NEW, 3, free)
    with pytest.raises(UnknownVersion):
        await deployer.scale(subject.wanted(service, NEW, 4), Reports())
    assert await subject.things() == before
