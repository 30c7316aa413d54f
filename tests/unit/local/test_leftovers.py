"""What a stack that was killed has left of its Docker daemon; there is no daemon here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aviary.local import leftovers
from aviary.local.docker import DockerHost, DockerTools, Network
from aviary.local.records import PARENT, Record, Records

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc")


def remembered(tmp_path: Path) -> tuple[Path, Path]:
    stack, folder = tmp_path / "stack", tmp_path / "host"
    for path in (stack, folder / "data"):
        path.mkdir(parents=True)
    network = Network("aviary-nobodys", 99)
    leftovers.remember(stack, DockerHost(DockerTools(folder), folder, network=network))
    return stack, folder


async def test_it_is_removed_once(tmp_path: Path) -> None:
    stack, folder = remembered(tmp_path)
    assert leftovers.below(tmp_path) == [stack]
    assert await leftovers.sweep(stack)
    assert not folder.exists()
    assert leftovers.below(tmp_path) == []
    assert not await leftovers.sweep(stack)


async def test_one_whose_stack_runs_is_left_alone(tmp_path: Path) -> None:
    stack, folder = remembered(tmp_path)
    Records(stack).add(Record.of(PARENT, os.getpid()))
    assert not await leftovers.sweep(stack)
    assert folder.exists()
    assert leftovers.below(tmp_path) == [stack]
