"""Running a stack in the foreground: start, work, and end in order whatever happens."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aviary.local import records
from aviary.local.parts import ROOT
from aviary.local.stack import Say, Stack

BASE: Final = ROOT / ".aviary"
"""Below it each run has a folder of its own."""
STOPPED: Final = 130
"""Exit code of work that a signal ended before its own end."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Work = Callable[[Stack], Awaitable[int]]


class FolderError(ValueError):
    """The folder can't be used; the text says why."""


def new_folder(wanted: Path | None, *, now: datetime | None = None) -> Path:
    """The folder of a new run, and end what is left of earlier ones below `BASE`.

    Raises:
        FolderError: `wanted` has content. A half-filled stack is no place for a new one.
    """
    for stale in records.stacks(BASE):
        records.sweep(stale)
    if wanted is None:
        moment = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
        return BASE / f"{moment}-{os.getpid()}"
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise FolderError(f"--folder: {wanted}: expected a folder that is new or empty")
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"--folder: {wanted}: {error.strerror}, expected a folder") from None
    return wanted


async def run(stack: Stack, work: Work, say: Say) -> int:
    """Start a stack, do the work, end the stack; return the work's exit code.

    The first SIGINT, SIGTERM or SIGHUP ends all in order (`STOPPED`), a second one at once. The
    death of an essential part ends all too (1); other deaths are only told. Work that ends well by
    being stopped returns its code when it is cancelled.
    """
    with _signals_stop(stack) as stopped:
        async with stack:
            await asyncio.to_thread(_write_environment, stack)
            working = asyncio.create_task(_start_and_work(stack, work, say))
            dying = asyncio.create_task(_tell_deaths(stack, say))
            stopping = asyncio.create_task(stopped.wait())
            tasks = (working, dying, stopping)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            died = dying.done()
            if not working.done():
                say("stopping")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if died:
                return 1
            return STOPPED if working.cancelled() else working.result()


async def _start_and_work(stack: Stack, work: Work, say: Say) -> int:
    await stack.start(say)
    return await work(stack)


async def _tell_deaths(stack: Stack, say: Say) -> None:
    """Tell every death; return at that of an essential part."""
    while True:
        child = await stack.supervisor.deaths.get()
        say(child.epitaph())
        if child.spec.essential:
            return


@contextmanager
def _signals_stop(stack: Stack) -> Iterator[asyncio.Event]:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopped.is_set():
            stack.supervisor.kill_all()
        stopped.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield stopped
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _write_environment(stack: Stack) -> None:
    """Let another shell use the stack: `set -a; . <folder>/env`. It holds the webhook's token."""
    path = stack.folder / "env"
    path.touch(mode=0o600)
    lines = [f"{name}={shlex.quote(value)}" for name, value in stack.settings.items()]
    path.write_text("\n".join(lines) + "\n")
