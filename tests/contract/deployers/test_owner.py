"""A deployer touches nothing that is not its own."""

from __future__ import annotations

from adapters.ports import Deployer
from schemas.deployment import Trouble
from tests.contract.deployers.orders import begin, put_up, stop
from tests.contract.deployers.subjects import NEW, Subject, free, new_name


async def test_two_owners_do_not_see_each_other(subject: Subject, deployer: Deployer) -> None:
    service, other = new_name(), subject.deployer("somebody-else")
    theirs = await put_up(other, subject.wanted(service, NEW, 7))
    assert list(await deployer.versions(service)) == []

    await deployer.take_down(service, NEW, 8, free)
    assert list(await other.versions(service)) == [theirs]
    assert await subject.answer(theirs.endpoints[0]) == NEW
    await other.take_down(service, NEW, 9, free)


async def test_what_has_an_instance_s_name_or_place_is_left_alone(
    subject: Subject, deployer: Deployer
) -> None:
    service = new_name()
    state = await put_up(deployer, subject.wanted(service, NEW, 1))
    await deployer.take_down(service, NEW, 2, free)
    foreign = await subject.plant(state.instances[0])

    task, reports = await begin(deployer, subject.wanted(service, NEW, 3))
    found = await reports.until(lambda one: one.trouble is not None or one.ready == 1)
    assert found.trouble in {Trouble.NAME_TAKEN, None}, "or it takes another name"
    await stop(task)
    await deployer.take_down(service, NEW, 4, free)
    assert foreign in await subject.things()
    assert list(await deployer.versions(service)) == []
