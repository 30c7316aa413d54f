"""A late attempt of an old order changes nothing, whoever has forgotten what."""

from __future__ import annotations

import asyncio

import pytest

from adapters.errors import StaleGeneration
from adapters.ports import Deployer
from tests.contract.deployers.orders import LONGEST_S, Reports, begin, put_up
from tests.contract.deployers.subjects import NEW, OLD, Subject, free, new_name


async def test_an_older_order_is_refused(subject: Subject, deployer: Deployer) -> None:
    service = new_name()
    state = await put_up(deployer, subject.wanted(service, NEW, 5, 2))
    for late in (subject.deployer(), deployer):
        with pytest.raises(StaleGeneration, match=f"{service} {NEW}: generation 4"):
            await put_up(late, subject.wanted(service, NEW, 4, 1))
        with pytest.raises(StaleGeneration):
            await late.scale(subject.wanted(service, NEW, 4, 1), Reports())
        with pytest.raises(StaleGeneration):
            await late.take_down(service, NEW, 4, free)
    assert list(await deployer.versions(service)) == [state]


async def test_another_order_of_the_same_generation_is_refused(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    state = await put_up(deployer, subject.wanted(service, NEW, 5, 2))
    with pytest.raises(StaleGeneration):
        await put_up(subject.deployer(), subject.wanted(service, NEW, 5, 1))
    assert list(await deployer.versions(service)) == [state]


@pytest.mark.parametrize("generation", [4, 5])
async def test_what_was_taken_down_is_not_put_up_by_a_late_attempt(
    subject: Subject, deployer: Deployer, generation: int
) -> None:
    before, service = await subject.things(), new_name()
    wanted = subject.wanted(service, NEW, generation)
    await put_up(deployer, wanted)
    await deployer.take_down(service, NEW, 5, free)
    for late in (deployer, subject.deployer()):
        with pytest.raises(StaleGeneration, match="taken down"):
            await put_up(late, wanted)
        with pytest.raises(StaleGeneration):
            await late.scale(wanted, Reports())
    assert await subject.things() == before
    assert list(await deployer.versions(service)) == []

    assert (await put_up(deployer, subject.wanted(service, NEW, 6))).ready == 1


async def test_what_never_was_is_not_put_up_after_it_was_taken_down(
    subject: Subject, deployer: Deployer
) -> None:
    before, service = await subject.things(), new_name()
    await deployer.take_down(service, NEW, 5, free)
    with pytest.raises(StaleGeneration):
        await put_up(subject.deployer(), subject.wanted(service, NEW, 3))
    assert await subject.things() == before


async def test_each_version_has_a_fence_of_its_own(subject: Subject, deployer: Deployer) -> None:
    service = new_name()
    await put_up(deployer, subject.wanted(service, NEW, 9))
    assert (await put_up(deployer, subject.wanted(service, OLD, 2))).ready == 1


async def test_who_waits_for_a_version_is_told_that_it_was_taken_down(
    subject: Subject, deployer: Deployer
) -> None:
    before, service = await subject.things(), new_name()
    hopeless = next(iter(sorted(subject.troubles)))
    task, reports = await begin(deployer, subject.wanted(service, NEW, 1, trouble=hopeless))
    await reports.until(lambda state: state.trouble is not None)
    await subject.deployer().take_down(service, NEW, 2, free)
    with pytest.raises(StaleGeneration):
        await asyncio.wait_for(task, LONGEST_S)
    # A controller of a platform that is late may make an instance yet: it ends it itself.
    async with asyncio.timeout(LONGEST_S):
        while await subject.things() != before:  # noqa: ASYNC110 - the platform tells of no event
            await asyncio.sleep(0.05)
    assert list(await deployer.versions(service)) == []


async def test_who_asked_the_router_long_ago_takes_nothing_newer_down(
    subject: Subject, deployer: Deployer
) -> None:
    """While the router was asked, somebody newer has put the version up."""
    service, late = new_name(), subject.deployer()
    await put_up(deployer, subject.wanted(service, NEW, 1))

    async def answers_late() -> bool:
        await put_up(deployer, subject.wanted(service, NEW, 3))
        return False

    with pytest.raises(StaleGeneration):
        await late.take_down(service, NEW, 2, answers_late)
    (state,) = await deployer.versions(service)
    assert await subject.answer(state.endpoints[0]) == NEW
