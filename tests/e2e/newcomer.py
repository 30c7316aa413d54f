"""Somebody who types what a page of the docs says, with a few shells."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aviary.local.parts import ROOT


class Newcomer:
    """Types what a page says, with folders of its own.

    Args:
        page: below `docs`.
        changed: what it types in place of what the page says.
    """

    def __init__(self, page: str, changed: Mapping[str, str]) -> None:
        self.page = (ROOT / "docs" / page).read_text()
        self._changed = changed

    def block(self, *words: str, language: str = "sh") -> str:
        """The one block of the page in a language that has all of these words."""
        blocks = re.findall(rf"^```{language}\n(.*?)^```$", self.page, re.MULTILINE | re.DOTALL)
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

    @asynccontextmanager
    async def stack(self) -> AsyncIterator[None]:
        """Bring the stack up as the page says, and end it with Ctrl-C."""
        async with self.shell(f"exec {self.block('local up').splitlines()[-1]}") as up:
            assert up.stdout is not None
            heard = b""
            while b"Ctrl-C" not in heard:
                line = await up.stdout.readline()
                assert line, heard.decode()
                heard += line
            draining = asyncio.create_task(up.stdout.read())
            yield
            os.killpg(up.pid, signal.SIGINT)
            assert await up.wait() == 0
            await draining
