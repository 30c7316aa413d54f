"""A Docker daemon behind SSH, as Docker's own client reaches it: `docker system dial-stdio`.

The machine's `ssh` does it, so that keys, agents, jump hosts and known hosts are those of the
user's configuration; nothing is ever asked (BatchMode), and an unknown host key is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from adapters.deployers.docker.connection import DockerConnection

_CONNECT_S: Final = 10
_CHUNK: Final = 1 << 16
_ERRORS: Final = 2_000


def command(connection: DockerConnection, program: str = "ssh") -> tuple[str, ...]:
    """What is run for each connection to the daemon."""
    address = urlsplit(connection.host)
    words = [program, "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}"]
    words += ["-o", "StrictHostKeyChecking=yes"]
    if connection.key_file:
        words += ["-i", str(connection.key_file), "-o", "IdentitiesOnly=yes"]
    if connection.known_hosts_file:
        words += ["-o", f"UserKnownHostsFile={connection.known_hosts_file}"]
    if address.port:
        words += ["-p", str(address.port)]
    user = f"{address.username}@" if address.username else ""
    return (*words, "--", f"{user}{address.hostname}", "docker", "system", "dial-stdio")


class SshTunnel:
    """A unix socket whose every connection is one `ssh`.

    Args:
        command: is run for each; its standard input and output are the connection.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.why = ""
        """The last words of the last `ssh` that failed."""
        self._command = command
        self._folder = tempfile.TemporaryDirectory(prefix="aviary-ssh-")  # only ours to read
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def path(self) -> str:
        """Of the socket."""
        return str(Path(self._folder.name) / "docker.sock")

    async def open(self) -> None:
        """Begin to take connections."""
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._taken, path=self.path)

    async def aclose(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._folder.cleanup()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carried(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carried(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._run(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            self.why = f"{self._command[0]}: {error.strerror}"
            return
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError("pipes were asked for")
        there = asyncio.ensure_future(_copied(reader, process.stdin))
        try:
            await _copied(process.stdout, writer)
            said = (await process.stderr.read(_ERRORS)).decode(errors="replace").strip()
            if await process.wait() and said:
                self.why = said.splitlines()[-1]
        finally:
            there.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        writer.close()
