"""A Temporal server that has as long as it needs to come up, also on a busy machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aviary.local import probes
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, Supervisor
from tests.contract.kafka.parts import TEMPORAL


@asynccontextmanager
async def temporal_server(
    folder: Path, namespaces: Sequence[str], *options: str
) -> AsyncIterator[str]:
    """Run it with these namespaces; gives its address."""
    port = FreePorts().take()
    argv = [str(TEMPORAL), "server", "start-dev", "--headless", "--log-level", "error"]
    argv += ["--ip", LOOPBACK, "--port", str(port), *options]
    for name in namespaces:
        argv += ["--namespace", name]
    async with Supervisor(folder) as supervisor:
        probe = probes.temporal(port, namespaces[0])
        await supervisor.start(ChildSpec("temporal", argv, probe=probe))
        yield f"{LOOPBACK}:{port}"
