"""The process deployer as a subject: real processes, in a folder of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from adapters.deployers.process.deployer import ProcessDeployer
from schemas.deployment import Endpoint, Instance, Trouble, WantedVersion
from tests.contract.deployers.subjects import OWNER, order

SERVICE: Final = Path(__file__).with_name("service.py")
PYTHON: Final = (sys.executable, "-I", "-S")
_MARK: Final = b"AVIARY_INSTANCE="


class ProcessSubject:
    """Processes of this machine."""

    remembers = True
    troubles = frozenset({Trouble.CRASH_LOOP, Trouble.PROBE_FAILED, Trouble.WRONG_RECIPE})

    def __init__(self, folder: Path, client: httpx.AsyncClient, ports: range) -> None:
        self.folder = folder
        self.ports = ports
        self._client = client
        self._planted: dict[str, subprocess.Popen[bytes]] = {}

    def deployer(self, owner: str = OWNER) -> ProcessDeployer:
        return ProcessDeployer(
            self.folder / "state", owner, ports=self.ports, client=self._client, patience=0.5
        )

    def runner(self, owner: str = OWNER) -> ProcessDeployer:
        return self.deployer(owner)

    def wanted(
        self,
        service: str,
        version: str,
        generation: int,
        instances: int = 1,
        *,
        trouble: Trouble | None = None,
        config: dict[str, str] | None = None,
    ) -> WantedVersion:
        words: list[str] = [*PYTHON, str(SERVICE), "{port}", "{version}"]
        if trouble is Trouble.WRONG_RECIPE:
            words = [str(self._flag(service, version)), "{port}", "{version}"]
        elif trouble is not None:
            flag = self._flag(service, version)
            flag.touch()
            words += [trouble.value, str(flag)]
        return order(
            service, version, generation, instances, config=config or {}, recipe=recipe(words)
        )

    async def heal(self, wanted: WantedVersion) -> None:
        flag = self._flag(wanted.service, wanted.version)
        if flag.exists():
            flag.unlink()
            return
        fresh = flag.with_suffix(".new")
        words = shlex.join([*PYTHON, str(SERVICE)])
        fresh.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        fresh.chmod(0o755)
        fresh.rename(flag)

    async def answer(self, endpoint: Endpoint, path: str = "/") -> str:
        try:
            answer = await self._client.get(f"http://{endpoint}{path}", timeout=5)
        except httpx.HTTPError:
            return ""
        return answer.text if answer.is_success else ""

    async def things(self) -> frozenset[str]:
        planted = {name for name, one in self._planted.items() if one.poll() is None}
        return frozenset({Path(path).name for _, path in self.marked()} | planted)

    async def plant(self, like: Instance) -> str:
        assert like.endpoint is not None
        words = [*PYTHON, str(SERVICE), str(like.endpoint.port), "theirs"]
        self._planted[like.name] = _started(words)
        await self._until(like.endpoint, answers=True)
        return like.name

    async def kill(self, instance: Instance) -> None:
        assert instance.endpoint is not None
        os.kill(int(await self.answer(instance.endpoint, "/pid")), signal.SIGKILL)
        await self._until(instance.endpoint, answers=False)

    def command(self, text: str, exit_code: int, seconds: float = 0.0) -> tuple[str, ...]:
        begun = shlex.quote(str(self._begun(text)))
        script = f"echo >> {begun}; sleep {seconds}; echo {shlex.quote(text)}; exit {exit_code}"
        return ("sh", "-c", script)

    async def runs(self, text: str) -> int:
        path = self._begun(text)
        return len(path.read_bytes()) if path.exists() else 0

    def marked(self) -> Iterator[tuple[int, str]]:
        """Processes that bear a mark of this folder, with the mark."""
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                for word in (entry / "environ").read_bytes().split(b"\0"):
                    if word.startswith(_MARK + str(self.folder).encode()):
                        yield int(entry.name), word.removeprefix(_MARK).decode()

    def stop(self) -> None:
        """End all that is left."""
        for one in self._planted.values():
            one.kill()
            one.wait()
        while left := list(self.marked()):
            for pid, _ in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def _until(self, endpoint: Endpoint, *, answers: bool) -> None:
        async with asyncio.timeout(20):
            while bool(await self.answer(endpoint)) is not answers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # somebody else's process

    def _flag(self, service: str, version: str) -> Path:
        return self.folder / f"{service}-{version}.flag"

    def _begun(self, text: str) -> Path:
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.begun"


def _started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words)


def recipe(words: list[str], **more: Any) -> dict[str, Any]:
    """A recipe that is quick to come and to go."""
    return {"command": words, "ready": {"http": "/"}, "drain": "0s", "grace": "5s", **more}
