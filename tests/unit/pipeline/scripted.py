"""A server that answers as it is told, over a real socket, and notes what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aviary.api.summary import digest_of

PLACE = f"releases/shop-1/summary?of={digest_of({'checkout': '2'})}"


@dataclass(frozen=True)
class Reply:
    """One answer; status 0 hangs up without one."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def problem(status: int, reason: str, detail: str = "so it is", **headers: str) -> Reply:
    body = json.dumps({"status": status, "reason": reason, "detail": detail})
    kind = {"Content-Type": "application/problem+json"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, body.encode(), kind | named)


ACCEPTED = Reply(202, b'{"release":"shop-1"}', {"Location": PLACE})
MISSING = problem(404, "unknown")
AWAY = problem(503, "kafka_away", Retry_After="1")
GONE = Reply(0)


def seen(phase: str, text: str = "", *, asks: bool = False) -> Reply:
    body = f"## release shop-1 is {text or phase}\n\nits story of {phase}\n".encode()
    told = {"Aviary-Phase": phase, "Aviary-Asks": "true" if asks else "false"}
    return Reply(200, body, told | {"ETag": f'"{phase}{text}"'})


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Scripted:
    """Answers in order; the last one again and again."""

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    tokens: Callable[[str], bool] = lambda _: True

    def of(self, method: str) -> list[Asked]:
        return [one for one in self.asked if one.method == method]

    def next(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if not self.tokens(asked.headers.get("authorization", "")):
            return problem(401, "unauthorized", "authorization: missing, wrong or expired")
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply.status == 200 and asked.headers.get("if-none-match") == reply.headers.get(
            "ETag", "-"
        ):
            return Reply(304, b"", reply.headers)
        return reply


@contextmanager
def scripted() -> Iterator[Scripted]:
    told = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

        def _answer(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(size)
            reply = told.next(Asked(self.command, self.path, headers, body))
            if not reply.status:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = _answer  # noqa: N815 - the names that the library calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
