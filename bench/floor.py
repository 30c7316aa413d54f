"""The floor, driven: the bare process, and what it is asked to do."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.routers.envoy.fleet import EnvoyFleet
from adapters.routers.envoy.names import resource_file
from adapters.routers.envoy.routes import local_domains, virtual_host
from adapters.routers.files import read_document
from aviary.local.parts import NAMESPACE, ROOT
from bench.testbed import BARE_TOPIC, FLOOR, Testbed
from schemas.route import Route

_READY_S = 30.0


@asynccontextmanager
async def bare_process(testbed: Testbed) -> AsyncIterator[Process]:
    """Consumer and worker of the floor, in one process."""
    order = {
        "temporal": testbed.client.service_client.config.target_host,
        "namespace": NAMESPACE,
        "kafka": testbed.bootstrap,
        "topic": BARE_TOPIC,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.bare", json.dumps(order)),
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - asked for above
        await asyncio.wait_for(process.stdout.readline(), _READY_S)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class BareRoutes:
    """Routes of the floor's service, written by nothing but a rename."""

    def __init__(self, fleet: EnvoyFleet) -> None:
        self._path = fleet.routes_path
        self._generation = 1000

    def prepare(self, weight: float) -> tuple[Path, Path]:
        """Write a file that gives `b` a share; renaming it to the second path puts it into force.

        Nobody may write routes between this and the rename.
        """
        self._generation += 1
        route = Route.split(
            service=FLOOR, stable="a", canary="b", weight=weight, generation=self._generation
        )
        [config] = read_document(self._path)["resources"]
        others = [host for host in config["virtual_hosts"] if host["name"] != FLOOR]
        hosts = [*others, virtual_host(route, local_domains)]
        ready = self._path.with_name(".bare.tmp")
        ready.write_text(json.dumps(resource_file([{**config, "virtual_hosts": hosts}])))
        return ready, self._path
