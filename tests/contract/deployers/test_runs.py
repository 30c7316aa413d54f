"""Commands are run to their end, each once."""

from __future__ import annotations

import asyncio

import pytest

from schemas.deployment import OneOff
from tests.contract.deployers.orders import LONGEST_S, put_up
from tests.contract.deployers.subjects import NEW, Running, free, new_name

CLAIM = "runs"


def one_off(subject: Running, service: str, key: str, command: tuple[str, ...]) -> OneOff:
    return OneOff(key=key, wanted=subject.wanted(service, NEW, 1), command=command)


@pytest.mark.parametrize("code", [0, 3])
async def test_its_end_is_told(subject: Running, code: int) -> None:
    service = new_name()
    command = subject.command(f"says {service}", code)
    end = await subject.runner().run(one_off(subject, service, f"{service}.smoke", command))
    assert end.exit_code == code
    assert end.lines[-1] == f"says {service}"


async def test_a_key_is_one_run(subject: Running) -> None:
    service = new_name()
    text = f"once {service}"
    one = one_off(subject, service, f"{service}.expand", subject.command(text, 1))
    first = await subject.runner().run(one)
    assert await subject.runner().run(one) == first
    assert await subject.runs(text) == 1
    other = one.model_copy(update={"key": f"{service}.contract"})
    await subject.runner().run(other)
    assert await subject.runs(text) == 2


async def test_who_is_cancelled_leaves_it_running(subject: Running) -> None:
    service = new_name()
    text = f"slow {service}"
    one = one_off(subject, service, f"{service}.slow", subject.command(text, 0, 1.0))
    task = asyncio.create_task(subject.runner().run(one))
    async with asyncio.timeout(LONGEST_S):
        while not await subject.runs(text):  # noqa: ASYNC110 - somebody else's process
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    async with asyncio.timeout(LONGEST_S):
        end = await subject.runner().run(one)
    assert (end.exit_code, end.lines[-1]) == (0, text)
    assert await subject.runs(text) == 1


async def test_what_is_left_of_it_goes_with_the_version(subject: Running) -> None:
    before, service = await subject.things(), new_name()
    deployer = subject.deployer()
    await put_up(deployer, subject.wanted(service, NEW, 1))
    command = subject.command(f"left {service}", 0)
    await subject.runner().run(one_off(subject, service, f"{service}.left", command))
    await deployer.take_down(service, NEW, 2, free)
    assert await subject.things() == before
