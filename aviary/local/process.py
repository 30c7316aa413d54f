"""Child processes that never outlive their parent.

Three nets, since each has a hole: the supervisor stops its children on the way out; the kernel
kills each child when the parent dies (`PR_SET_PDEATHSIG`), so that `kill -9` leaves none; a record
of their process ids lets the next run, or `aviary local down`, clean up what is left all the same.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from aviary.local.records import PARENT, Record, Records

_PR_SET_PDEATHSIG: Final = 1
_POLL_S: Final = 0.05
_PROBE_S: Final = 5.0
_TAIL_LINES: Final = 25
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

Probe = Callable[[], Awaitable[None]]
"""Returns when the child is ready; raises `NotReady` or `OSError` while it is not."""


class NotReady(Exception):  # noqa: N818 - a state, not a mistake
    """A probe's word that a child does not serve yet."""


class ChildFailedError(RuntimeError):
    """A child ended, or was not ready in time; the text holds the end of its log."""


@dataclass(frozen=True)
class ChildSpec:
    """What to start."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the parent's environment without its `AVIARY_` settings, which are not ours."""
    cwd: Path | None = None
    probe: Probe | None = None
    ready_within: float = 120.0
    """Seconds."""
    essential: bool = True
    """Whether its death ends the whole stack; one that is not is only reported."""
    outlives: bool = False
    """Whether it goes on when its parent dies, because it has to clean up then."""
    user: int | None = None
    """Numeric id of whom it runs as, and of its only group; None: as its parent does."""
    ends_at: signal.Signals = signal.SIGTERM
    """What asks it to end in order."""


class Child:
    """A running child process and its log."""

    def __init__(self, spec: ChildSpec, process: asyncio.subprocess.Process, log: Path) -> None:
        self.spec = spec
        self.log = log
        self.ready = False
        self.expected_end = False
        self._process = process

    @property
    def name(self) -> str:
        """Unique among the running children of one supervisor."""
        return self.spec.name

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end."""
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child's whole process group."""
        with suppress(ProcessLookupError):  # it may have ended by itself just now
            os.killpg(self.pid, number)

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The end of its log."""
        with self.log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def epitaph(self) -> str:
        """How it ended and the last lines that it wrote."""
        return f"{self.name}: ended with {self.code}; the end of {self.log}:\n{self.tail()}"


class Supervisor:
    """Starts, watches and ends children. Use it as an async context manager.

    Args:
        folder: one log file per child is kept in `<folder>/logs`, the process ids beside them.
        grace: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, folder: Path, *, grace: float = 5.0) -> None:
        self.deaths: asyncio.Queue[Child] = asyncio.Queue()
        """Children that ended without being asked to."""
        self._logs = folder / "logs"
        self._records = Records(folder)
        self._grace = grace
        self._children: dict[str, Child] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._logs.mkdir, parents=True, exist_ok=True)
        self._records.add(Record.of(PARENT, os.getpid()))
        return self

    async def __aexit__(self, *_: object) -> None:
        stopping = asyncio.create_task(self.stop_all())
        while not stopping.done():
            # A second cancel must not cut this short; `kill_all` is for the impatient.
            with suppress(asyncio.CancelledError):
                await asyncio.shield(stopping)
        self._records.remove(os.getpid())

    @property
    def children(self) -> Mapping[str, Child]:
        """Running children by name, in the order in which they were started."""
        return self._children

    async def start(self, spec: ChildSpec) -> Child:
        """Start a child and wait until its probe succeeds.

        Raises:
            ChildFailedError: it ended before, or was not ready in time.
            ValueError: a child of that name runs already.
        """
        if spec.name in self._children:
            raise ValueError(f"{spec.name}: expected a name that no running child has")
        child = await self._spawn(spec)
        try:
            await self._until_ready(child)
        except BaseException:
            await self.stop(child.name)
            raise
        return child

    async def stop(self, name: str, *, grace: float | None = None) -> None:
        """End one child in order, by SIGKILL after the grace period; one unknown is ignored."""
        child = self._children.get(name)
        if child is None:
            return
        child.expected_end = True
        child.signal(child.spec.ends_at)
        try:
            await asyncio.wait_for(child.wait(), self._grace if grace is None else grace)
        except TimeoutError:
            child.signal(signal.SIGKILL)
            await child.wait()
        child.signal(signal.SIGKILL)  # grandchildren, if it had any
        self._forget(child)

    async def stop_all(self) -> None:
        """End every child at once."""
        await asyncio.gather(*(self.stop(name) for name in list(self._children)))
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    def kill_all(self) -> None:
        """Send SIGKILL to every child now."""
        for child in self._children.values():
            child.expected_end = True
            child.signal(signal.SIGKILL)

    async def _spawn(self, spec: ChildSpec) -> Child:
        log = self._logs / f"{spec.name.replace('/', '_')}.log"
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd=spec.cwd,
                env={**_neutral_environment(), **spec.env},
                user=spec.user,
                group=spec.user,
                extra_groups=None if spec.user is None else (),
                start_new_session=True,  # a terminal's Ctrl-C is for the parent, which stops us
                preexec_fn=None if spec.outlives else die_with(os.getpid()),
            )
        except OSError as error:
            raise ChildFailedError(f"{spec.name}: cannot start {spec.argv[0]}: {error}") from error
        finally:
            os.close(descriptor)
        child = Child(spec, process, log)
        self._children[spec.name] = child
        self._records.add(Record.of(spec.name, process.pid))
        watcher = asyncio.create_task(self._watch(child), name=f"watch {spec.name}")
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return child

    async def _until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + child.spec.ready_within
        while (reason := await _asked(child.spec.probe)) is not None:
            if child.code is not None:
                raise ChildFailedError(child.epitaph())
            if time.monotonic() > deadline:
                raise ChildFailedError(
                    f"{child.name}: not ready within {child.spec.ready_within:g} s ({reason}); "
                    f"the end of {child.log}:\n{child.tail()}"
                )
            await asyncio.sleep(_POLL_S)
        child.ready = True

    async def _watch(self, child: Child) -> None:
        await child.wait()
        if child.ready and not child.expected_end:
            self._forget(child)
            self.deaths.put_nowait(child)

    def _forget(self, child: Child) -> None:
        if self._children.get(child.name) is child:
            del self._children[child.name]
        self._records.remove(child.pid)


def _neutral_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AVIARY_")}


async def _asked(probe: Probe | None) -> str | None:
    """None when the probe succeeds, else its reason."""
    if probe is None:
        return None
    try:
        await asyncio.wait_for(probe(), _PROBE_S)
    except (NotReady, OSError, TimeoutError) as reason:
        return str(reason) or type(reason).__name__
    return None


def die_with(parent: int, *, by: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """A hook for the child's side of the fork: die when the parent does.

    The kernel's parent is the thread that forks: one of an event loop's own threads is as good as
    the main thread, one that ends earlier takes the child with it.

    Args:
        parent: process id.
        by: what the child gets then; one that cleans up has to end by it.
    """
    libc = _LIBC
    if libc is None:
        return None

    def hook() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, by)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return hook
