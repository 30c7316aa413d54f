"""The real parts that a benchmark needs, with the settings of the embedded stack."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError

from adapters.connections import Connection
from adapters.kafka import KafkaOptions, ensure_topics
from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.router import EnvoyRouter
from aviary.catalogs import make_catalog
from aviary.converter import DATA_CONVERTER
from aviary.local import parts, probes
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import Supervisor
from aviary.routers import NO_CONNECTIONS
from bench.seen import FLUSH_MS, AccessLog, add_log
from bench.traffic import VERSIONS, Traffic
from schemas import ids
from schemas.catalog import Catalog
from schemas.deploy import DeployRequested
from schemas.ids import deploying_queue, effects_queue, judging_queue, waiting_queue
from schemas.release import ReleaseInput, ReleaseStatus, Tuning
from tests.chaos.testbed import Evidence
from workflows.planning import plan_release

QUEUE: Final = "aviary"
TASK_TIMEOUT: Final = timedelta(seconds=2)
"""As the bridge gives it to a release."""
TUNING: Final = Tuning(see_quiet=timedelta(milliseconds=200), report=False)
"""The bridge's own, but for the look after a rollback, which is no part of any figure."""
BARE_TOPIC: Final = "bare"
_WITHIN_S: Final = 600.0
TARGET, FLOOR = "target", "floor"
"""The services behind Envoy: Aviary's, and the one that the floor shifts."""


@dataclass
class Testbed:
    """Parts that run."""

    folder: Path
    supervisor: Supervisor
    ports: parts.Ports
    token: str
    env: dict[str, str]
    """Settings of Aviary's processes."""
    client: Client
    kafka: KafkaOptions
    evidence: Evidence
    http: httpx.AsyncClient
    catalog: Catalog

    async def start(self, name: str, **env: str) -> int:
        """Start worker, bridge or webhook; its process id."""
        spec = parts.aviary(name, self.ports, self.env | env)
        queue = env.get("AVIARY_TASK_QUEUE")
        if name == "worker" and queue is not None:
            kinds = (judging_queue, effects_queue, waiting_queue, deploying_queue)
            queues = (queue, *(kind(queue) for kind in kinds))
            probe = probes.polled(self.ports.temporal, parts.NAMESPACE, queues)
            spec = replace(spec, probe=probe)
        child = await self.supervisor.start(spec)
        return child.pid

    async def stop(self, name: str) -> None:
        """Stop it."""
        await self.supervisor.stop(name)

    @property
    def bootstrap(self) -> str:
        """Of Kafka."""
        return self.kafka.bootstrap


@dataclass
class Routed:
    """An Envoy with two services, and the users of one of them."""

    fleet: EnvoyFleet
    router: EnvoyRouter
    seen: AccessLog
    traffic: Traffic
    port: int


@asynccontextmanager
async def started(
    folder: Path,
    described: Callable[[parts.Ports], Mapping[str, Any]],
    connections: Mapping[str, Connection] = NO_CONNECTIONS,
) -> AsyncIterator[Testbed]:
    """Temporal, Kafka and a stand-in for Prometheus, without any of Aviary's processes.

    Args:
        folder: a new one.
        described: gives the catalog, once the ports are known.
        connections: that the catalog names.
    """
    folder.mkdir(parents=True)  # noqa: ASYNC240 - before anything is measured
    ports = parts.Ports.choose(FreePorts())
    token = secrets.token_urlsafe(16)
    checked = make_catalog(described(ports), connections)
    (folder / "catalog.yaml").write_text(yaml.safe_dump(dict(described(ports))))
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(Supervisor(folder))
        evidence = await stack.enter_async_context(Evidence())
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        await supervisor.start(parts.temporal(ports, folder))
        await supervisor.start(parts.kafka(ports))
        env = parts.settings(ports, folder, token)
        env["AVIARY_PROMETHEUS_URL"] = f"http://{LOOPBACK}:{evidence.port}"
        del env["AVIARY_ALERTMANAGER_URL"]
        kafka = KafkaOptions(
            bootstrap=f"{LOOPBACK}:{ports.kafka}",
            idempotent=False,
            partitions=parts.KAFKA_PARTITIONS,
        )
        await ensure_topics(kafka)
        await ensure_topics(kafka.model_copy(update={"partitions": 1}), (BARE_TOPIC,))
        client = await Client.connect(
            f"{LOOPBACK}:{ports.temporal}",
            namespace=parts.NAMESPACE,
            data_converter=DATA_CONVERTER,
        )
        yield Testbed(folder, supervisor, ports, token, env, client, kafka, evidence, http, checked)


