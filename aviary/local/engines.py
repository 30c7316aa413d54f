"""What a stack's releases run on: Temporal, Kafka, and Aviary's own processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client

from aviary.local import parts
from aviary.local.ports import LOOPBACK
from aviary.local.process import ChildSpec

Say = Callable[[str], None]
Start = Callable[[ChildSpec], Awaitable[None]]
"""Starts a part, and returns when it is ready."""
RETENTION: Final = timedelta(days=7)
"""How long finished releases are remembered: a repeated deploy event must find its release."""
SERVICES: Final = ("worker", "bridge", "webhook")


class EngineError(RuntimeError):
    """An engine can't be had here; the text says why."""


class Engine(Protocol):
    """Temporal, Kafka and how many of Aviary's processes there are.

    The first of each of Aviary's processes is called as in `SERVICES`, a further one has its number
    after that: `worker-2`.
    """

    @property
    def addresses(self) -> Mapping[str, str]:
        """What a person or a script wants to open, by name: `temporal` and `kafka` at least."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What Aviary's settings say of it, where that is not what every stack has."""

    @property
    def further_envoys(self) -> Sequence[int]:
        """Admin ports of the Envoys beside the first."""

    def jobs(self) -> Mapping[str, Sequence[str]]:
        """Where the metrics of Aviary's processes are: host:port by what they are."""

    async def install(self, say: Say) -> None:
        """Have its programs on this machine, and say beforehand what takes minutes.

        Raises:
            EngineError: they can't be had.
        """

    async def start(self, start: Start) -> None:
        """Start Temporal and Kafka, and return when both serve."""

    def services(self, settings: Mapping[str, str]) -> Sequence[ChildSpec]:
        """Aviary's processes under these settings."""


class Development:
    """Temporal's development server, a broker in memory, and one of each process.

    Args:
        folder: the stack's.
        ports: its ports.
    """

    def __init__(self, folder: Path, ports: parts.Ports) -> None:
        self._folder = folder
        self._ports = ports

    @property
    def addresses(self) -> Mapping[str, str]:
        """With that of Temporal's UI."""
        return {
            "temporal": f"{LOOPBACK}:{self._ports.temporal}",
            "temporal_ui": f"http://{LOOPBACK}:{self._ports.temporal_ui}",
            "kafka": f"{LOOPBACK}:{self._ports.kafka}",
        }

    @property
    def settings(self) -> Mapping[str, str]:
        """None: those of every stack are for it."""
        return {}

    @property
    def further_envoys(self) -> Sequence[int]:
        """None."""
        return ()

    def jobs(self) -> Mapping[str, Sequence[str]]:
        """One of each."""
        ports = self._ports
        each = (ports.worker_metrics, ports.bridge_metrics, ports.webhook)
        return {name: [f"{LOOPBACK}:{port}"] for name, port in zip(SERVICES, each, strict=True)}

    async def install(self, say: Say) -> None:
        """Nothing: its programs are packages."""

    async def start(self, start: Start) -> None:
        """Both at once."""
        specs = (parts.temporal(self._ports, self._folder), parts.kafka(self._ports))
        await at_once(start, specs)
        await self._keep_histories()

    def services(self, settings: Mapping[str, str]) -> Sequence[ChildSpec]:
        """One of each."""
        return [parts.aviary(name, self._ports, settings) for name in SERVICES]

    async def _keep_histories(self) -> None:
        config = NamespaceConfig()
        config.workflow_execution_retention_ttl.FromTimedelta(RETENTION)
        client = await Client.connect(self.addresses["temporal"], namespace=parts.NAMESPACE)
        await client.workflow_service.update_namespace(
            UpdateNamespaceRequest(namespace=parts.NAMESPACE, config=config)
        )


async def at_once(start: Start, specs: Sequence[ChildSpec]) -> None:
    """Start some parts side by side."""

    async def one(spec: ChildSpec) -> None:
        await start(spec)

    async with asyncio.TaskGroup() as group:
        for spec in specs:
            group.create_task(one(spec))
