"""docs/quickstart.md, done word for word by a newcomer with three shells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.newcomer import Newcomer

pytestmark = pytest.mark.e2e

WENT_BACK = 3


@pytest.fixture
async def newcomer(tmp_path: Path) -> AsyncIterator[Newcomer]:
    """With a stack that was brought up as the page says."""
    here = Newcomer("quickstart.md", {".aviary/mine": str(tmp_path)})
    async with here.stack():
        yield here


async def _steered(here: Newcomer, settings: str) -> str:
    """The third shell: pauses the first release once it is there, and lets it go on."""
    steer = here.block("release pause", "release resume").splitlines()
    pause, resume = (f"until {line}; do sleep 0.2; done" for line in steer)
    code, output = await here.run(settings, pause, resume)
    assert code == 0, output
    return output


async def test_the_quickstart_works_word_for_word(newcomer: Newcomer) -> None:
    settings = newcomer.block("release list")
    code, output = await newcomer.run(settings)
    assert code == 0, output

    release = newcomer.block("release start first")
    steering = asyncio.create_task(_steered(newcomer, settings))
    async with newcomer.shell(settings, release, "echo code $?", "exec sleep 600") as first:
        assert first.stdout is not None
        told = ""
        while "code " not in told:
            line = await first.stdout.readline()
            assert line, told
            told += line.decode()
        assert "code 0" in told, told
        assert "resumed by" in await steering

    code, output = await newcomer.run(settings, newcomer.block("release start second"))
    assert code == WENT_BACK, output

    code, output = await newcomer.run(settings, newcomer.block("explain second"))
    assert code == 0, output
    assert "ledger 1.2.0" in output
    assert "went back" in output or "rolled back" in output
