"""What keeps instances from being ready is told in their own words, and waited for."""

from __future__ import annotations

import asyncio

import pytest

from adapters.ports import Deployer
from schemas.deployment import Trouble
from tests.contract.deployers.orders import LONGEST_S, begin, put_up, stop
from tests.contract.deployers.subjects import NEW, OLD, Subject, free, new_name

EVERY = sorted(Trouble)


@pytest.mark.parametrize("trouble", EVERY)
async def test_trouble_is_told_and_ends_when_it_ends(
    subject: Subject, deployer: Deployer, trouble: Trouble
) -> None:
    if trouble not in subject.troubles:
        pytest.skip("it can't be given this trouble")
    service = new_name()
    wanted = subject.wanted(service, NEW, 1, trouble=trouble)
    task, reports = await begin(deployer, wanted)
    # A version that is slow to say what ails it may be told as one that does not answer, before.
    told = await reports.until(lambda state: state.trouble is trouble)
    assert told.text
    assert told.text in told.sentence
    assert told.ready == 0
    assert not task.done(), "it may pass"

    await subject.heal(wanted)
    async with asyncio.timeout(LONGEST_S):
        state = await task
    assert (state.ready, state.trouble, state.text) == (1, None, "")
    assert await subject.answer(state.endpoints[0]) == NEW


@pytest.mark.parametrize("trouble", EVERY)
async def test_a_version_in_trouble_that_is_given_up_goes_wholly(
    subject: Subject, deployer: Deployer, trouble: Trouble
) -> None:
    if trouble not in subject.troubles:
        pytest.skip("it can't be given this trouble")
    service = new_name()
    stable = await put_up(deployer, subject.wanted(service, OLD, 1))
    before = await subject.things()
    task, reports = await begin(deployer, subject.wanted(service, NEW, 2, 2, trouble=trouble))
    await reports.until(lambda state: state.trouble is not None)
    await stop(task)
    await subject.deployer().take_down(service, NEW, 3, free)
    assert await subject.things() == before
    assert await subject.answer(stable.endpoints[0]) == OLD
