"""docs/quickstart.md, done word for word by a newcomer with three shells."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from aviary.local.parts import ROOT
from aviary.local.ports import FreePorts

pytestmark = pytest.mark.e2e

PAGE = (ROOT / "docs/quickstart.md").read_text()
PORTS = FreePorts()
WENT_BACK = 3


class Newcomer:
    """Types what the page says, with free ports and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._changed = {
            ".aviary/mine": str(folder),
            "18080": str(PORTS.take()),
            "18081": str(PORTS.take()),
        }

    def block(self, *words: str) -> str:
        """The one command block of the page that has all of these words."""
        blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        (found,) = [block for block in blocks if all(word in block for word in words)]
        return self.typed(found)

    def typed(self, text: str) -> str:
        """As the page says it, here."""
        for old, new in self._changed.items():
            text = text.replace(old, new)
        return text

    @asynccontextmanager
    async def shell(self, *blocks: str) -> AsyncIterator[Process]:
        """A shell that runs these; whatever it leaves in the background ends with it."""
        script = "\n".join(("set -eu", *blocks)).replace(". .venv/bin/activate", ":")
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", script,
            cwd=ROOT,
            env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # the shell may be gone, and its group with it
                os.killpg(process.pid, signal.SIGTERM)
            await process.wait()

    async def run(self, *blocks: str) -> tuple[int, str]:
        """Exit code and output of a shell."""
        async with self.shell(*blocks) as process:
            output, _ = await process.communicate()
            return process.returncode or 0, output.decode()


@pytest.fixture
async def newcomer(tmp_path: Path) -> AsyncIterator[Newcomer]:
    """With a stack that was brought up as the page says."""
    here = Newcomer(tmp_path)
    async with here.shell(f"exec {here.block('local up').splitlines()[-1]}") as up:
        assert up.stdout is not None
        heard = b""
        while b"Ctrl-C" not in heard:
            line = await up.stdout.readline()
            assert line, heard.decode()
            heard += line
        draining = asyncio.create_task(up.stdout.read())
        yield here
        os.killpg(up.pid, signal.SIGINT)
        assert await up.wait() == 0
        await draining


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

    put_up = newcomer.block("pools put").replace("&\n", ">/dev/null 2>&1 &\n")
    release = newcomer.block("release start first")
    steering = asyncio.create_task(_steered(newcomer, settings))
    async with newcomer.shell(settings, put_up, release, "echo code $?", "exec sleep 600") as first:
        assert first.stdout is not None
        told = ""
        while "code " not in told:
            line = await first.stdout.readline()
            assert line, told
            told += line.decode()
        assert "code 0" in told, told
        assert "resumed by" in await steering

        bad = put_up.replace("1.1.0", "1.2.0").replace(
            newcomer.typed("18080"), newcomer.typed("18081")
        )
        said = re.search(r"`(--fault '.*?')`", PAGE)
        assert said is not None
        bad = bad.replace("--service ledger", f"--service ledger {said.group(1)}")
        again = release.replace("first", "second").replace("1.1.0", "1.2.0")
        code, output = await newcomer.run(settings, bad, again)
        assert code == WENT_BACK, output

        code, output = await newcomer.run(settings, newcomer.block("explain second"))
        assert code == 0, output
        assert "ledger 1.2.0" in output
        assert "went back" in output or "rolled back" in output
