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

from aviary.local import leftovers, records
from aviary.local.parts import ROOT
from aviary.local.process import ChildFailedError, ChildSpec, Supervisor
from aviary.local.stack import Say, Stack

BASE: Final = ROOT / ".aviary"
"""Below it each run has a folder of its own."""
BACK_AFTER_S: Final = 3.0
"""How long a part that died stays away, so that one can see what others make of it."""
_ENVIRONMENT: Final = "env"
STOPPED: Final = 130
"""Exit code of work that a signal ended before its own end."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Work = Callable[[Stack], Awaitable[int]]


class FolderError(ValueError):
    """The folder can't be used; the text says why."""


def new_folder(wanted: Path | None, *, now: datetime | None = None) -> Path:
    """The folder of a new run, and end what is left of earlier ones below `BASE`.

    Raises:
        FolderError: `wanted` has content. A half-filled stack is no place for a new one; the text
            says what to do instead.
    """
    for stale in records.stacks(BASE):
        records.sweep(stale)
    for stale in leftovers.below(BASE):
        asyncio.run(leftovers.sweep(stale))
    if wanted is None:
        moment = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
        return BASE / f"{moment}-{os.getpid()}"
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise FolderError(
            f"--folder: {wanted}: expected a folder that is new or empty{_way(wanted)}"
        )
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"--folder: {wanted}: {error.strerror}, expected a folder") from None
    return wanted


def _way(folder: Path) -> str:
    """What to do about a folder in which there is a stack, or was one."""
    if not folder.is_dir():
        return ""
    if any(record.name == records.PARENT for record in records.read(folder)):
        return (
            f". A stack runs there: `set -a; . {folder}/env` lets another shell use it, "
            f"`aviary local down --folder {folder}` ends it"
        )
    if not (folder / _ENVIRONMENT).exists():
        return ""
    return (
        ". A stack ran there, and its parts can't be taken up again: remove the folder, or name "
        "another one"
    )


async def run(stack: Stack, work: Work, say: Say, *, keep_going: bool = False) -> int:
    """Start a stack, do the work, end the stack; return the work's exit code.

    The first SIGINT, SIGTERM or SIGHUP ends all in order (`STOPPED`), a second one at once. The
    death of an essential part ends all too (1), unless it is to `keep_going`: then each part that
    dies is started again after a moment. Other deaths are only told. Work that ends well by
    being stopped returns its code when it is cancelled.
    """
    with _signals_stop(stack) as stopped:
        async with stack:
            await asyncio.to_thread(_write_environment, stack)
            working = asyncio.create_task(_start_and_work(stack, work, say))
            dying = asyncio.create_task(_tell_deaths(stack, say, keep_going=keep_going))
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


async def _tell_deaths(stack: Stack, say: Say, *, keep_going: bool) -> None:
    """Tell every death; return at that of an essential part, unless parts are to come back."""
    async with asyncio.TaskGroup() as coming_back:
        while True:
            child = await stack.supervisor.deaths.get()
            say(child.epitaph())
            if keep_going:
                coming_back.create_task(_bring_back(stack.supervisor, child.spec, say))
            elif child.spec.essential:
                return


async def _bring_back(supervisor: Supervisor, spec: ChildSpec, say: Say) -> None:
    """Start a part again, as often as it takes."""
    say(f"{spec.name}: comes back in {BACK_AFTER_S:g} s")
    await asyncio.sleep(BACK_AFTER_S)
    while spec.name not in supervisor.children:  # somebody else may have started it
        try:
            await supervisor.start(spec)
        except ChildFailedError as error:
            say(f"{error}\n{spec.name}: tried again in {BACK_AFTER_S:g} s")
            await asyncio.sleep(BACK_AFTER_S)
        else:
            say(f"{spec.name}: is back")


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
    """Let another shell use the stack: `set -a; . <folder>/env`. It holds the webhook's token.

    `ROUTER` is no setting of Aviary's: it is where the services take requests.
    """
    path = stack.folder / _ENVIRONMENT
    path.touch(mode=0o600)
    variables = {**stack.settings, "ROUTER": stack.addresses["shop"]}
    lines = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    path.write_text("\n".join(lines) + "\n")
