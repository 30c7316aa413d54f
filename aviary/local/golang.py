"""Programs that are built from their published Go modules, at first use, with pinned checksums."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Final

_TAIL: Final = 2_000


class GoError(RuntimeError):
    """Go failed; the text has the end of what it said."""


def is_there() -> bool:
    """Whether Go is installed."""
    return shutil.which("go") is not None


async def go(source: Path, *words: str) -> str:
    """Run `go` to its end in the folder of a module; returns what it printed.

    Raises:
        GoError: it failed.
    """
    process = await asyncio.create_subprocess_exec(
        "go", *words,
        cwd=source,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
    )  # fmt: skip
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:  # cancelled: it must not go on alone
            process.terminate()
            await process.wait()
    if process.returncode != 0:
        text = errors.decode(errors="replace")[-_TAIL:]
        raise GoError(f"go {words[0]}: ended with {process.returncode}:\n{text}")
    return output.decode()
