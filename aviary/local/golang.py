"""Programs that are built from their published Go modules, at first use, with pinned checksums."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Iterable
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


def digest(files: Iterable[Path], recipe: int) -> str:
    """Of what is built: 16 hexadecimal digits that change with its pins and with how it is built.

    Args:
        files: with the pins, and the sources of one's own.
        recipe: number of the way of building; counts up where that changes.
    """
    content = b"".join(file.read_bytes() for file in files) + str(recipe).encode()
    return hashlib.sha256(content).hexdigest()[:16]
