"""Versions go where nobody routes to them, wholly, and stay away."""

from __future__ import annotations

import pytest

from adapters.errors import Retryable, StillInUse
from adapters.ports import Deployer
from tests.contract.deployers.orders import begin, put_up, stop
from tests.contract.deployers.subjects import NEW, OLD, Subject, free, names, new_name, routed


async def test_all_of_a_version_goes_and_nothing_of_another(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    old = await put_up(deployer, subject.wanted(service, OLD, 1, 2))
    before = await subject.things()
    new = await put_up(deployer, subject.wanted(service, NEW, 2, 2))

    await deployer.take_down(service, NEW, 3, free)
    assert await subject.things() == before
    assert [await subject.answer(one) for one in new.endpoints] == ["", ""]
    assert [one.version for one in await deployer.versions(service)] == [OLD]
    assert [await subject.answer(one) for one in old.endpoints] == [OLD, OLD]


async def test_what_is_not_there_is_a_success(subject: Subject, deployer: Deployer) -> None:
    service = new_name()
    await deployer.take_down(service, NEW, 1, free)
    await put_up(deployer, subject.wanted(service, NEW, 2))
    await deployer.take_down(service, NEW, 3, free)
    await subject.deployer().take_down(service, NEW, 3, free)
    assert list(await deployer.versions(service)) == []


async def test_a_version_that_the_route_names_is_refused_untouched(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    wanted = subject.wanted(service, NEW, 1, 2)
    state = await put_up(deployer, wanted)
    before = await subject.things()
    with pytest.raises(StillInUse, match=f"{service} {NEW}"):
        await deployer.take_down(service, NEW, 2, routed)
    assert await subject.things() == before
    assert [await subject.answer(one) for one in state.endpoints] == [NEW, NEW]
    assert await put_up(deployer, wanted) == state, "and nothing was ordered"


async def test_a_router_that_can_not_be_asked_leaves_it_untouched(
    subject: Subject, deployer: Deployer
) -> None:
    async def silent() -> bool:
        raise Retryable("no answer")

    service = new_name()
    wanted = subject.wanted(service, NEW, 1)
    state = await put_up(deployer, wanted)
    with pytest.raises(Retryable, match="no answer"):
        await deployer.take_down(service, NEW, 2, silent)
    assert await subject.answer(state.endpoints[0]) == NEW
    assert await put_up(deployer, wanted) == state


async def test_what_is_half_made_goes_as_well(subject: Subject, deployer: Deployer) -> None:
    before, service = await subject.things(), new_name()
    task, reports = await begin(deployer, subject.wanted(service, NEW, 1, 3))
    await reports.until(lambda state: len(state.instances) > 0)
    await stop(task)
    await subject.deployer().take_down(service, NEW, 2, free)
    assert await subject.things() == before
    assert list(await deployer.versions(service)) == []


async def test_a_version_whose_instances_have_ended_goes(
    subject: Subject, deployer: Deployer
) -> None:
    before, service = await subject.things(), new_name()
    state = await put_up(deployer, subject.wanted(service, NEW, 1, 2))
    await subject.kill(state.instances[0])
    await deployer.take_down(service, NEW, 2, free)
    assert await subject.things() == before
    assert not names(state.instances) & await subject.things()
    assert list(await deployer.versions(service)) == []
