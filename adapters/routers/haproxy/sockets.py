"""HAProxy's sockets: the stats socket of a process, or the master's, which reaches all of them.

After a reload an old process serves the connections that it still has by its own copy of the map.
The stats socket is only the new one's. Over the master's socket (`haproxy -W -S …`) each command is
given to every process there is, so that a rollback reaches old connections as well.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from adapters.errors import Retryable
from adapters.routers.haproxy.map_file import parse
from adapters.routers.haproxy.names import version_in
from schemas.outside import cut, one_line
from schemas.route import Health

_MOST: Final = 64 * 1024 * 1024
"""Bytes of an answer."""
_SAID_MOST: Final = 200
_AGAIN: Final = 0.02
"""Seconds until a refused connection is tried again."""
_WORKER: Final = re.compile(r"^(\d+)\s+worker\s", re.MULTILINE)
_NO_MAP: Final = "Unknown map identifier"
_NO_ENTRY: Final = "entry not found"
_NO_COMMAND: Final = "Unknown command"
_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
_MAINTENANCE: Final = 3
"""The bits of a server's administrative state that a command sets, and that it has by another."""
_GONE: Final = "Can't find the target"


Address = tuple[str, int]
"""Host and port of an instance."""


@dataclass(frozen=True)
class Pool:
    """What a process says of a version's backend."""

    requests: int
    health: Health


@dataclass(frozen=True)
class Server:
    """One instance in a backend, as a process has it."""

    name: str
    address: Address
    serves: bool
    """Not taken out by a command."""


class HaproxySocket:
    """One HAProxy's socket. Every method raises `Retryable` when it gets no sound answer.

    Args:
        address: the path of a unix socket, or `host:port`; a stats socket of level admin, or the
            socket of the master.
        map_path: the map's path, as HAProxy's configuration has it.
        within: seconds that one answer may take.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        address: str,
        map_path: Path,
        within: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = address
        self._map = str(map_path)
        self._within = within
        self._sleep = sleep

    async def values(self) -> Sequence[Mapping[str, str]]:
        """The map as each process has it now, the newest first."""
        return [self._parsed(text) for text in await self._all(f"show map {self._map}")]

    async def put(self, service: str, value: str) -> None:
        """Give a service's route to every process."""
        for prefix in await self._processes():
            answer = await self._ask(f"{prefix}set map {self._map} {service} {value}")
            if _NO_ENTRY in answer:
                answer = await self._ask(f"{prefix}add map {self._map} {service} {value}")
            if answer.strip() and _GONE not in answer:
                raise self._refused(answer)

    async def pools(self, service: str) -> Mapping[str, Pool]:
        """The backends of a service's versions that have instances, as the newest process has them.

        Counts are of all processes: those that go away with an old one are taken for a restart.
        """
        found: dict[str, Pool] = {}
        for number, text in enumerate(await self._all("show stat -1 6 -1")):
            for version, pool in _pools(text, service).items():
                if number == 0:
                    found[version] = pool
                elif version in found:
                    sum_ = found[version].requests + pool.requests
                    found[version] = Pool(sum_, found[version].health)
        return {version: pool for version, pool in found.items() if pool.health.known}

    async def responses(self, service: str) -> Mapping[str, Mapping[str, int]]:
        """Responses so far by class, such as `5xx`, of each backend of a service.

        Of the newest process, as its Prometheus exporter shows them: after a reload they begin
        again.
        """
        return _responses((await self._all("show stat -1 2 -1"))[0], service)

    async def settle(self, own: str, apart: str, wanted: Sequence[Address]) -> bool:
        """Have the newest process send new requests of a version to these instances alone.

        Its servers get other addresses, or are taken out, as far as that goes without a reload: it
        is to be so before one, too, for a process that stops takes no such command any more, and
        still serves the connections that it has.

        Args:
            own: the version's backend.
            apart: the one beside it, whose servers have the same names and follow their state.
            wanted: each instance; none: the backends shall not be there.

        Returns:
            Whether it is so; if not, it needs a reload.
        """
        newest = (await self._processes())[0]
        there = await self._servers(newest, own)
        if there is None or not wanted:
            return there is None and not wanted
        for name, address in moves(there, wanted):
            if address is None:
                await self._ask(f"{newest}set server {own}/{name} state maint")
                continue
            for backend in (own, apart):
                where = f"{backend}/{name} addr {address[0]} port {address[1]}"
                await self._ask(f"{newest}set server {where}")
            await self._ask(f"{newest}set server {own}/{name} state ready")
        now = [await self._servers(newest, backend) or () for backend in (own, apart)]
        return all({one.address for one in some if one.serves} == set(wanted) for some in now)

    async def reload(self) -> None:
        """Have the master read its files again; it takes nobody's call until that is done.

        Raises:
            Retryable: it is no master's socket.
        """
        answer = await self._ask("show proc")
        if answer.startswith(_NO_COMMAND):
            raise Retryable(
                f"HAProxy at {self.name}: can't be reloaded; expected the master's socket "
                "(haproxy -W -S)"
            )
        await self._ask("reload")

    async def _servers(self, prefix: str, backend: str) -> list[Server] | None:
        """Those of a backend in one process; None where it has no such backend."""
        text = await self._ask(f"{prefix}show servers state {backend}")
        if not text.lstrip().startswith("1"):
            return None
        _, head, *lines = text.strip().splitlines()
        names = head.removeprefix("# ").split()
        return [_server(dict(zip(names, line.split(), strict=False))) for line in lines]

    async def _all(self, command: str) -> list[str]:
        """What every process answers."""
        answers = [await self._ask(prefix + command) for prefix in await self._processes()]
        there = [text for text in answers if _GONE not in text]
        for text in there:
            if text.startswith((_NO_MAP, _NO_COMMAND, "Permission denied")):
                raise self._refused(text)
        if not there:
            raise Retryable(f"HAProxy at {self.name}: has no process that answers")
        return there

    async def _processes(self) -> list[str]:
        """What to put before a command, for each process: nothing on a stats socket."""
        answer = await self._ask("show proc")
        if answer.startswith(_NO_COMMAND):
            return [""]
        workers = _WORKER.findall(answer)
        if not workers:
            raise Retryable(f"HAProxy at {self.name}: the master has no worker")
        return [f"@!{pid} " for pid in workers]

    def _parsed(self, text: str) -> dict[str, str]:
        """`<address of the entry> <key> <value>`, one a line."""
        return parse("\n".join(line.partition(" ")[2] for line in text.splitlines()))

    def _refused(self, answer: str) -> Retryable:
        said = cut(one_line(answer.strip().partition("\n")[0]), _SAID_MOST)
        if answer.startswith(_NO_MAP):
            said = f"it does not use the map {self._map}; expected the rules of aviary.cfg"
        elif answer.startswith((_NO_COMMAND, "Permission denied")):
            said += "; expected a socket of level admin"
        return Retryable(f"HAProxy at {self.name}: {said}")

    async def _ask(self, command: str) -> str:
        refused: OSError | None = None
        try:
            async with asyncio.timeout(self._within):
                while True:
                    try:
                        return await self._answer(command)
                    except (ConnectionRefusedError, FileNotFoundError) as error:
                        refused = error  # a master that is being reloaded takes nobody's call
                    await self._sleep(_AGAIN)
        except (OSError, TimeoutError) as error:
            cause = refused if refused is not None else error
            why = getattr(cause, "strerror", None) or type(cause).__name__
            raise Retryable(f"HAProxy at {self.name}: {why}") from None

    async def _answer(self, command: str) -> str:
        if self.name.startswith("/"):
            reader, writer = await asyncio.open_unix_connection(self.name)
        else:
            host, _, port = self.name.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            writer.write(f"{command}\n".encode())
            writer.write_eof()  # the master's socket waits for more otherwise
            parts, size = [], 0
            while data := await reader.read(1 << 16):
                parts.append(data)
                size += len(data)
                if size > _MOST:
                    raise Retryable(f"HAProxy at {self.name}: answered over {_MOST:,} bytes")
            return b"".join(parts).decode(errors="replace")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def moves(there: Sequence[Server], wanted: Sequence[Address]) -> list[tuple[str, Address | None]]:
    """What makes the servers of a backend serve the wanted instances alone, as far as it goes.

    Names of servers with the address that each shall get; None: it is taken out. No server is
    taken out while none of the wanted is there, and none gets an address that is a name.
    """
    serving = {one.address: one for one in there if one.serves and one.address in wanted}
    kept = serving.keys()
    # One server is enough for an instance: others of the same address are free.
    free = [one for one in there if one is not serving.get(one.address)]
    missing = [one for one in dict.fromkeys(wanted) if one not in kept and _is_address(one[0])]
    # Those that serve first: they are to stop doing so.
    free.sort(key=lambda one: not one.serves)
    given = list(zip((one.name for one in free), missing, strict=False))
    if not kept and not given:
        return []
    return [*given, *((one.name, None) for one in free[len(given) :] if one.serves)]


