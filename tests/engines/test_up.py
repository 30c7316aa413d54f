"""`aviary local up --engine cluster`, as a person uses it, while parts die."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aviary.local import records
from aviary.local.cluster import BROKERS, NODES
from aviary.local.parts import ROOT
from aviary.local.records import PARENT, Record
from tests.engines.places import open_folder

pytestmark = [pytest.mark.e2e, pytest.mark.long]

_UP_WITHIN_S = 900.0
"""With the first build of Temporal's server on a busy machine."""
_WITHIN_S = 240.0
TWICE = ("worker", "bridge", "webhook", "envoy")
KILLED = ("temporal-1", "kafka-2", "postgres", "worker-2", "envoy-2", "balancer")


@asynccontextmanager
async def _up(folder: Path) -> AsyncIterator[Process]:
    words = ("up", "--engine", "cluster", "--keep-going", "--folder", str(folder))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aviary", "local", *words, "--format", "json"),
        cwd=ROOT,
        stdout=PIPE,
        stderr=None,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_parts_die_and_come_back_under_a_release_and_all_ends_in_order() -> None:
    with open_folder() as base:
        folder = base / "stack"
        async with _up(folder) as process:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), _UP_WITHIN_S)
            assert json.loads(line)["folder"] == str(folder)
            before = _running(folder)
            twice = {f"{name}{end}" for name in TWICE for end in ("", "-2")}
            assert {*NODES, *BROKERS, *twice, "postgres", "balancer"} <= set(before)

            said = await _aviary(folder, "release", "start", "one", "--service", "ledger=1.1.0")
            assert said[0] == 0, said[1]
            for name in KILLED:
                os.kill(before[name].pid, signal.SIGKILL)
            said = await _aviary(folder, "release", "watch", "one")
            assert said[0] == 0, said[1]
            await _back(folder, before)

            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), _WITHIN_S) == 0
        assert [one.name for one in before.values() if one.alive] == []
        assert not (folder / "processes.json").exists()


async def _back(folder: Path, before: Mapping[str, Record]) -> None:
    """Wait until each part that was killed is there again, as another process."""
    async with asyncio.timeout(_WITHIN_S):
        # Another process' children have no event that we could wait for.
        while any(  # noqa: ASYNC110
            name not in (now := _running(folder)) or now[name].pid == before[name].pid
            for name in KILLED
        ):
            await asyncio.sleep(0.1)


def _running(folder: Path) -> dict[str, Record]:
    return {one.name: one for one in records.read(folder) if one.name != PARENT}


async def _aviary(folder: Path, *words: str) -> tuple[int | None, str]:
    """Run a command on the stack: its exit code, and what it said."""
    lines = (folder / "env").read_text().splitlines()
    told = dict(shlex.split(line)[0].split("=", 1) for line in lines)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aviary", *words),
        cwd=ROOT,
        env={**os.environ, **told},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), _WITHIN_S)
    return process.returncode, output.decode()