@asynccontextmanager
async def routed(testbed: Testbed) -> AsyncIterator[Routed]:
    """An Envoy whose access log is read; put `router_spec` into the catalog before."""
    fleet = EnvoyFleet(envoy_folder(testbed.folder))
    log = testbed.folder / "access.log"
    log.touch()
    async with Traffic() as traffic:
        bootstrap = fleet.bootstrap(testbed.ports.envoy_admin, testbed.ports.envoy)
        add_log(fleet.directory / "lds.yaml", log)
        fleet.set_pools(
            [
                Pool(service=service, version=one, endpoints=((LOOPBACK, traffic.ports[one]),))
                for service in (TARGET, FLOOR)
                for one in VERSIONS
            ]
        )
        spec = parts.envoy(testbed.ports, bootstrap)
        flush = ("--file-flush-interval-msec", str(FLUSH_MS))
        admin = f"http://{LOOPBACK}:{testbed.ports.envoy_admin}"
        router = EnvoyRouter(fleet.directory, [admin], client=testbed.http)
        for service in (TARGET, FLOOR):
            await router.register(service, VERSIONS[0])
        await testbed.supervisor.start(replace(spec, argv=(*spec.argv, *flush)))
        versions = {port: version for version, port in traffic.ports.items()}
        yield Routed(fleet, router, AccessLog(log, versions), traffic, testbed.ports.envoy)


def envoy_folder(folder: Path) -> Path:
    """Where the files of Envoy are."""
    return folder / "envoy"


def catalog(
    services: Mapping[str, Sequence[str]], strategy: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """A catalog of services, by what they depend on, with a router in memory."""
    return {
        "version": 1,
        "defaults": {
            "router": {"kind": "memory"},
            "metrics": [],
            "strategy": "bench",
            **more.pop("defaults", {}),
        },
        "strategies": {"bench": dict(strategy)},
        "services": {name: {"depends_on": list(needs)} for name, needs in services.items()},
        **more,
    }


def envoy_spec(ports: parts.Ports, folder: Path) -> dict[str, Any]:
    """The router of a catalog, for `routed`."""
    admin = f"http://{LOOPBACK}:{ports.envoy_admin}"
    return {"kind": "envoy", "directory": str(envoy_folder(folder)), "admin": [admin]}


async def begin(
    testbed: Testbed, release: str, versions: Mapping[str, str], tuning: Tuning = TUNING
) -> WorkflowHandle[Any, ReleaseStatus]:
    """Start a release as the bridge would."""
    services = [{"service": name, "version": version} for name, version in versions.items()]
    deploy = DeployRequested.model_validate({"release": release, "services": services})
    return await testbed.client.start_workflow(
        ids.RELEASE_WORKFLOW,
        ReleaseInput(plan=plan_release(testbed.catalog, deploy), tuning=tuning),
        id=ids.release_workflow_id(release),
        task_queue=QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        task_timeout=TASK_TIMEOUT,
        result_type=ReleaseStatus,
    )


async def until(
    handle: WorkflowHandle[Any, Any], so: Callable[[ReleaseStatus], bool], every: float = 0.05
) -> None:
    """Ask a release where it is until that is so.

    Raises:
        TimeoutError: it never was.
    """
    async with asyncio.timeout(_WITHIN_S):
        while True:
            with suppress(RPCError):  # not begun, or its worker is busy
                status = await handle.query(ids.QUERY_STATUS, result_type=ReleaseStatus)
                if so(status):
                    return
            await asyncio.sleep(every)


async def events(client: Client, workflow: str, run: str | None = None) -> list[HistoryEvent]:
    """The history of a workflow."""
    handle = client.get_workflow_handle(workflow, run_id=run)
    return list((await handle.fetch_history()).events)


def now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def moment(event: HistoryEvent) -> float:
    """When an event happened, seconds since 1970."""
    return event.event_time.ToDatetime(tzinfo=UTC).timestamp()
