"""`aviary local up`: it says where everything is, and leaves no process behind, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aviary.local import records
from aviary.local.http1 import fetch
from aviary.local.parts import ROOT
from aviary.local.records import PARENT, Record

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


@dataclass
class Running:
    """An `aviary local up` in a process of its own."""

    process: Process
    folder: Path
    document: dict[str, Any]
    children: list[Record]

    async def gone(self) -> None:
        """Wait until no process of it is alive."""
        async with asyncio.timeout(30):
            # Another process' end has no event that we could wait for.
            while any(  # noqa: ASYNC110
                child.alive for child in self.children
            ) or _mentioning(self.folder):
                await asyncio.sleep(0.05)


@asynccontextmanager
async def _up(folder: Path) -> AsyncIterator[Running]:
    async with _command("up", "--folder", str(folder), "--format", "json") as process:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 90)
        children = [r for r in records.read(folder) if r.name != PARENT]
        yield Running(process, folder, json.loads(line), children)


@asynccontextmanager
async def _command(*words: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aviary", "local", *words, cwd=ROOT, stdout=PIPE, stderr=DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _mentioning(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder, other than `aviary local` itself."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        if str(folder).encode() in b" ".join(words) and b"local" not in words:
            found.append(b" ".join(words).decode())
    return found


async def test_two_stacks_run_side_by_side_and_end_by_sigterm_and_sigint(tmp_path: Path) -> None:
    async with _up(tmp_path / "one") as one, _up(tmp_path / "two") as two:
        for running in (one, two):
            names = {child.name for child in running.children}
            assert {"temporal", "kafka", "envoy", "prometheus", "alertmanager"} <= names
            assert {"worker", "bridge", "webhook", "load"} <= names
            assert len(list(running.folder.glob("instances/*/versions/*/1.0.0/*/log"))) >= 6
            assert "TOKEN" not in json.dumps(running.document)
            ui = int(running.document["addresses"]["temporal_ui"].rpartition(":")[2])
            assert (await fetch(ui, "/")).status == 200
        addresses = [set(running.document["addresses"].values()) for running in (one, two)]
        assert addresses[0].isdisjoint(addresses[1])
        one.process.send_signal(signal.SIGTERM)
        two.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(one.process.wait(), 30) == 0
        assert await asyncio.wait_for(two.process.wait(), 30) == 0
        # Not "after a while": when it has ended, they have.
        for running in (one, two):
            assert [child.name for child in running.children if child.alive] == []
            assert _mentioning(running.folder) == []


async def test_a_stack_that_is_killed_takes_its_children_with_it(tmp_path: Path) -> None:
    async with _up(tmp_path / "stack") as running:
        running.process.kill()
        await running.process.wait()
        await running.gone()
        assert not any(child.alive for child in running.children)


async def test_down_ends_a_stack_from_another_shell(tmp_path: Path) -> None:
    async with _up(tmp_path / "stack") as running:
        async with _command("down", "--folder", str(running.folder)) as down:
            assert down.stdout is not None
            said = (await down.stdout.read()).decode()
            assert await down.wait() == 0
        assert "ended" in said
        assert await asyncio.wait_for(running.process.wait(), 10) == 0
        assert not any(child.alive for child in running.children)


async def test_a_stop_while_it_starts_leaves_nothing_either(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    async with _command("up", "--folder", str(folder)) as process:
        async with asyncio.timeout(60):
            while len(records.read(folder)) < 4:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        children = [r for r in records.read(folder) if r.name != PARENT]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert not any(child.alive for child in children)
        assert _mentioning(folder) == []


async def test_a_part_that_dies_is_shown_and_ends_the_stack(tmp_path: Path) -> None:
    async with _up(tmp_path / "stack") as running:
        kafka = next(child for child in running.children if child.name == "kafka")
        os.kill(kafka.pid, signal.SIGKILL)
        assert await asyncio.wait_for(running.process.wait(), 30) == 1
        assert not any(child.alive for child in running.children)


async def test_a_folder_with_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    async with _command("up", "--folder", str(tmp_path)) as process:
        assert await asyncio.wait_for(process.wait(), 30) == 2
    assert _names(tmp_path) == ["precious"]


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
