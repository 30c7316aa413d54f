"""Instances and users as a process of their own: `python -m bench.traffic`.

The first line that it writes are the ports of the instances by version. Then it reads orders, one a
line: `start <router's port> <service> <callers>`; `stop` ends the load, and what was answered is
written.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any, Self

from aviary.local.parts import ROOT
from tests.contract.routers.wire import Instances, Load

VERSIONS = ("a", "b")
_ANSWER_S = 30.0


class Traffic:
    """The process, from outside. Use it as an async context manager."""

    ports: dict[str, int]
    """Of the instances, by version."""
    _process: Process

    async def __aenter__(self) -> Self:
        words = (sys.executable, "-m", "bench.traffic")
        self._process = await asyncio.create_subprocess_exec(
            *words, cwd=ROOT, stdin=PIPE, stdout=PIPE
        )
        self.ports = await self._line()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def start(self, router: int, service: str, callers: int = 4) -> None:
        """Let users call a service until `stop`."""
        await self._order(f"start {router} {service} {callers}")
        await self._line()

    async def stop(self) -> tuple[int, int]:
        """End the load; requests sent, and requests that were not answered 200."""
        await self._order("stop")
        outcomes = await self._line()
        failed = sum(count for status, _, count in outcomes if status != 200)
        return sum(count for *_, count in outcomes), failed

    async def _order(self, text: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        self._process.stdin.write(text.encode() + b"\n")
        await self._process.stdin.drain()

    async def _line(self) -> Any:
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        return json.loads(await asyncio.wait_for(self._process.stdout.readline(), _ANSWER_S))


async def _obey() -> None:
    load: Load | None = None
    with Instances() as instances:
        _say({version: instances.port(version) for version in VERSIONS})
        while line := await asyncio.to_thread(sys.stdin.readline):
            word, *rest = line.split()
            if word == "start":
                load = Load(int(rest[0]), rest[1], int(rest[2]))
                await load.__aenter__()
                _say(None)
            elif load is not None:
                await load.__aexit__(None, None, None)
                _say([(*outcome, count) for outcome, count in load.outcomes.items()])
                load = None


def _say(document: object) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    asyncio.run(_obey())
