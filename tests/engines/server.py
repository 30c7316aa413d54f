"""The Temporal that a test runs on: its development server, or two nodes of the production server.

`pytest --engine cluster` has all tests that ask for the fixture `server` of `tests/workflows` or
`tests/builds` run on two nodes on a PostgreSQL, behind the balancer.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from aviary.converter import DATA_CONVERTER
from aviary.local import debian, parts
from aviary.local.cluster import Cluster
from aviary.local.ports import FreePorts
from aviary.local.process import ChildSpec, Supervisor
from tests.engines.names import CLUSTER
from tests.engines.places import open_folder

TEMPORAL: Final = Path(sys.executable).parent / "temporal"
_STARTS: Final = 6


@asynccontextmanager
async def temporal(
    engine: str, settings: Mapping[str, str | int]
) -> AsyncIterator[WorkflowEnvironment]:
    """A Temporal with a namespace.

    Args:
        engine: which one.
        settings: run-time settings of it, by name.
    """
    if engine == CLUSTER:
        async with _cluster(settings) as environment:
            yield environment
        return
    async with await _development(settings) as environment:
        yield environment


async def _development(settings: Mapping[str, str | int]) -> WorkflowEnvironment:
    """The SDK gives it five seconds to begin, which it does not have on a busy machine."""
    for left in range(_STARTS - 1, -1, -1):
        try:
            return await WorkflowEnvironment.start_local(
                dev_server_existing_path=str(TEMPORAL),
                data_converter=DATA_CONVERTER,
                dev_server_extra_args=parts.run_time_settings(settings),
            )
        except RuntimeError:
            if not left:
                raise
    raise AssertionError("it has returned or raised")


@asynccontextmanager
async def _cluster(settings: Mapping[str, str | int]) -> AsyncIterator[WorkflowEnvironment]:
    free = FreePorts()
    ports = parts.Ports.choose(free)
    with open_folder() as folder:
        made = Cluster(folder, ports, free, debian.cache_folder(), dynamic=settings)
        await made.install(_say)
        async with Supervisor(folder) as supervisor:

            async def start(spec: ChildSpec) -> None:
                await supervisor.start(spec)

            await made.start_temporal(start)
            client = await Client.connect(
                made.addresses["temporal"],
                namespace=parts.NAMESPACE,
                data_converter=DATA_CONVERTER,
            )
            yield WorkflowEnvironment.from_client(client)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
