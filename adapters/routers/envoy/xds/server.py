"""The control plane of an Envoy fleet: delta ADS over gRPC, from the files of its folder.

It decides nothing and keeps nothing: whoever writes routes writes the files, any number of control
planes may read them, and an Envoy that loses its control plane keeps what it has. Peers are held to
bounds: sizes, streams, names; one without the right node is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from adapters.errors import Retryable
from adapters.routers.envoy.names import ROUTES_NAME, ROUTES_TYPE
from adapters.routers.envoy.xds.messages import new
from adapters.routers.envoy.xds.nodes import NAME_MOST, Nodes, file_of, told
from adapters.routers.envoy.xds.snapshot import FILES, FolderSource, Resource, Snapshot
from adapters.tls import TlsFiles

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
CLUSTER: Final = "aviary"
"""Of the nodes that are served: `node.cluster` of their bootstraps."""
_REQUEST: Final = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
_RESPONSE: Final = "envoy.service.discovery.v3.DeltaDiscoveryResponse"
_REQUEST_BYTES_MOST: Final = 1024 * 1024
_NAMES_MOST: Final = 10_000
_NAME_CHARS_MOST: Final = 1_000
STREAMS_MOST: Final = 2_000
_WAITING_MOST: Final = 64
"""Requests of one stream that wait; what sends more is not read meanwhile."""


@dataclass(frozen=True)
class Pace:
    """How often the control plane looks, in seconds."""

    look_every: float = 0.01
    """At the files; three `stat`."""
    tell_every: float = 0.1
    """Of Envoys, at most."""
    grace: float = 0.5
    """For streams, as it ends."""


class ControlPlane:
    """Serves a folder to Envoys.

    Args:
        directory: of `adapters.routers.envoy.fleet`.
        name: of this control plane, for the file that tells of its Envoys.
        tls: certificate, key and the authorities of Envoys; None: whoever reaches it is served.
        pace: how often it looks.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "one",
        tls: TlsFiles | None = None,
        pace: Pace = Pace(),
    ) -> None:
        self._source = FolderSource(directory)
        self.nodes = Nodes(file_of(directory, name))
        self._tls = tls
        self._pace = pace
        self.snapshot: Snapshot = {}
        self.trouble = ""
        """Why what is served may be older than the files; empty: it is not."""
        self.changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def serving(self, address: str) -> AsyncIterator[int]:
        """Serve on `host:port` until the block ends; the port.

        Raises:
            Retryable: the folder can't be read yet, or the address can't be listened on.
            OSError: a file of certificates can't be read.
        """
        await self._look()
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", _REQUEST_BYTES_MOST),
                ("grpc.max_concurrent_streams", 10),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=STREAMS_MOST,
        )
        handler: Any = grpc.stream_stream_rpc_method_handler(self._serve)
        methods = {"DeltaAggregatedResources": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        try:
            port = self._bind(server, address)
        except RuntimeError as error:
            raise Retryable(f"{address}: can't be listened on: {error}") from error
        await server.start()
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._tell())]
        try:
            yield port
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.stop(self._pace.grace)

    def _bind(self, server: Any, address: str) -> int:
        if self._tls is None:
            port: int = server.add_insecure_port(address)
            return port
        cert, ca = self._tls.cert, self._tls.ca
        if cert is None or ca is None:
            raise ValueError("tls: expected a certificate, its key, and authorities of Envoys")
        pair = ((self._tls.key or cert).read_bytes(), cert.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], ca.read_bytes(), require_client_auth=True)
        return int(server.add_secure_port(address, credentials))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._pace.look_every)
            await self._look(started=True)

    async def _look(self, *, started: bool = False) -> None:
        try:
            fresh = await asyncio.to_thread(self._source.fresh)
        except Exception as error:
            if not started:
                raise
            # What was read before stands, and whatever it is, the next look may be at a good file.
            self.trouble = str(error) if isinstance(error, Retryable) else repr(error)
            return
        self.trouble = ""
        if fresh is not None:
            async with self.changed:
                self.snapshot = fresh
                self.changed.notify_all()

    async def _tell(self) -> None:
        told_of = -1
        while True:
            if self.nodes.changes != told_of:
                told_of = self.nodes.changes
                try:
                    await asyncio.to_thread(self.nodes.write)
                except Exception as error:  # noqa: BLE001 - it is told, and tried again
                    self.trouble = str(error) if isinstance(error, Retryable) else repr(error)
                    told_of = -1
            await asyncio.sleep(self._pace.tell_every)

    async def _serve(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        stream = _Stream(self)
        waiting: asyncio.Queue[Any] = asyncio.Queue(_WAITING_MOST)
        tasks = [
            asyncio.create_task(_take(requests, waiting)),
            asyncio.create_task(self._signal(waiting)),
        ]
        try:
            while True:
                event = await waiting.get()
                if isinstance(event, _Ended):
                    return
                try:
                    for answer in stream.answers(event):
                        yield answer
                except _RefusedError as error:
                    await context.abort(error.code, error.text)
        finally:
            for task in tasks:
                task.cancel()
            if stream.node:
                self.nodes.change(stream.node, connected=False)
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _signal(self, waiting: asyncio.Queue[Any]) -> None:
        seen: Snapshot | None = None
        while True:
            async with self.changed:
                while self.snapshot is seen:
                    await self.changed.wait()
                seen = self.snapshot
            await waiting.put(seen)


class _Ended:
    pass


class _RefusedError(Exception):
    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


async def _take(requests: AsyncIterator[bytes], waiting: asyncio.Queue[Any]) -> None:
    try:
        async for content in requests:
            await waiting.put(content)
        await waiting.put(_Ended())
    except BaseException:
        # Nobody may be left to make room: then what waits would be held for ever.
        while waiting.full():
            waiting.get_nowait()
        waiting.put_nowait(_Ended())
        raise


@dataclass
class _Wanted:
    """What an Envoy wants of one type, and has been sent."""

    every: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    """What it refused, with when the file of it was written."""
    nonces: dict[str, str] = field(default_factory=dict)
    """Of answers that it has not spoken about yet, with the version of the routes in them."""

    def is_news(self, name: str, one: Resource) -> bool:
        """Whether it was not sent this, or has refused it and the file was written anew."""
        again = self.refused.get(name, one.written) != one.written
        return self.sent.get(name) != one.version or again


class _Stream:
    """One Envoy's stream: what it is told when it asks, or when something changes."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._wanted: dict[str, _Wanted] = {}
        self._numbers = itertools.count(1)
        self.node = ""

    def answers(self, event: bytes | Snapshot) -> Sequence[bytes]:
        """What is to be sent."""
        if not isinstance(event, bytes):
            found = (self._news(kind) for kind in FILES if kind in self._wanted)
            return [one for one in found if one is not None]
        request = new(_REQUEST)
        try:
            request.ParseFromString(event)
        except Exception as error:
            raise _RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "no request of xDS") from error
        self._admit(request)
        kind = request.type_url
        if kind not in FILES:
            return []  # an Envoy may ask for secrets, say: it gets none
        is_first = kind not in self._wanted
        wanted = self._wanted.setdefault(kind, _Wanted())
        self._note(kind, wanted, request)
        self._subscribe(wanted, request, is_first=is_first)
        answer = self._news(kind, even_empty=is_first)
        return [] if answer is None else [answer]

    def _admit(self, request: Any) -> None:
        if self.node:
            return
        name, cluster = request.node.id, request.node.cluster
        if not name or len(name) > NAME_MOST or not name.isprintable() or cluster != CLUSTER:
            raise _RefusedError(
                grpc.StatusCode.PERMISSION_DENIED,
                f"node: expected an id of at most {NAME_MOST} characters, and cluster {CLUSTER}, "
                f"found {told(name, 80)!r} of {told(cluster, 80)!r}",
            )
        self.node = name
        self._plane.nodes.change(name, connected=True)

    def _subscribe(self, wanted: _Wanted, request: Any, *, is_first: bool) -> None:
        names = request.resource_names_subscribe
        if len(names) + len(wanted.names) > _NAMES_MOST:
            text = f"expected at most {_NAMES_MOST:,} names of resources"
            raise _RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        if any(len(name) > _NAME_CHARS_MOST for name in names):
            text = f"expected names of at most {_NAME_CHARS_MOST:,} characters"
            raise _RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        if is_first:
            wanted.every = not names
            wanted.sent.update(request.initial_resource_versions)
        wanted.every |= "*" in names
        for name in set(names) - {"*"}:
            wanted.names.add(name)
            if not is_first:
                wanted.sent.pop(name, None)  # it asks again
        for name in request.resource_names_unsubscribe:
            wanted.names.discard(name)
            wanted.sent.pop(name, None)
            wanted.every &= name != "*"

    def _note(self, kind: str, wanted: _Wanted, request: Any) -> None:
        """What it says of an answer: that it has taken it up, or why it does not."""
        version = wanted.nonces.pop(request.response_nonce, None)
        if version is None:
            return
        if request.HasField("error_detail"):
            text = told(request.error_detail.message) or "it does not say why"
            why = f"{kind.rpartition('.')[2]}: {text}"
            self._plane.nodes.change(self.node, refused=version, why=why)
            there = self._plane.snapshot.get(kind, {})
            wanted.refused = {n: there[n].written for n in wanted.sent if n in there}
            return
        wanted.refused = {}
        if kind == ROUTES_TYPE:
            self._plane.nodes.change(self.node, routes=version, refused="", why="")

    def _news(self, kind: str, *, even_empty: bool = False) -> bytes | None:
        wanted, there = self._wanted[kind], self._plane.snapshot.get(kind, {})
        of_interest = there if wanted.every else {n: there[n] for n in wanted.names if n in there}
        fresh = {n: one for n, one in of_interest.items() if wanted.is_news(n, one)}
        gone = [name for name in wanted.sent if name not in of_interest]
        never = [n for n in wanted.names if n not in there and n not in wanted.absent]
        if not (fresh or gone or never or even_empty):
            return None
        wanted.absent = {name for name in wanted.names if name not in there}
        for name in gone:
            del wanted.sent[name]
        wanted.sent |= {name: one.version for name, one in fresh.items()}
        return self._answer(kind, fresh, [*gone, *never])

    def _answer(self, kind: str, fresh: Mapping[str, Resource], gone: Sequence[str]) -> bytes:
        answer = new(_RESPONSE)
        answer.type_url, answer.nonce = kind, str(next(self._numbers))
        routes = self._plane.snapshot.get(ROUTES_TYPE, {}).get(ROUTES_NAME)
        version = "" if routes is None else routes.version
        answer.system_version_info = version
        for name, one in fresh.items():
            part = answer.resources.add(name=name, version=one.version)
            part.resource.type_url, part.resource.value = kind, one.value
        answer.removed_resources.extend(sorted(set(gone)))
        self._wanted[kind].nonces[answer.nonce] = version
        content: bytes = answer.SerializeToString()
        return content
