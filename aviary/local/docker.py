"""A Docker daemon of one's own, from Debian's packages: for the demo, and for tests.

It has its own data, socket and network namespace, and no rule of any firewall; when it is stopped,
nothing of it is left. It needs root, as every Docker does that has networks of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from aviary.local import debian
from aviary.local.debian import DebianError

PACKAGES: Final = ("docker.io", "containerd", "runc", "tini", "busybox-static", "docker-registry")
_RECIPE: Final = 1
SOCKET_PATH: Final = 104
"""Bytes that the path of a socket may have: containerd refuses more."""
_UP_S: Final = 60.0
_DOWN_S: Final = 20.0
_POLL_S: Final = 0.1
_TAIL: Final = 1_500
_BLOCKS: Final = frozenset(range(100, 250))
_NEEDED: Final = ("ip", "nsenter", "umount")


class DockerError(RuntimeError):
    """There can be no daemon here; the text says why."""


@dataclass(frozen=True)
class DockerTools:
    """The unpacked programs."""

    root: Path

    @property
    def path(self) -> str:
        """What the daemon finds its helpers by."""
        own = (self.root / "usr/bin", self.root / "usr/sbin")
        return ":".join((*map(str, own), os.environ.get("PATH", "")))

    @property
    def environment(self) -> dict[str, str]:
        """Of each of the programs."""
        # The builder that is in the daemon: the other one is a program of its own.
        return {**os.environ, "PATH": self.path, "DOCKER_BUILDKIT": "0"}

    def program(self, name: str) -> Path:
        """One of them, such as `dockerd`."""
        places = ("usr/bin", "usr/sbin", "bin", "sbin")
        found = (self.root / place / name for place in places)
        return next((one for one in found if one.exists()), self.root / "usr/bin" / name)


async def install(cache: Path) -> DockerTools:
    """Fetch and unpack the packages below `cache` unless that is done already; 80 MB.

    Raises:
        DebianError: apt is missing or failed.
    """
    folder = _home(cache)
    with await asyncio.to_thread(debian.locked, folder / "lock"):
        tools, stamp = DockerTools(folder / "root"), folder / "stamp.json"
        if _is_current(stamp):
            return tools
        debian.clean(folder)
        apt = debian.apt_get(folder)
        await debian.run((*apt, "update"), folder)
        await debian.run((*apt, "download", *PACKAGES), folder)
        fresh = folder / "root.new"
        shutil.rmtree(fresh, ignore_errors=True)
        for archive in debian.archives(folder):
            await debian.run(("dpkg-deb", "-x", str(archive), str(fresh)), folder)
            archive.unlink()
        shutil.rmtree(tools.root, ignore_errors=True)
        fresh.rename(tools.root)
        stamp.write_text(json.dumps({"recipe": _RECIPE, "packages": PACKAGES}))
        return tools


def _home(cache: Path) -> Path:
    folder = cache.absolute() / "docker"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_current(stamp: Path) -> bool:
    return stamp.exists() and json.loads(stamp.read_text()).get("recipe") == _RECIPE


@dataclass
class Network:
    """A network namespace that the machine reaches by a pair of interfaces.

    Attributes:
        name: of the namespace.
        block: the second number of its addresses, as in 10.213.0.0/16.
    """

    name: str
    block: int

    @classmethod
    def draw(cls) -> Network:
        """One that is most likely nobody's yet."""
        draw = random.SystemRandom()
        free = sorted(_BLOCKS - set(_routed())) or sorted(_BLOCKS)
        return cls(f"aviary-{draw.randrange(16**8):08x}", draw.choice(free))

    @property
    def here(self) -> str:
        """The machine, as the namespace reaches it."""
        return f"10.{self.block}.0.1"

    @property
    def there(self) -> str:
        """The namespace, as the machine reaches it: published ports are here."""
        return f"10.{self.block}.0.2"

    @property
    def pool(self) -> str:
        """Of Docker's networks in it."""
        return f"10.{self.block}.128.0/17"

    @property
    def bridge(self) -> str:
        """Of the network of containers that name none."""
        return f"10.{self.block}.128.1/24"

    @property
    def others(self) -> str:
        """Of those that are made."""
        return f"10.{self.block}.192.0/18"

    async def make(self) -> None:
        """Make it.

        Raises:
            DockerError: it can't be made; nothing is left of it.
        """
        ours, theirs = self._interfaces
        inside = ("nsenter", f"--net=/run/netns/{self.name}", "ip")
        try:
            await run("ip", "netns", "add", self.name)
            await run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs)
            await run("ip", "link", "set", theirs, "netns", self.name)
            await run("ip", "address", "add", f"{self.here}/30", "dev", ours)
            await run("ip", "link", "set", ours, "up")
            await run(*inside, "link", "set", "lo", "up")
            await run(*inside, "address", "add", f"{self.there}/30", "dev", theirs)
            await run(*inside, "link", "set", theirs, "up")
            await run(*inside, "route", "add", "default", "via", self.here)
            await run("ip", "route", "add", self.pool, "via", self.there)
        except DockerError:
            await self.remove()
            raise

    async def remove(self) -> None:
        """Take it away, with its interfaces and routes."""
        for words in (("link", "del", self._interfaces[0]), ("netns", "del", self.name)):
            with contextlib.suppress(DockerError):  # half of it may be there
                await run("ip", *words)

    @property
    def _interfaces(self) -> tuple[str, str]:
        tail = self.name[-10:]  # of an interface, 15 characters at most
        return f"av{tail}a", f"av{tail}b"


