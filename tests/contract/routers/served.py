"""A server's process that tells over HTTP how it is."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

WAITS_S: Final = 120.0
"""For a server to say something: an Envoy waits up to 30 s before it tries a server again."""


class _Live(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


L = TypeVar("L", bound=_Live)


@contextmanager
def running(live: L) -> Iterator[L]:
    """Start a server, and stop it whatever happens."""
    try:
        live.start()
        yield live
    finally:
        live.stop()


class Served(ABC):
    """One process; `restart` kills it as a crash would.

    Args:
        url: where it tells.
        log: for what it prints.
        ready: a path, and a text in its answer once it is ready.
    """

    def __init__(self, url: str, log: Path, ready: tuple[str, str]) -> None:
        self._asked = url
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What it is started with."""

    def start(self) -> None:
        """Start and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        self.wait_for(*self._ready)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it on what it kept."""
        self.stop()
        self.start()

    def ask(self, path: str) -> str:
        """Its answer; empty while there is none."""
        try:
            with urllib.request.urlopen(f"{self._asked}{path}", timeout=2) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            return ""

    def wait_for(self, path: str, text: str) -> None:
        """Ask until the answer holds the text."""
        deadline = time.monotonic() + WAITS_S
        while text not in self.ask(path):
            assert time.monotonic() < deadline, f"never said {text!r} at {path}; see {self._log}"
            if self._process is not None:
                assert self._process.poll() is None, f"ended; see {self._log}"
            time.sleep(0.02)
