"""What stands between a client and the API server: it counts requests, and lets some go wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from adapters.kubernetes.connection import KubernetesConnection


@dataclass(frozen=True)
class Request:
    """One that passes."""

    number: int
    """From 1."""
    method: str
    path: str
    query: str

    @property
    def is_watch(self) -> bool:
        return "watch=true" in self.query

    @property
    def verb(self) -> str:
        """As a role names it."""
        if self.method == "GET":
            named = self.path.rstrip("/").rpartition("/")[2]
            is_list = named in _PLURALS
            return "watch" if self.is_watch else "list" if is_list else "get"
        return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[
            self.method
        ]

    @property
    def resource(self) -> str:
        """As a role names it, with its part: `pods/log`."""
        words = self.path.split("/")
        at = words.index("namespaces") + 2 if "namespaces" in words else -1
        part = words[at + 2 :] if at > 0 else []
        return "/".join([words[at], *part])


_PLURALS = {
    "pods", "deployments", "services", "leases", "events", "podtemplates", "statefulsets",
    "horizontalpodautoscalers", "configmaps",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What is answered in place of the API server."""

    status: int
    message: str = "not now"
    retry_after: int | None = None


Cut = object()
"""The connection ends in the middle of an answer."""
Fault = Callable[[Request], Answer | object | None]


@dataclass
class Between:
    """A proxy of one client."""

    server: str
    client: httpx.AsyncClient
    url: str = ""
    fault: Fault = lambda _: None
    hold: Callable[[Request], asyncio.Event | None] = lambda _: None
    """What a request waits for before it is passed on."""
    watch_s: float = 600.0
    """How long a watch lasts before it is cut."""
    asked: list[Request] = field(default_factory=list)

    def connection(self, namespace: str, **more: Any) -> KubernetesConnection:
        """What a client reaches the API server by, through here."""
        return KubernetesConnection(server=self.url, namespace=namespace, **more)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = head.strip().split("\r\n")
            method, target, _ = line.split(" ")
            headers = dict(one.split(": ", 1) for one in rest)
            lower = {name.lower(): text for name, text in headers.items()}
            body = await reader.readexactly(int(lower.get("content-length", 0)))
            path, _, query = target.partition("?")
            request = Request(len(self.asked) + 1, method, path, query)
            self.asked.append(request)
            if (held := self.hold(request)) is not None:
                await held.wait()
            fault = self.fault(request)
            if isinstance(fault, Answer):
                writer.write(_written(fault))
            elif fault is None:
                await self._passed(request, target, lower, body, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, httpx.HTTPError):
            return
        finally:
            writer.close()

    async def _passed(
        self,
        request: Request,
        target: str,
        headers: dict[str, str],
        body: bytes,
        writer: asyncio.StreamWriter,
    ) -> None:
        kept = httpx.Headers(headers)
        for name in ("host", "content-length", "accept-encoding"):
            kept.pop(name, None)
        async with self.client.stream(
            request.method, self.server + target, content=body, headers=kept
        ) as answer:
            writer.write(f"HTTP/1.1 {answer.status_code} X\r\nconnection: close\r\n".encode())
            writer.write(b"content-type: application/json\r\n\r\n")
            try:
                async with asyncio.timeout(self.watch_s if request.is_watch else 60):
                    async for part in answer.aiter_bytes():
                        writer.write(part)
                        await writer.drain()
            except TimeoutError:
                return


def _written(said: Answer) -> bytes:
    body = json.dumps({"kind": "Status", "code": said.status, "message": said.message}).encode()
    after = "" if said.retry_after is None else f"retry-after: {said.retry_after}\r\n"
    head = f"HTTP/1.1 {said.status} X\r\n{after}connection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def between(server: str, context: Any) -> AsyncIterator[Between]:
    """One that passes everything on, until it is told otherwise."""
    client = httpx.AsyncClient(verify=context, trust_env=False, timeout=60)
    made = Between(server, client)
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await made.connected(reader, writer)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await client.aclose()