def host_folder() -> Path:
    """A new folder for a daemon, with room for the paths of the sockets below it.

    A `TMPDIR` that is too long for them gives way to `/tmp`.
    """
    place = Path(tempfile.gettempdir())
    longest = _longest_socket(place / "aviary-docker-12345678/host")
    short = len(os.fsencode(longest)) <= SOCKET_PATH
    return Path(tempfile.mkdtemp(prefix="aviary-docker-", dir=place if short else "/tmp"))  # noqa: S108


def _longest_socket(folder: Path) -> Path:
    return folder / "exec/containerd/containerd.sock.ttrpc"


@dataclass
class DockerHost:
    """One daemon. Use it as an async context manager.

    Args:
        tools: the programs.
        folder: for its data, its log and its sockets, such as one of `host_folder`.
        live_restore: whether containers outlive it.
        disk: size of its disk, such as `64m`; None: that of the folder.
        registries: whom it asks without TLS; the machine itself by default.
        network: where it is; one of its own by default.
        helpers: folders of programs that it finds as well, such as iptables: without that,
            containers do not find each other by name.
        further: words of its command line, such as a second address that it listens at.
    """

    tools: DockerTools
    folder: Path
    live_restore: bool = False
    disk: str | None = None
    registries: Sequence[str] = ()
    network: Network = field(default_factory=Network.draw)
    helpers: Sequence[Path] = ()
    further: Sequence[str] = ()
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        """Where it is asked."""
        return self.folder / "docker.sock"

    @property
    def address(self) -> str:
        """Where published ports are reached."""
        return self.network.there

    @property
    def environment(self) -> dict[str, str]:
        """Of the daemon, and of clients of it."""
        path = ":".join((*map(str, self.helpers), self.tools.path))
        return {**self.tools.environment, "PATH": path, "DOCKER_HOST": f"unix://{self.socket}"}

    async def __aenter__(self) -> Self:
        check_machine()
        if (over := len(os.fsencode(_longest_socket(self.folder))) - SOCKET_PATH) > 0:
            raise ValueError(f"{self.folder}: {over} bytes too long for the sockets below it")
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            await self.network.make()
            if self.disk is not None:
                self._data.mkdir(exist_ok=True)
                await run("mount", "-t", "tmpfs", "-o", f"size={self.disk}", "aviary", self._data)
            await self.start()
        except BaseException:
            await self.remove()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.remove()

    async def start(self) -> None:
        """Start it, or start it again.

        Raises:
            DockerError: it is not up in time; the end of its log is in the text.
        """
        # Left by one that was killed; the number may be another process's by now.
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "nsenter",
                f"--net=/run/netns/{self.network.name}",
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_UP_S):
                while not await self._is_up():
                    if self._process.returncode is not None:
                        raise DockerError(f"dockerd ended: {self._tail()}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise DockerError(f"dockerd is not up after {_UP_S:.0f} s: {self._tail()}") from None

    async def kill(self) -> None:
        """End the daemon as a crash does, and with it the containerd that it has started."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.kill()
        await self._process.wait()
        # A daemon that finds the number of one that is gone waits for it.
        containerd = self.folder / "exec/containerd/containerd.pid"
        number = containerd.read_text().strip() if containerd.exists() else ""
        if number:
            for _ in range(int(_DOWN_S / _POLL_S)):
                if _is_gone(number):
                    break
                await asyncio.sleep(_POLL_S)
            containerd.unlink(missing_ok=True)

    async def stop(self) -> None:
        """End the daemon as an administrator does."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _DOWN_S)
            except TimeoutError:
                await self.kill()

    async def docker(self, *words: str | Path, stdin: bytes | None = None) -> str:
        """Docker's own client.

        Raises:
            DockerError: it failed; with what it printed.
        """
        program = self.tools.program("docker")
        return await run(program, *words, stdin=stdin, environment=self.environment)

    async def remove(self) -> None:
        """End all that runs in it, and leave nothing."""
        await self.stop()
        for number in (*self._of_containers(), *self._of_folder()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        for _ in range(int(_DOWN_S / _POLL_S)):
            if not any(True for _ in self._of_folder()):
                break
            await asyncio.sleep(_POLL_S)
        for point in sorted(self._mounts(), reverse=True):
            with contextlib.suppress(DockerError):
                await run("umount", "-l", point)
        await self.network.remove()
        for group in self._groups():
            with contextlib.suppress(OSError):
                group.rmdir()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _command(self) -> tuple[str, ...]:
        words = [
            str(self.tools.program("dockerd")),
            "--iptables=false",
            "--ip6tables=false",
            "--data-root", str(self._data),
            "--exec-root", str(self.folder / "exec"),
            "--pidfile", str(self.folder / "pid"),
            "--host", f"unix://{self.socket}",
            "--bip", self.network.bridge,
            "--default-address-pool", f"base={self.network.others},size=24",
            "--cgroup-parent", f"/{self.network.name}",
        ]  # fmt: skip
        for registry in (f"{self.network.here}/32", *self.registries):
            words += ["--insecure-registry", registry]
        return (*words, *(["--live-restore"] if self.live_restore else []), *self.further)

    async def _is_up(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
            try:
                writer.write(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
        except OSError:
            return False

    def _tail(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace")[-_TAIL:] if log.exists() else "no log"

    def _of_containers(self) -> Iterator[int]:
        for group in self._groups():
            with contextlib.suppress(OSError):
                yield from map(int, (group / "cgroup.procs").read_text().split())

    def _groups(self) -> list[Path]:
        """Control groups of its containers, the innermost first."""
        tops = Path("/sys/fs/cgroup").glob(f"*/{self.network.name}")
        one = Path("/sys/fs/cgroup") / self.network.name
        every = [path for top in (*tops, one) if top.is_dir() for path in (top, *top.rglob("*/"))]
        return sorted({path for path in every if path.is_dir()}, key=lambda path: -len(path.parts))

    def _of_folder(self) -> Iterator[int]:
        """Processes that were started with a path of this folder: containerd and its shims."""
        own = f"{self.folder}/".encode()
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with contextlib.suppress(OSError):
                    if own in (process / "cmdline").read_bytes():
                        yield int(process.name)

    def _mounts(self) -> list[str]:
        found = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return [point for point in found if Path(point).is_relative_to(self.folder)]


def check_machine() -> None:
    """Check what can be known beforehand.

    Raises:
        DockerError: there can be no daemon here, and why.
    """
    if os.geteuid() != 0:
        raise DockerError("a Docker daemon needs root, and this is not root")
    for program in _NEEDED:
        if shutil.which(program) is None:
            raise DockerError(f"{program} is not there (Debian: iproute2, util-linux, mount)")


def _routed() -> Iterator[int]:
    """The second numbers of all networks 10.x that this machine has routes to."""
    table = Path("/proc/net/route")
    for line in table.read_text().splitlines()[1:] if table.exists() else ():
        said = line.split()[1]  # four numbers as hexadecimal digits, the last of them first
        if said.endswith("0A"):
            yield int(said[4:6], 16)


def _is_gone(number: str) -> bool:
    """Whether a process has ended, be it that nobody has asked how."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def run(
    *command: str | Path, stdin: bytes | None = None, environment: dict[str, str] | None = None
) -> str:
    """Run a command to its end; returns what it printed.

    Raises:
        DockerError: it failed; with what it printed.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    output, errors = await process.communicate(stdin)
    if process.returncode != 0:
        text = errors.decode(errors="replace").strip()
        raise DockerError(f"{' '.join(map(str, command[:4]))}: {text[-_TAIL:]}")
    return output.decode(errors="replace").strip()


__all__ = [
    "DebianError",
    "DockerError",
    "DockerHost",
    "DockerTools",
    "Network",
    "check_machine",
    "install",
    "run",
]
