"""A gateway with weights in 1/256 that draws each request anew and counts none, and its router.

Small, but over real sockets: an admin API that compares ETags, as Caddy's does, and weights that
somebody else may set there too, whose labels nobody then thinks of.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx

from adapters.errors import Retryable, Terminal
from adapters.routers.fence import check_able, check_generation, check_over, check_pools, known
from schemas.capabilities import Capabilities, Fence, Parts, TotalGrid
from schemas.route import Confirmation, Route

TOTAL: Final = 256
CAPABILITIES: Final = Capabilities(weights=TotalGrid(total=TOTAL), fence=Fence.COMPARE)
_TRIES = 20


class CoarseGateway:
    """One port: below /admin the weights of services, and for every other path a service."""

    def __init__(self) -> None:
        self._services: dict[str, dict[str, Any]] = {}
        self._draw = random.Random(7)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.close()
        while self._serving:
            await asyncio.wait(self._serving)

    def add(self, service: str, *versions: str) -> None:
        """Put up a service, all on its first version."""
        self._services[service] = {
            "weights": {versions[0]: TOTAL},
            "labels": {},
            "versions": versions,
            "tag": 0,
        }

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._connected(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = lines[0].split()
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                status, tag, answer = self._answer(method, path, headers, body)
                head = (
                    f"HTTP/1.1 {status} -\r\netag: {tag}\r\ncontent-length: {len(answer)}\r\n\r\n"
                )
                writer.write(head.encode() + answer)
                await writer.drain()
        self._open.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, int, bytes]:
        is_admin = path.startswith("/admin/")
        name = path.removeprefix("/admin/") if is_admin else headers["host"]
        service = self._services.get(name)
        if service is None:
            return 404, 0, b""
        if not is_admin:
            (version,) = self._draw.choices(*zip(*service["weights"].items(), strict=True))
            return 200, 0, version.encode()
        if method == "PUT":
            if headers.get("if-match", str(service["tag"])) != str(service["tag"]):
                return 412, service["tag"], b""
            wanted = json.loads(body)
            if sum(wanted["weights"].values()) != TOTAL:
                return 422, service["tag"], b"weights must add up to 256"
            service |= wanted | {"tag": service["tag"] + 1}
        return 200, service["tag"], json.dumps(service).encode()


class CoarseRouter:
    """Its router: the route is the weights, with generation and owner in the labels."""

    def __init__(self, port: int, client: httpx.AsyncClient) -> None:
        self._url = f"http://127.0.0.1:{port}/admin/"
        self._client = client

    async def read(self, service: str) -> Route:
        return _route(service, (await self._get(service))[0])

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        check_able(route, CAPABILITIES)
        parts = CAPABILITIES.weights.nearest(route.weight)
        weights = {arm.version: part for arm, part in zip(route.arms, parts, strict=False)}
        labels = {"generation": route.generation, "owner": route.owner}
        for _ in range(_TRIES):
            found, tag = await self._get(route.service)
            applied = _route(route.service, found)
            check_generation(route, applied)
            check_over(route, applied, over)
            check_pools(route, found["versions"])
            if route == applied:
                return Confirmation(route=route, mark=tag)
            document = {"weights": weights, "labels": labels}
            answer = await self._send("PUT", route.service, document, tag)
            if answer.status_code == 200:
                return Confirmation(route=route, mark=answer.headers["etag"])
            if answer.status_code != 412:
                raise Terminal(f"{route.service}: {answer.status_code} {answer.text}")
        raise Retryable(f"{route.service}: others write all the time")

    async def aclose(self) -> None:
        """The client is its owner's."""

    async def locate(self, service: str, version: str) -> str:
        return f"{service}/{version}"

    async def exists(self, service: str, version: str) -> bool:
        answer = await self._send("GET", service)
        return answer.status_code == 200 and version in answer.json()["versions"]

    async def _get(self, service: str) -> tuple[dict[str, Any], str]:
        answer = await self._send("GET", service)
        if answer.status_code == 404:
            known(None, service)
        return answer.json(), answer.headers["etag"]

    async def _send(
        self, method: str, service: str, document: object = None, tag: str | None = None
    ) -> httpx.Response:
        headers = {} if tag is None else {"if-match": tag}
        try:
            return await self._client.request(
                method, self._url + service, json=document, headers=headers
            )
        except httpx.HTTPError as error:
            raise Retryable(f"{service}: {type(error).__name__}") from error


def _route(service: str, found: Mapping[str, Any]) -> Route:
    versions, parts = [*found["weights"]], [*found["weights"].values()]
    labels = found["labels"]
    return Route.split(
        service,
        versions[0],
        versions[1] if len(versions) > 1 else None,
        Parts(*parts).weight if len(parts) > 1 else 0,
        generation=labels.get("generation", 0),
        owner=labels.get("owner", ""),
    )
