"""A server that says what a test tells it to: what a real API server seldom does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from adapters.kubernetes.connection import KubernetesConnection


@dataclass
class Said:
    """One answer."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    cut: bool = False
    """Whether the connection ends in the middle of it."""
    after_s: float = 0.0


@dataclass
class Asked:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """Answers in turn, and the last answer for ever."""

    def __init__(self, *answers: Said) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.url = ""

    def connection(self, **more: Any) -> KubernetesConnection:
        return KubernetesConnection(server=self.url, **more)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.strip().split("\r\n")
                headers = {
                    name.lower(): text for name, text in (one.split(": ", 1) for one in rest)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.asked.append(Asked(line, headers, body))
                said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                await self._answer(said, writer)
                if said.cut:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    @staticmethod
    async def _answer(said: Said, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(said.after_s)
        raw = said.raw if said.raw is not None else json.dumps(said.body or {}).encode()
        length = len(raw) + (100 if said.cut else 0)
        extra = "".join(f"{name}: {text}\r\n" for name, text in said.headers.items())
        head = f"HTTP/1.1 {said.status} X\r\n{extra}content-length: {length}\r\n\r\n"
        writer.write(head.encode() + raw)
        await writer.drain()


@asynccontextmanager
async def serving(*answers: Said) -> AsyncIterator[Server]:
    server = Server(*answers)
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        listening.close()


def status(code: int, message: str, reason: str = "", **details: Any) -> Said:
    """An answer as an API server words it."""
    body = {"kind": "Status", "code": code, "message": message, "reason": reason}
    return Said(code, body | ({"details": details} if details else {}))
