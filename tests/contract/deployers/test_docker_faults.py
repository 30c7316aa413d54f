"""What happens to a Docker host and its containers, and how each ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.errors import Retryable
from aviary.local.docker import DockerError, DockerHost
from schemas.deployment import InstanceState, Trouble, WantedVersion
from tests.contract.deployers.docker_host import (
    PORT,
    DockerSubject,
    answer,
    build,
    docker_tools,
    host_folder,
    recipe,
)
from tests.contract.deployers.orders import LONGEST_S, Reports, begin, put_up, stop
from tests.contract.deployers.subjects import NEW, free, new_name, order


@asynccontextmanager
async def started(
    flags: Path, *, live_restore: bool = False, disk: str | None = None
) -> AsyncIterator[DockerSubject]:
    """A daemon for one test."""
    tools = await docker_tools()
    with host_folder() as folder:
        host = DockerHost(tools, folder, live_restore=live_restore, disk=disk)
        try:
            await host.__aenter__()
        except DockerError as error:
            pytest.skip(str(error))
        subject = DockerSubject(host, flags)
        try:
            await build(host, f"shop:{NEW}", NEW)
            yield subject
        finally:
            await subject.close()
            await host.remove()


@pytest.fixture
async def surviving(tmp_path: Path) -> AsyncIterator[DockerSubject]:
    """A daemon whose containers outlive it."""
    async with started(tmp_path, live_restore=True) as subject:
        yield subject


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[DockerSubject]:
    """A daemon with a disk that is soon full."""
    async with started(tmp_path, disk="24m") as subject:
        yield subject


async def test_a_crash_of_the_daemon_loses_no_container_and_no_order(
    surviving: DockerSubject,
) -> None:
    deployer, service = surviving.deployer(), new_name()
    # By their own addresses: without a firewall, a published port is a process of the daemon.
    wanted = order(service, NEW, 1, 2, recipe=recipe(reach="address"))
    state = await put_up(deployer, wanted)
    await surviving.host.kill()

    assert [await answer(one) for one in state.endpoints] == [NEW, NEW], "users see nothing"
    with pytest.raises(Retryable, match=str(surviving.host.socket)):
        await deployer.versions(service)
    with pytest.raises(Retryable):
        await put_up(deployer, wanted)
    with pytest.raises(Retryable):
        await deployer.take_down(service, NEW, 2, free)

    await surviving.host.start()
    assert (await put_up(deployer, wanted)).endpoints == state.endpoints
    three = order(service, NEW, 2, 3, recipe=recipe(reach="address"))
    scaled = await deployer.scale(three, Reports())
    assert set(state.endpoints) < set(scaled.endpoints)
    await deployer.take_down(service, NEW, 3, free)
    assert not await surviving.things()


async def test_a_container_that_died_while_the_daemon_was_away_comes_back(
    surviving: DockerSubject,
) -> None:
    deployer, service = surviving.deployer(), new_name()
    wanted = surviving.wanted(service, NEW, 1)
    state = await put_up(deployer, wanted)
    pid = await surviving.host.docker("inspect", "-f", "{{.State.Pid}}", state.instances[0].name)
    await surviving.host.kill()
    process = await asyncio.create_subprocess_exec("kill", "-9", pid)
    await process.wait()
    await surviving.host.start()
    again = await put_up(deployer, wanted)
    assert [await answer(one) for one in again.endpoints] == [NEW]
    assert again.endpoints == state.endpoints, "at the same port: no router needs to know"


async def test_a_restart_without_live_restore_starts_all_again(surviving: DockerSubject) -> None:
    deployer, service = surviving.deployer(), new_name()
    wanted = surviving.wanted(service, NEW, 1)
    state = await put_up(deployer, wanted)
    await surviving.host.stop()
    surviving.host.live_restore = False
    await surviving.host.start()
    again = await put_up(surviving.deployer(), wanted)
    assert again.endpoints == state.endpoints
    assert [await answer(one) for one in again.endpoints] == [NEW]


async def test_a_full_disk_is_told_and_ends_when_there_is_room(small: DockerSubject) -> None:
    deployer, service = small.deployer(), new_name()
    wanted = order(
        service,
        NEW,
        1,
        recipe=recipe(),
    )
    await _fill(small)
    task, reports = await begin(deployer, wanted)
    told = await reports.until(lambda state: state.trouble is not None)
    assert told.trouble is Trouble.NO_SPACE
    assert "no space left on device" in told.text
    await small.host.docker("rm", "-f", "glutton")
    async with asyncio.timeout(LONGEST_S):
        state = await task
    assert [await answer(one) for one in state.endpoints] == [NEW]


async def _fill(subject: DockerSubject) -> None:
    """Leave no byte of the disk."""
    await subject.host.docker(
        "create", "--name", "glutton", f"shop:{NEW}", "sh", "-c", "cat /dev/zero > /tmp/all"
    )
    await subject.host.docker("start", "glutton")
    await subject.host.docker("wait", "glutton")


async def test_an_image_that_is_gone_is_told_and_what_runs_of_it_goes_on(
    docker_deployer_subject: DockerSubject,
) -> None:
    subject = docker_deployer_subject
    deployer, service = subject.deployer(), new_name()
    await subject.host.docker("tag", f"shop:{NEW}", f"{service}:{NEW}")
    made = recipe(image=f"{service}:{{version}}")
    state = await put_up(deployer, order(service, NEW, 1, recipe=made))
    await subject.host.docker("rmi", "--force", f"{service}:{NEW}")

    reports = Reports()
    wanted = order(service, NEW, 2, 2, recipe=made)
    task = asyncio.create_task(deployer.scale(wanted, reports))
    told = await reports.until(lambda one: one.trouble is not None)
    assert told.trouble is Trouble.IMAGE_MISSING
    assert f"{service}:{NEW}" in told.text
    assert await answer(state.endpoints[0]) == NEW
    await stop(task)


async def test_a_container_killed_from_outside_is_seen_and_started_again_in_its_place(
    docker_deployer_subject: DockerSubject,
) -> None:
    subject = docker_deployer_subject
    deployer, service = subject.deployer(), new_name()
    wanted = subject.wanted(service, NEW, 1, 2)
    state = await put_up(deployer, wanted)
    await subject.kill(state.instances[0])
    (seen,) = await deployer.versions(service)
    assert seen.instances[0].state is InstanceState.FAILED
    assert seen.trouble is Trouble.CRASH_LOOP
    assert "was killed" in seen.text
    assert (await put_up(deployer, wanted)).endpoints == state.endpoints

    await subject.host.docker("rm", "-f", state.instances[0].name)
    (seen,) = await deployer.versions(service)
    assert (seen.ready, seen.wanted) == (1, 2)
    assert "1 of its containers is not there" in seen.sentence
    assert (await put_up(deployer, wanted)).ready == 2


async def test_a_foreign_container_with_the_name_is_never_touched(
    docker_deployer_subject: DockerSubject,
) -> None:
    subject = docker_deployer_subject
    deployer, service = subject.deployer(), new_name()
    name = f"aviary-{service}-{NEW}-1"
    await subject.host.docker("run", "-d", "--name", name, f"shop:{NEW}")
    before = await subject.host.docker("inspect", name)
    task, reports = await begin(deployer, subject.wanted(service, NEW, 1))
    told = await reports.until(lambda state: state.trouble is not None)
    assert told.trouble is Trouble.NAME_TAKEN
    assert name in told.text
    await stop(task)
    await deployer.take_down(service, NEW, 2, free)
    assert await subject.host.docker("inspect", name) == before


async def test_what_a_late_order_leaves_as_its_process_is_killed_never_runs(
    docker_deployer_subject: DockerSubject,
) -> None:
    """It was made, and its maker died before the fence was read again."""
    subject = docker_deployer_subject
    deployer, service = subject.deployer(), new_name()
    await put_up(deployer, subject.wanted(service, NEW, 1))
    labels = await subject.host.docker(
        "inspect", "-f", "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}\n{{end}}",
        f"aviary-{service}-{NEW}-1",
    )  # fmt: skip
    await deployer.take_down(service, NEW, 2, free)
    given = [word for one in labels.splitlines() for word in ("--label", one)]
    name = f"aviary-{service}-{NEW}-1"
    await subject.host.docker("create", "--name", name, *given, f"shop:{NEW}")

    (seen,) = await subject.deployer().versions(service)
    assert [one.state for one in seen.instances] == [InstanceState.DRAINING]
    assert seen.endpoints == ()
    await subject.deployer().take_down(service, NEW, 2, free)
    assert list(await subject.deployer().versions(service)) == []
    assert not (await subject.host.docker("ps", "-aq", "--filter", f"name={service}")).split()


async def test_requests_in_flight_are_answered_before_an_instance_ends(
    docker_deployer_subject: DockerSubject,
) -> None:
    subject = docker_deployer_subject
    deployer, service = subject.deployer(), new_name()
    script = (
        "trap 'sleep 2; exit 0' TERM; httpd -f -p 8080 -h /www & while true; do sleep 0.1; done"
    )
    made = recipe(init=False, stop_grace="10s", command=["sh", "-c", script])
    state = await put_up(deployer, order(service, NEW, 1, recipe=made))
    going = asyncio.create_task(deployer.take_down(service, NEW, 2, free))
    await asyncio.sleep(0.5)
    assert await answer(state.endpoints[0]) == NEW, "it was told to end, and has its grace"
    async with asyncio.timeout(LONGEST_S):
        await going
    assert await answer(state.endpoints[0]) == ""


async def test_a_newer_order_does_not_count_on_what_was_told_to_end(
    docker_deployer_subject: DockerSubject,
) -> None:
    subject, service = docker_deployer_subject, new_name()
    deaf = ["sh", "-c", f"trap '' TERM; exec httpd -f -p {PORT} -h /www"]
    made = recipe(command=deaf, stop_grace="4s")

    def wanted(generation: int, instances: int) -> WantedVersion:
        return order(service, NEW, generation, instances, recipe=made)

    deployer = subject.deployer()
    await deployer.put_up(wanted(1, 2), lambda _: None)
    fewer = asyncio.create_task(deployer.scale(wanted(2, 1), lambda _: None))
    while not any(one.endswith("-going") for one in await subject.things()):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    fewer.cancel()
    state = await subject.deployer().scale(wanted(3, 2), lambda _: None)
    assert state.ready == 2
    (known,) = await subject.deployer().versions(service)
    assert (known.ready, len(known.instances)) == (2, 2)
    assert not any(one.endswith("-going") for one in await subject.things())
