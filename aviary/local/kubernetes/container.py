"""A pod that is a program of this machine: the command of its container."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from adapters.kubernetes.resources import Json
from aviary.local.process import die_with

_ANNOTATION: Final = re.compile(r"metadata\.annotations\['([^']+)'\]")
_NAME: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class Container:
    """Runs the command of a pod's first container; it is not started again when it ends."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, pod: Json, address: str) -> Container:
        """Start it.

        Args:
            pod: whose first container has a command.
            address: of the pod.

        Raises:
            OSError: there is no such program.
        """
        container = pod["spec"]["containers"][0]
        variables = environment_of(pod, address)
        words = [*container["command"], *(container.get("args") or ())]
        process = await asyncio.create_subprocess_exec(
            *(_NAME.sub(lambda found: variables.get(found[1], found[0]), word) for word in words),
            cwd=container.get("workingDir"),
            env={**os.environ, **variables},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            preexec_fn=die_with(os.getpid()),
        )
        return cls(process)

    async def finish(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL when its time is over."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        self.close()

    def close(self) -> None:
        """SIGKILL."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


def environment_of(pod: Json, address: str) -> Mapping[str, str]:
    """The variables of a pod's first container, its address and annotations among them."""
    said: Mapping[str, Any] = pod["metadata"].get("annotations") or {}
    found: dict[str, str] = {}
    for one in pod["spec"]["containers"][0].get("env") or ():
        path = ((one.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath", "")
        annotation = _ANNOTATION.fullmatch(path)
        if annotation is not None:
            found[one["name"]] = str(said.get(annotation[1], ""))
        else:
            found[one["name"]] = address if path == "status.podIP" else str(one.get("value") or "")
    return found
