"""Children end with their parent, whatever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from aviary.local import records
from aviary.local.ports import FreePorts, PortsError, is_free
from aviary.local.process import ChildFailedError, ChildSpec, NotReady, Probe, Supervisor
from aviary.local.records import PARENT, Record

_SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")
_DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
_STUBBORN = (sys.executable, "-c", _DEAF)
_PARENT = """
import asyncio, sys
from pathlib import Path
from aviary.local.process import ChildSpec, Supervisor

async def main():
    async with Supervisor(Path(sys.argv[1])) as supervisor:
        child = await supervisor.start(ChildSpec("child", ("sleep", "600")))
        print(child.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def _says(log: Path, word: str) -> Probe:
    async def probe() -> None:
        if word not in await asyncio.to_thread(log.read_text):
            raise NotReady(f"no {word} yet")

    return probe


async def test_leaving_the_supervisor_ends_its_children_even_those_that_ignore_sigterm(
    tmp_path: Path,
) -> None:
    async with Supervisor(tmp_path, grace=0.2) as supervisor:
        probe = _says(tmp_path / "logs/stubborn.log", "deaf")
        children = [
            await supervisor.start(ChildSpec("polite", _SLEEP)),
            await supervisor.start(ChildSpec("stubborn", _STUBBORN, probe=probe)),
        ]
        alive = [Record.of(child.name, child.pid) for child in children]
        assert all(record.alive for record in alive)
    assert not any(record.alive for record in alive)
    assert [child.code for child in children] == [-signal.SIGTERM, -signal.SIGKILL]
    assert supervisor.deaths.empty()
    assert records.read(tmp_path) == []


async def test_a_cancel_while_stopping_does_not_leave_children(tmp_path: Path) -> None:
    started = asyncio.Event()
    pids: list[Record] = []

    async def run() -> None:
        async with Supervisor(tmp_path, grace=0.3) as supervisor:
            probe = _says(tmp_path / "logs/stubborn.log", "deaf")
            child = await supervisor.start(ChildSpec("stubborn", _STUBBORN, probe=probe))
            pids.append(Record.of(child.name, child.pid))
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await started.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not pids[0].alive


async def test_a_child_that_dies_at_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    async def never() -> None:
        raise NotReady("nobody listens")

    argv = (sys.executable, "-c", "print('no such flag: --colour'); raise SystemExit(3)")
    async with Supervisor(tmp_path) as supervisor:
        with pytest.raises(ChildFailedError, match="no such flag: --colour") as failure:
            await supervisor.start(ChildSpec("broken", argv, probe=never))
    assert "ended with 3" in str(failure.value)


async def test_a_child_that_is_never_ready_is_ended_and_says_why(tmp_path: Path) -> None:
    async def never() -> None:
        raise NotReady("nobody listens")

    async with Supervisor(tmp_path) as supervisor:
        spec = ChildSpec("mute", _SLEEP, probe=never, ready_within=0.1)
        with pytest.raises(ChildFailedError, match="nobody listens"):
            await supervisor.start(spec)
        assert not supervisor.children


async def test_a_death_later_is_reported_once(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        child = await supervisor.start(ChildSpec("victim", _SLEEP))
        os.kill(child.pid, signal.SIGKILL)
        dead = await asyncio.wait_for(supervisor.deaths.get(), 10)
        assert dead is child
        assert "ended with -9" in dead.epitaph()
        assert "victim" not in supervisor.children


async def test_a_program_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        with pytest.raises(ChildFailedError, match="ghost: cannot start /nowhere/ghost"):
            await supervisor.start(ChildSpec("ghost", ("/nowhere/ghost",)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_children_die_with_a_parent_that_is_killed(
    tmp_path: Path, number: signal.Signals
) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = Record.of("child", int(await parent.stdout.readline()))
    assert child.alive
    assert {record.name for record in records.read(tmp_path)} == {PARENT, "child"}
    parent.send_signal(number)
    await parent.wait()
    await asyncio.wait_for(_gone(child), 10)


async def test_orphans_on_record_are_swept_and_reused_process_ids_are_not(tmp_path: Path) -> None:
    orphan = await asyncio.create_subprocess_exec(*_SLEEP, start_new_session=True)
    innocent = Record("other", os.getpid(), started=1)
    stack = tmp_path / "stack"
    stack.mkdir()
    kept = records.Records(stack)
    kept.add(Record.of("orphan", orphan.pid))
    kept.add(innocent)
    assert records.sweep(stack) == ["orphan"]
    assert await orphan.wait() == -signal.SIGKILL
    assert records.stacks(tmp_path) == []


async def test_a_running_stack_is_not_swept(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        child = await supervisor.start(ChildSpec("child", _SLEEP))
        assert records.sweep(tmp_path) == []
        assert child.code is None


def test_ports_are_free_and_never_given_twice() -> None:
    ports = FreePorts()
    taken = [ports.take() for _ in range(200)]
    assert len(set(taken)) == len(taken)
    assert all(is_free(port) for port in taken[:20])


def test_ports_are_taken_from_the_range_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIARY_PORTS", "17100-17103")
    ports = FreePorts()
    assert {ports.take() for _ in range(2)} <= set(range(17100, 17104))
    with pytest.raises(OSError, match="from 17100 to 17103"):
        [ports.take() for _ in range(3)]


@pytest.mark.parametrize("chosen", ["17100", "17100-", "17103-17100", "0-9", "60000-70000", "a-b"])
def test_what_is_no_range_of_ports_is_refused(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIARY_PORTS", chosen)
    with pytest.raises(PortsError, match=f"AVIARY_PORTS: expected two ports .* got '{chosen}'"):
        FreePorts()


async def test_a_port_in_use_is_not_free() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    async with server:
        assert not is_free(server.sockets[0].getsockname()[1])


async def _gone(record: Record) -> None:
    while record.alive:  # noqa: ASYNC110 - another process' end has no event to wait for
        await asyncio.sleep(0.01)


def test_what_lies_in_a_folder_is_not_written_through(tmp_path: Path) -> None:
    stack, outside = tmp_path / "stack", tmp_path / "outside"
    stack.mkdir()
    outside.write_text("mine")
    for name in ("processes.new", "processes.json", ".processes.json.new"):
        (stack / name).symlink_to(outside)
    records.Records(stack).add(records.Record.of(records.PARENT, os.getpid()))
    assert outside.read_text() == "mine"
    assert [record.pid for record in records.read(stack)] == [os.getpid()]
