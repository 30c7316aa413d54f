"""A server that answers with whatever bytes a test says, as slowly as it says."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aviary.local.ports import LOOPBACK

Talk = Callable[[socket.socket, threading.Event], None]
"""What the server does with a connection, once it has read a request; stops when told."""


def envelope(*rows: tuple[dict[str, str], str], **more: Any) -> bytes:
    """What a Prometheus answers to an instant query."""
    result = [{"metric": labels, "value": [1735689600.0, value]} for labels, value in rows]
    data = {"resultType": "vector", "result": result}
    return json.dumps({"status": "success", "data": data, **more}).encode()


def error(kind: str, text: str) -> bytes:
    """What a Prometheus answers where it has no result."""
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> Talk:
    """One whole answer."""
    kinds = headers or ("Content-Type: application/json",)
    head = "\r\n".join((f"HTTP/1.1 {status}", *kinds, f"Content-Length: {len(body)}", "", ""))

    def talk(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(head.encode() + body)

    return talk


def zipped(body: bytes) -> Talk:
    """The same, compressed."""
    kinds = ("Content-Type: application/json", "Content-Encoding: gzip")
    return answer(gzip.compress(body), "200 OK", *kinds)


def drip(first: bytes, again: bytes, pause_s: float = 0.02) -> Talk:
    """A beginning, and then a little, without end."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.wait(pause_s):
            connection.sendall(again)

    return talk


def flood(first: bytes, piece: bytes) -> Talk:
    """A beginning, and then very much, without end."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.is_set():
            connection.sendall(piece)

    return talk


@contextmanager
def server(talk: Talk) -> Iterator[str]:
    """Its address, while it runs."""
    over = threading.Event()
    with socket.create_server((LOOPBACK, 0)) as listening:
        threading.Thread(target=_serve, args=(listening, talk, over), daemon=True).start()
        try:
            yield f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)


def _serve(listening: socket.socket, talk: Talk, over: threading.Event) -> None:
    while not over.is_set():
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_talk, args=(connection, talk, over), daemon=True).start()


def _talk(connection: socket.socket, talk: Talk, over: threading.Event) -> None:
    with connection:
        try:
            while not over.is_set() and _request(connection):
                talk(connection, over)
        except OSError:
            return


def _request(connection: socket.socket) -> bool:
    """Read one whole request; whether there was one."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65536)
        if not piece:
            return False
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while missing > 0:
        missing -= len(connection.recv(65536))
    return True
