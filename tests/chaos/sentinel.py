"""All of Aviary dies in mid-canary: users are on stable in time, and each release ends one way.

Temporal, the broker, worker, bridge and webhook are killed together; what is left is the router,
the services, their users, and a sentinel.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from adapters.routers.envoy.file import RouteFile
from adapters.routers.envoy.routes import local_domains
from adapters.routers.lease_folder import LEASES
from aviary.local import debian, parts, probes, stack
from aviary.local.ports import FreePorts
from aviary.local.process import ChildSpec
from aviary.local.stack import Stack
from schemas import ids
from schemas.causes import CauseKind
from schemas.release import CanaryPhase, ReleasePhase, ReleaseStatus
from schemas.route import Route
from tests.chaos.rows import Row

PART: Final = "sentinel"
LEASE_S: Final = 9.0
IN_TIME_S: Final = 2.0
"""Beyond the lease, until stable has everything."""
PATIENCE_S: Final = 180.0
_AVIARY: Final = ("worker", "bridge", "webhook")
_RPS: Final = 40.0


@dataclass(frozen=True)
class Moment:
    """When everything dies."""

    name: str
    strategy: dict[str, Any]
    phases: dict[str, CanaryPhase]
    """By service, of the release that is under way."""


MOMENTS: Final = (
    Moment(
        "at a gate",
        {"steps": [{"weight": 50, "gate": True}]},
        {"ledger": CanaryPhase.GATED},
    ),
    Moment(
        "while it is judged",
        {"steps": [50], "bake": "30m"},
        {"ledger": CanaryPhase.BAKING},
    ),
    Moment(
        "while all hold",
        {"steps": [50], "soak": "30m"},
        {"ledger": CanaryPhase.HOLDING, "payments": CanaryPhase.HOLDING},
    ),
)


async def die_at_all(folder: Path, moments: Sequence[Moment], *, strict: bool = False) -> list[Row]:
    """One after the other, on one stack.

    Args:
        folder: for everything.
        moments: when all of Aviary dies.
        strict: whether what was late is broken: not on a machine that runs other tests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    catalog = folder.with_name(f"{folder.name}.catalog.yaml")
    catalog.write_text(_catalog(moments))
    ports = FreePorts()
    async with Stack(
        folder, debian.cache_folder(), catalog=catalog, rps=_RPS, deploys=False
    ) as site:
        await site.start()
        port = ports.take()
        await site.supervisor.start(
            ChildSpec(
                "sentinel",
                (sys.executable, "-m", "aviary", "sentinel"),
                env={**site.settings, "AVIARY_METRICS_PORT": str(port)},
                cwd=parts.ROOT,
                probe=probes.http(port, "/readyz"),
            )
        )
        rows = [await _die(site, at, moment) for at, moment in enumerate(moments, start=2)]
    for row in rows:
        if strict and row.seconds > IN_TIME_S:
            row.broken.append(f"on stable {row.seconds} s after the lease, expected {IN_TIME_S:g}")
    return rows


async def _die(site: Stack, number: int, moment: Moment) -> Row:
    row = Row(PART, "two services", f"all of Aviary killed {moment.name}", struck=True)
    release, version = f"lost-{number}", f"{number}.0.0"
    versions = dict.fromkeys(("ledger", "payments"), version)
    routes = RouteFile(site.folder / "envoy", local_domains, 1.0)
    before = {service: routes.read(service) for service in versions}
    signs = [site.folder / "envoy" / LEASES / service for service in moment.phases]
    for sign in signs:
        sign.unlink(missing_ok=True)  # of an earlier release
    await site.reset_load()
    await site.request(release, versions, strategy=_name(moment))
    await _until(await site.temporal(), release, moment)
    await _soon(lambda: all(sign.exists() for sign in signs))

    await asyncio.gather(*(_kill(site, name) for name in (*_AVIARY, "temporal", "kafka")))
    last = max(sign.stat().st_mtime for sign in signs)
    await _soon(lambda: all(routes.read(one).canary is None for one in versions))
    row.seconds = round(time.time() - last - LEASE_S, 2)
    taken = {service: routes.read(service) for service in versions}

    await site.supervisor.start(parts.temporal(site.ports, site.folder))
    await site.supervisor.start(parts.kafka(site.ports))
    await asyncio.gather(*(site.restart(name) for name in _AVIARY))
    client = await site.temporal()
    status = await _result(client, release)
    row.outcome = status.phase.value
    row.broken += _ended_wrong(status)
    for service in versions:
        row.broken += _routed_wrong(before[service], taken[service], routes.read(service))
    query = f"WorkflowId = '{ids.release_workflow_id(release)}'"
    runs = [one.run_id async for one in client.list_workflows(query)]
    if len(runs) != 1:
        row.broken.append(f"runs of the release: {runs}, expected one")
    users = (await site.load())["users"]
    if users["failed"]:
        row.broken.append(f"{users['failed']} of {users['sent']} requests of users failed")
    await site.clear(versions)
    return row


def _ended_wrong(status: ReleaseStatus) -> Iterator[str]:
    cause = status.cause
    if status.phase is not ReleasePhase.ROLLED_BACK or cause is None:
        yield f"ended {status.phase} with {cause}, expected it to be rolled back"
    elif cause.kind is not CauseKind.LEASE or "no sign of life" not in cause.text:
        yield f"cause {cause.kind} ({cause.text}), expected that of the sentinel"


def _routed_wrong(before: Route, taken: Route, now: Route) -> Iterator[str]:
    if now != taken:
        yield f"{now.service}: {now.text}, and the sentinel had written {taken.text}"
    if (now.stable, now.canary) != (before.stable, None):
        yield f"{now.service}: {now.text}, expected {before.stable} alone"


async def _soon(so: Callable[[], bool]) -> None:
    """Wait for what processes write into files."""
    async with asyncio.timeout(PATIENCE_S):
        while not so():  # noqa: ASYNC110 - other processes do it
            await asyncio.sleep(0.02)


async def _kill(site: Stack, name: str) -> None:
    child = site.supervisor.children[name]
    child.expected_end = True
    child.signal(signal.SIGKILL)
    await site.supervisor.stop(name)


def _handle(client: Client, release: str) -> WorkflowHandle[Any, ReleaseStatus]:
    return client.get_workflow_handle(ids.release_workflow_id(release), result_type=ReleaseStatus)


async def _until(client: Client, release: str, moment: Moment) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                status: ReleaseStatus = await _handle(client, release).query(
                    ids.QUERY_STATUS, result_type=ReleaseStatus
                )
            except RPCError:
                await asyncio.sleep(0.2)
                continue
            phases = {one.service: one.phase for one in status.services}
            if all(phases[service] is phase for service, phase in moment.phases.items()):
                return
            if status.phase.closed:
                raise AssertionError(f"it ended too soon: {status.summary}")
            await asyncio.sleep(0.1)


async def _result(client: Client, release: str) -> ReleaseStatus:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await _handle(client, release).result()
            except RPCError:  # Temporal is not quite back
                await asyncio.sleep(0.2)


def _name(moment: Moment) -> str:
    return moment.name.replace(" ", "-")


def _catalog(moments: Sequence[Moment]) -> str:
    document = yaml.safe_load(Path(stack.__file__).with_name("catalog.yaml").read_text())
    for moment in moments:
        strategy = {**moment.strategy, "lease": f"{LEASE_S:g}s"}
        document["strategies"][_name(moment)] = strategy
    text: str = yaml.safe_dump(document)
    return text