def _responses(text: str, service: str) -> dict[str, dict[str, int]]:
    found = {}
    for row in csv.DictReader(io.StringIO(text.removeprefix("# "))):
        backend = row.get("pxname") or ""
        if backend.partition(":")[0] == service and row.get("svname") == "BACKEND":
            counts = {code: row.get(f"hrsp_{code}") or "" for code in _CLASSES}
            found[backend] = {code: int(n) for code, n in counts.items() if n.isdecimal()}
    return found


def _server(row: Mapping[str, str]) -> Server:
    name = row.get("srv_fqdn", "-")
    host = row.get("srv_addr", "") if name == "-" else name
    port = row.get("srv_port", "0")
    state = row.get("srv_admin_state", "0")
    return Server(
        name=row.get("srv_name", ""),
        address=(host, int(port) if port.isdecimal() else 0),
        serves=state.isdecimal() and not int(state) & _MAINTENANCE,
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _pools(text: str, service: str) -> dict[str, Pool]:
    requests: dict[str, int] = {}
    known: dict[str, int] = {}
    healthy: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(text.removeprefix("# "))):
        version = version_in(row.get("# pxname") or row.get("pxname") or "", service)
        if version is None:
            continue
        status = row.get("status") or ""
        if row.get("svname") == "BACKEND":
            # Sessions are counted as a backend is chosen, requests only as they end.
            requests[version] = int(row.get("stot") or 0)
        elif not status.startswith("MAINT"):  # a slot of a server template without an address
            known[version] = known.get(version, 0) + 1
            healthy[version] = healthy.get(version, 0) + status.startswith(("UP", "no check"))
    return {
        version: Pool(count, Health(known=known.get(version, 0), healthy=healthy.get(version, 0)))
        for version, count in requests.items()
    }
