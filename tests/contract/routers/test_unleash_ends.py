"""Unleash and its database end with whoever started them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from aviary.local.npm import NpmError
from aviary.local.records import Record
from aviary.local.unleash.server import program
from tests.contract.routers.live import free_port

_WITHIN_S: Final = 60.0
_PARENT: Final = """
import asyncio, sys
from pathlib import Path
from aviary.local.unleash.server import UnleashServer

async def run():
    server = await asyncio.to_thread(UnleashServer, Path(sys.argv[1]), int(sys.argv[2]))
    await asyncio.to_thread(server.start)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(run())
"""


def _below(pid: int) -> list[Record]:
    """All processes that one has started, and those that these have."""
    found: list[Record] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [Record.of(str(child), child), *_below(child)]
    return found


@pytest.fixture
def short() -> Iterator[Path]:
    """For what a killed parent leaves: a socket's path has to be short."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # the database runs as nobody
        yield Path(folder)


async def test_they_die_with_a_parent_that_is_killed(tmp_path: Path, short: Path) -> None:
    try:
        program()
    except NpmError as error:
        pytest.skip(str(error))
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, str(tmp_path), str(free_port()),
        env={**os.environ, "TMPDIR": str(short)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"ready\n"
    below = _below(parent.pid)
    names = [Path(f"/proc/{one.pid}/comm").read_text().strip() for one in below]
    assert "node" in names
    assert names.count("postgres") > 1
    parent.kill()
    await parent.wait()
    try:
        await asyncio.wait_for(_gone(below), _WITHIN_S)
    finally:
        for one in below:
            if one.alive:
                os.kill(one.pid, signal.SIGKILL)


async def _gone(below: list[Record]) -> None:
    while any(one.alive for one in below):  # noqa: ASYNC110 - nobody tells of a process of others
        await asyncio.sleep(0.05)
