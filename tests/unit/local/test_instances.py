"""What a stack's deployer has started ends with the stack, however that ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters.deployers.process.deployer import ProcessDeployer
from adapters.deployers.process.store import Folder
from adapters.errors import StaleGeneration
from aviary.local import instances, records
from aviary.local.parts import ROOT, watcher
from aviary.local.ports import Block, FreePorts
from schemas.deployment import WantedVersion

WANTED = WantedVersion(
    service="ledger",
    version="1.0.0",
    release="r",
    generation=7,
    instances=2,
    recipe={"command": ["sleep", "600"], "ready": {"seconds": 0.01}, "grace": "1s"},
)


@pytest.fixture
def block() -> Iterator[Block]:
    """Ports of the instances."""
    block = FreePorts().block()
    yield block
    block.close()


async def _put_up(folder: Path, block: Block) -> tuple[ProcessDeployer, list[int]]:
    """A deployer, and the processes of its two instances."""
    connection = instances.connection(folder, block)
    client = httpx.AsyncClient()
    deployer = ProcessDeployer(
        Path(connection.directory), "aviary", ports=connection.ports, client=client
    )
    state = await deployer.put_up(WANTED, lambda _: None)
    await client.aclose()
    found = [Folder(path.parent) for path in folder.rglob("status.json")]
    assert len(state.endpoints) == len(found) == 2
    assert {one.port for one in state.endpoints} <= set(block.ports)
    return deployer, [one.status().pid or 0 for one in found]


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists()]


async def test_all_end_and_no_late_order_starts_one_again(tmp_path: Path, block: Block) -> None:
    deployer, pids = await _put_up(tmp_path, block)
    assert len(instances.end_all(tmp_path)) == 2
    assert _alive(pids) == []
    with pytest.raises(StaleGeneration):
        await deployer.put_up(WANTED, lambda _: None)
    assert instances.end_all(tmp_path) == []
    assert instances.end_all(tmp_path / "another") == []


async def test_a_sweep_ends_what_is_left_of_a_killed_stack(tmp_path: Path, block: Block) -> None:
    _, pids = await _put_up(tmp_path, block)
    assert records.sweep(tmp_path) == []
    assert _alive(pids) == []


async def test_they_end_when_the_stack_is_killed(tmp_path: Path, block: Block) -> None:
    _, pids = await _put_up(tmp_path, block)
    spec = watcher(tmp_path)
    assert spec.outlives
    # Its parent is told of by the last word, and is the stack in a real one.
    program = (
        "import os, subprocess, sys, time; "
        "subprocess.Popen([*sys.argv[1:], str(os.getpid())]); print(flush=True); time.sleep(600)"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *spec.argv[:-1], cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    await parent.stdout.readline()
    assert len(_alive(pids)) == 2
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    async with asyncio.timeout(60):
        while _alive(pids):  # noqa: ASYNC110 - another process' end has no event to wait for
            await asyncio.sleep(0.05)


def test_blocks_of_ports_are_apart_from_others_and_from_single_ports() -> None:
    ports = FreePorts()
    single = {ports.take() for _ in range(200)}
    blocks = [FreePorts().block() for _ in range(3)]
    try:
        sets = [set(block.ports) for block in blocks]
        assert all(sets)
        assert len(set().union(*sets, single)) == sum(map(len, sets)) + len(single)
    finally:
        for block in blocks:
            block.close()


def test_there_are_blocks_for_some_stacks_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIARY_PORTS", "17200-17263")
    blocks = [FreePorts().block() for _ in range(8)]
    assert {len(block.ports) for block in blocks} == {1}
    with pytest.raises(OSError, match="no free ports in a row .* from 17200 to 17263"):
        FreePorts().block()
    blocks[0].close()
    FreePorts().block().close()
    for block in blocks[1:]:
        block.close()
    monkeypatch.setenv("AVIARY_PORTS", "17200-17203")
    with pytest.raises(OSError, match="no free ports in a row"):
        FreePorts().block()
