"""The Engine API, as the deployer asks it: bounded in time, and with errors of ours.

All that goes wrong is an `EngineError`, which is `Retryable`: where its status says more, whoever
asked decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import aiohttp
from aiodocker import Docker
from aiodocker.exceptions import DockerError
from aiodocker.networks import DockerNetwork
from aiodocker.volumes import DockerVolume

from adapters.deployers.docker.connection import DockerConnection
from adapters.deployers.docker.labels import bears
from adapters.deployers.docker.ssh import SshTunnel, command
from adapters.errors import Retryable
from schemas.outside import one_line

_ANSWER_S: Final = 60.0
_CONNECT_S: Final = 10.0
_PULL_SILENCE_S: Final = 120.0
_MOST_LOG: Final = 64 << 10
_MOST_TEXT: Final = 800
_AT_ONCE: Final = 16

NOT_FOUND: Final = 404
CONFLICT: Final = 409
BAD: Final = 400
UNREACHED: Final = 900
"""No answer at all; the number is aiodocker's."""

Json = dict[str, Any]


class EngineError(Retryable):
    """The daemon refused something, or could not be asked.

    Args:
        status: of HTTP; 900 where there was no answer, 0 for an error within a stream.
        text: the daemon's own words.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(one_line(text)[:_MOST_TEXT])
        self.status = status


class Engine:
    """One daemon. Opened at first use, in the loop that uses it."""

    def __init__(self, connection: DockerConnection, ssh: str = "ssh") -> None:
        self.connection = connection
        self._ssh = ssh
        self._docker: Docker | None = None
        self._tunnel: SshTunnel | None = None
        self._opening = asyncio.Lock()
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def aclose(self) -> None:
        """Let go of connections."""
        if self._docker is not None:
            await self._docker.close()
            await self._docker.connector.close()
            self._docker = None
        if self._tunnel is not None:
            await self._tunnel.aclose()
            self._tunnel = None

    async def containers(self, labels: Sequence[str] = ()) -> list[Json]:
        """All containers with these labels, whatever their status."""
        filters = json.dumps({"label": list(labels)}) if labels else "{}"
        async with self._asked() as docker:
            found = await docker.containers.list(all=True, filters=filters)
            every = [dict(one._container) for one in found]  # noqa: SLF001 - it has no other way
        return [one for one in every if bears(one, labels)]

    async def inspect(self, name: str) -> Json | None:
        """One container; None: there is none."""
        async with self._at_once:
            try:
                async with self._asked() as docker:
                    return await docker.containers.container(name).show()
            except EngineError as error:
                if error.status == NOT_FOUND:
                    return None
                raise

    async def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Make a container that does not run yet; returns its id."""
        async with self._asked() as docker:
            return (await docker.containers.create(dict(body), name=name)).id

    async def put_files(self, container: str, folder: str, files: Mapping[str, str]) -> None:
        """Put small files into a container that does not run yet."""
        async with self._asked() as docker:
            # Untyped in aiodocker, as some more below.
            found: Any = docker.containers.container(container)
            await found.put_archive(folder, _tar(files))

    async def connect(self, network: str, container: str) -> None:
        """Have a container in a further network."""
        async with self._asked() as docker:
            found: Any = DockerNetwork
            await found(docker, network).connect({"Container": container})

    async def start(self, container: str) -> None:
        """Start it; one that runs is left so."""
        async with self._asked() as docker:
            await docker.containers.container(container).start()

    async def stop(self, container: str, grace_s: float) -> None:
        """SIGTERM, the grace that it was made with, SIGKILL; none, or one that ended, is fine."""
        patience = aiohttp.ClientTimeout(total=grace_s + _ANSWER_S)
        with _none_is_fine():
            async with self._asked() as docker:
                await docker.containers.container(container).stop(timeout=patience)

    async def rename(self, container: str, name: str) -> None:
        """Give it another name; none, or one that has it already, is fine."""
        with _none_is_fine(CONFLICT, BAD):
            async with self._asked() as docker:
                await docker.containers.container(container).rename(name)

    async def remove(self, container: str) -> None:
        """Take a container away, with its anonymous volumes; none is fine."""
        with _none_is_fine(CONFLICT):  # somebody else removes it just now
            async with self._asked() as docker:
                await docker.containers.container(container).delete(force=True, v=True)

    async def last_lines(self, container: str, most: int) -> tuple[str, ...]:
        """The end of a container's log; empty where it can't be read."""
        params = {"stdout": "1", "stderr": "1", "tail": str(most)}
        try:
            async with self._asked() as docker:
                url = f"{docker.docker_host}/{docker.api_version}/containers/{container}/logs"
                async with docker.session.get(url, params=params) as answer:
                    if answer.status != 200:  # noqa: PLR2004 - such as a driver that can't be read
                        return ()
                    content = await _at_most(answer, _MOST_LOG)
                    multiplexed = "raw-stream" not in answer.content_type or content[:1] < b"\x03"
        except Retryable:
            return ()
        text = _demultiplexed(content) if multiplexed else content
        lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
        return tuple(one_line(line)[:500] for line in lines[-most:])

    async def image(self, name: str) -> Json | None:
        """One image that is there; None: it isn't."""
        try:
            async with self._asked() as docker:
                return await docker.images.inspect(name)
        except EngineError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def pull(self, name: str, auth: Json | None) -> AsyncIterator[Json]:
        """Pull an image; yields what the daemon says on the way."""
        patience = aiohttp.ClientTimeout(sock_connect=_CONNECT_S, sock_read=_PULL_SILENCE_S)
        async with self._asked() as docker:
            images: Any = docker.images  # its types know no ClientTimeout, which it wants
            async for one in images.pull(name, auth=auth, stream=True, timeout=patience):
                yield one

    async def volumes(self, labels: Sequence[str]) -> list[Json]:
        """Volumes with these labels."""
        async with self._asked() as docker:
            volumes: Any = docker.volumes
            found = await volumes.list(filters={"label": list(labels)})
        return [one for one in found.get("Volumes") or () if bears(one, labels)]

    async def make_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume; one that is there stays as it is."""
        async with self._asked() as docker:
            volumes: Any = docker.volumes
            await volumes.create({"Name": name, "Labels": dict(labels)})

    async def remove_volume(self, name: str) -> None:
        """Take a volume away; none is fine."""
        with _none_is_fine(CONFLICT):
            async with self._asked() as docker:
                volume: Any = DockerVolume
                await volume(docker, name).delete()

    @contextlib.asynccontextmanager
    async def _asked(self) -> AsyncIterator[Docker]:
        try:
            yield await self._open()
        except DockerError as error:
            raise EngineError(error.status, self._words(error.status, error.message)) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            words = self._words(UNREACHED, str(error) or type(error).__name__)
            raise EngineError(UNREACHED, words) from None
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            # An answer that is no Docker's: another server on that port, a proxy, half a document.
            what = f"unexpected answer ({type(error).__name__}: {error})"
            raise EngineError(UNREACHED, self._words(UNREACHED, what)) from None

    def _words(self, status: int, text: str) -> str:
        if status != UNREACHED:
            return str(text)
        why = self._tunnel.why if self._tunnel else ""
        return f"{self.connection.host}: {why or text}"

    async def _open(self) -> Docker:
        async with self._opening:
            if self._docker is None:
                self._docker = await self._opened()
            return self._docker

    async def _opened(self) -> Docker:
        patience = aiohttp.ClientTimeout(total=_ANSWER_S, sock_connect=_CONNECT_S)
        host, connection = self.connection.host, self.connection
        if connection.scheme == "ssh":
            self._tunnel = self._tunnel or SshTunnel(command(connection, self._ssh))
            await self._tunnel.open()
            host = f"unix://{self._tunnel.path}"
        if connection.scheme == "tcp":
            tls = connection.tls()
            connector: aiohttp.BaseConnector = aiohttp.TCPConnector(ssl=tls or True)
            scheme = "https" if tls else "http"
            host = f"{scheme}://{host.removeprefix('tcp://')}"
        else:
            connector = aiohttp.UnixConnector(host.removeprefix("unix://"), limit=_AT_ONCE * 2)
            host = "unix://localhost"
        # The session is told to own the connector: aiodocker closes neither that it did not make.
        return Docker(url=host, connector=connector, timeout=patience)


@contextlib.contextmanager
def _none_is_fine(*also: int) -> Any:
    try:
        yield
    except EngineError as error:
        if error.status not in {NOT_FOUND, *also}:
            raise


async def _at_most(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The end of an answer, of which no more than twice `most` is held at a time."""
    kept = b""
    async for chunk in answer.content.iter_chunked(most):
        kept = (kept + chunk)[-most:] if len(kept) + len(chunk) > most else kept + chunk
    return kept


def _demultiplexed(content: bytes) -> bytes:
    """Docker's frames without their heads; what is no frame is left out."""
    text, at = b"", 0
    while at + 8 <= len(content):
        head = content[at : at + 8]
        if head[0] > 2 or head[1:4] != b"\0\0\0":  # noqa: PLR2004 - stdin, stdout, stderr
            at += 1  # the beginning was cut off: on to the next head
            continue
        length = int.from_bytes(head[4:8], "big")
        text += content[at + 8 : at + 8 + length]
        at += 8 + length
    return text


def _tar(files: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o444
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()
