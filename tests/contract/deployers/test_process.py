"""What the process deployer owes beyond the port: to the machine, and when things die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.deployers.process import pids
from adapters.deployers.process.deployer import KEPT_S
from adapters.deployers.process.recipe import ProcessRecipe
from adapters.deployers.process.store import Folder
from adapters.errors import StaleGeneration, Terminal
from adapters.routers.files import locked
from schemas.deployment import Instance, InstanceState, OneOff, Trouble
from tests.contract.deployers.orders import LONGEST_S, Reports, begin, put_up, stop
from tests.contract.deployers.processes import PYTHON, SERVICE, ProcessSubject, recipe
from tests.contract.deployers.subjects import NEW, free, names, new_name, order

_PUT_UP = """
import asyncio, httpx, pathlib, sys
from adapters.deployers.process.deployer import ProcessDeployer
from schemas.deployment import WantedVersion
async def main():
    async with httpx.AsyncClient() as client:
        made = ProcessDeployer(
            pathlib.Path(sys.argv[1]), "aviary", ports=range(21000, 25000), client=client
        )
        wanted = WantedVersion.model_validate_json(sys.argv[2])
        await made.put_up(wanted, lambda state: print(len(state.instances), flush=True))
asyncio.run(main())
"""


@pytest.fixture
def processes(process_deployer_subject: ProcessSubject) -> ProcessSubject:
    return process_deployer_subject


def folder_of(processes: ProcessSubject, service: str, instance: Instance) -> Folder:
    return Folder(processes.folder / f"state/aviary/versions/{service}/{NEW}/{instance.name}")


async def test_a_worker_that_is_killed_leaves_what_the_next_one_adopts(
    processes: ProcessSubject,
) -> None:
    service = new_name()
    wanted = processes.wanted(service, NEW, 1, 3)
    words = ["-c", _PUT_UP, str(processes.folder / "state"), wanted.model_dump_json()]
    worker = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    assert await asyncio.wait_for(worker.stdout.readline(), 60)
    worker.kill()
    await worker.wait()

    state = await put_up(processes.deployer(), wanted)
    assert state.ready == 3
    assert await processes.things() == names(state.instances)
    await processes.deployer().take_down(service, NEW, 2, free)
    assert await processes.things() == frozenset()


async def test_an_instance_whose_supervisor_was_killed_goes_on_and_is_ended(
    processes: ProcessSubject,
) -> None:
    service, deployer = new_name(), processes.deployer()
    wanted = processes.wanted(service, NEW, 1)
    state = await put_up(deployer, wanted)
    status = folder_of(processes, service, state.instances[0]).status()
    assert status.supervisor is not None
    os.kill(status.supervisor, signal.SIGKILL)

    assert await put_up(deployer, wanted) == state
    assert await processes.answer(state.endpoints[0]) == NEW
    await deployer.take_down(service, NEW, 2, free)
    assert await processes.things() == frozenset()


async def test_an_instance_that_dies_is_started_again_at_its_place(
    processes: ProcessSubject,
) -> None:
    service, deployer = new_name(), processes.deployer()
    state = await put_up(deployer, processes.wanted(service, NEW, 1))
    await processes.kill(state.instances[0])
    async with asyncio.timeout(LONGEST_S):
        while await processes.answer(state.endpoints[0]) != NEW:  # noqa: ASYNC110 - as below
            await asyncio.sleep(0.05)
    (after,) = await deployer.versions(service)
    assert after.endpoints == state.endpoints


async def test_a_process_that_has_the_number_of_a_dead_one_is_not_touched(
    processes: ProcessSubject,
) -> None:
    """A stranger runs under the number that a status names: only when it began tells them apart."""
    service, deployer = new_name(), processes.deployer()
    state = await put_up(deployer, processes.wanted(service, NEW, 1))
    folder = folder_of(processes, service, state.instances[0])
    said = folder.status()
    assert said.supervisor is not None
    assert said.pid is not None
    for pid in (said.supervisor, said.pid):
        os.kill(pid, signal.SIGKILL)
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    path = folder.path / "status.json"
    document: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "pid": stranger.pid, "supervisor": stranger.pid}))

    (found,) = await deployer.versions(service)
    assert found.instances[0].state is InstanceState.FAILED
    await deployer.take_down(service, NEW, 2, free)
    assert stranger.returncode is None
    assert pids.began(stranger.pid) is not None
    stranger.kill()
    await stranger.wait()


async def test_it_has_its_grace_and_what_it_has_started_goes_with_it(
    processes: ProcessSubject,
) -> None:
    """One that ignores SIGTERM, with a child of its own session, is killed after its grace."""
    service, deployer = new_name(), processes.deployer()
    script = "trap '' TERM; setsid sleep 600 & while :; do sleep 0.1; done"
    more = {"ready": {"seconds": 0.2}, "grace": "500ms"}
    wanted = order(service, NEW, 1, recipe=recipe(["sh", "-c", script], **more))
    await put_up(deployer, wanted)
    began = time.monotonic()
    await deployer.take_down(service, NEW, 2, free)
    assert 0.5 <= time.monotonic() - began < LONGEST_S
    assert await processes.things() == frozenset()


async def test_it_gets_nothing_of_the_worker_s_environment_but_what_programs_need(
    processes: ProcessSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIARY_KAFKA_SASL_PASSWORD", "s3cret")
    secret = processes.folder / "token"
    secret.write_text("t0ken\n")
    service, deployer = new_name(), processes.deployer()
    words = [*PYTHON, str(SERVICE), "{port}", "{version}"]
    more = {"env": {"COLOUR": "red"}, "env_from": {"API_TOKEN": str(secret)}}
    wanted = order(service, NEW, 1, recipe=recipe(words, **more), config={"MODE": "fast"})
    state = await put_up(deployer, wanted)
    folder = folder_of(processes, service, state.instances[0])
    pid = folder.status().pid
    text = Path(f"/proc/{pid}/environ").read_text()
    environment = dict(one.split("=", 1) for one in text.split("\0") if one)
    assert environment["COLOUR"] == "red"
    assert environment["MODE"] == "fast"
    assert environment["API_TOKEN"] == "t0ken"
    assert environment["PORT"] == str(state.endpoints[0].port)
    assert environment["AVIARY_OWNER"] == "aviary"
    assert (environment["AVIARY_SERVICE"], environment["AVIARY_VERSION"]) == (service, NEW)
    assert (environment["AVIARY_RELEASE"], environment["AVIARY_GENERATION"]) == ("r1", "1")
    assert "AVIARY_KAFKA_SASL_PASSWORD" not in environment
    written = b"".join(path.read_bytes() for path in folder.path.iterdir())
    assert b"t0ken" not in written


async def test_a_port_that_somebody_took_is_given_up(
    processes: ProcessSubject,
) -> None:
    """Between the choice of a port and its use, somebody else may come."""
    service, deployer = new_name(), processes.deployer()
    wanted = processes.wanted(service, NEW, 1, trouble=Trouble.CRASH_LOOP)
    task, reports = await begin(deployer, wanted)
    first = (await reports.until(lambda state: state.trouble is not None)).instances[0]
    await processes.plant(first)
    await processes.heal(wanted)
    async with asyncio.timeout(LONGEST_S):
        state = await task
    assert first.endpoint not in state.endpoints
    assert await processes.answer(state.endpoints[0]) == NEW


async def test_the_words_of_a_crash_loop_are_its_last_lines(processes: ProcessSubject) -> None:
    service, deployer = new_name(), processes.deployer()
    task, reports = await begin(
        deployer, processes.wanted(service, NEW, 1, trouble=Trouble.CRASH_LOOP)
    )
    told = await reports.until(lambda state: state.trouble is not None)
    await stop(task)
    assert "ended with exit code 1, 2 times in a row" in told.text
    assert "no database at db:5432" in told.text


async def test_more_instances_than_ports_are_told_as_quota(processes: ProcessSubject) -> None:
    processes.ports = range(processes.ports[-2], processes.ports[-1])
    task, reports = await begin(processes.deployer(), processes.wanted(new_name(), NEW, 1, 2))
    told = await reports.until(lambda state: state.trouble is not None)
    await stop(task)
    assert told.trouble is Trouble.QUOTA
    assert "no port is free" in told.text


async def test_a_recipe_that_is_none_can_never_be_put_up(processes: ProcessSubject) -> None:
    wanted = order(new_name(), NEW, 1, recipe={"comand": ["true"]})
    with pytest.raises(Terminal, match="comand"):
        await processes.deployer().put_up(wanted, Reports())


async def test_a_command_that_can_not_be_started_says_so(processes: ProcessSubject) -> None:
    one = OneOff(
        key="k", wanted=processes.wanted(new_name(), NEW, 1), command=("/nowhere/migrate",)
    )
    end = await processes.runner().run(one)
    assert end.exit_code == 127
    assert "/nowhere/migrate" in end.lines[-1]


async def test_a_command_that_was_killed_is_not_run_again(processes: ProcessSubject) -> None:
    service, runner = new_name(), processes.runner()
    text = f"killed {service}"
    command = processes.command(text, 0, 60.0)
    one = OneOff(key=service, wanted=processes.wanted(service, NEW, 1), command=command)
    task = asyncio.create_task(runner.run(one))
    async with asyncio.timeout(LONGEST_S):
        while not await processes.runs(text):  # noqa: ASYNC110 - somebody else's process
            await asyncio.sleep(0.02)
    for pid, _ in list(processes.marked()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = await asyncio.wait_for(task, LONGEST_S)
    assert end.exit_code == 137
    assert await runner.run(one) == end
    assert await processes.runs(text) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"command": []}, "command"),
        ({"command": ["x", "{prot}"]}, "{prot}"),
        ({"command": ["x", "{"]}, "braces"),
        ({"command": ["x"], "env": {"AVIARY_X": "1"}}, "AVIARY_X"),
        ({"command": ["x"], "env": {"DB_PASSWORD": "1"}}, "env_from"),
        ({"command": ["x"], "ready": {"tcp": True, "http": "/"}}, "exactly one"),
        ({"command": ["x"], "grace": "0s"}, "grace"),
    ],
)
def test_a_wrong_recipe_is_told(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ProcessRecipe.model_validate(wrong)
    assert told in str(caught.value)


async def test_fences_are_kept_for_a_month_and_only_those_of_what_has_gone(
    processes: ProcessSubject,
) -> None:
    deployer, service = processes.deployer(), new_name()
    for version in ("old", "late", "up", "held", "left"):
        await put_up(deployer, processes.wanted(service, version, 1))
    for version in ("old", "late", "held", "left"):
        await deployer.take_down(service, version, 2, free)
    versions = processes.folder / f"state/aviary/versions/{service}"
    for version in ("old", "up", "held", "left"):
        long_ago = time.time() - KEPT_S - 60
        os.utime(versions / version / "order.json", (long_ago, long_ago))
    (versions / "left" / "half-made").mkdir()
    with locked(versions / "held", 1):
        await deployer.take_down(service, "late", 3, free)
    assert {one.name for one in versions.iterdir()} == {"late", "up", "held", "left"}
    with pytest.raises(StaleGeneration):
        await put_up(deployer, processes.wanted(service, "late", 2))
    (state,) = (one for one in await deployer.versions(service) if one.version == "up")
    assert state.ready == 1
    await put_up(deployer, processes.wanted(service, "old", 4))
