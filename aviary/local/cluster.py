"""What releases run on in production, on one machine: a cluster, and two of each process.

Two nodes of Temporal's production server on a PostgreSQL, three brokers of Apache Kafka which are
their own controllers, two workers, bridges and webhooks, and a balancer that gives Temporal and the
webhooks one address each. Where it listens is found out before it starts; below the stack's folder
each part has one of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from aviary.local import balancer, databases, engines, parts, probes
from aviary.local.databases import Postgres, PostgresError
from aviary.local.debian import DebianError
from aviary.local.engines import SERVICES, EngineError, Say, Start
from aviary.local.kafka import nodes as kafka_nodes
from aviary.local.kafka import programs as kafka_programs
from aviary.local.kafka.programs import KafkaFetchError
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec
from aviary.local.temporal import nodes as temporal_nodes
from aviary.local.temporal import programs as temporal_programs
from aviary.local.temporal.nodes import NodePorts, SchemaError
from aviary.local.temporal.programs import TemporalBuildError, TemporalTools

NODES: Final = ("temporal-1", "temporal-2")
BROKERS: Final = ("kafka-1", "kafka-2", "kafka-3")
COPIES: Final = 2
"""Of each of Aviary's processes, and of Envoy."""
_SERVES_WITHIN_S: Final = 120.0


class Cluster:
    """Two nodes of Temporal on PostgreSQL, three brokers, two of each process.

    Args:
        folder: the stack's.
        ports: its ports; those of Temporal and of the webhook are the balancer's.
        free: gives the others.
        cache: where its programs are kept between runs.
        dynamic: Temporal's run-time settings that are not as Temporal has them.
    """

    def __init__(
        self,
        folder: Path,
        ports: parts.Ports,
        free: FreePorts,
        cache: Path,
        *,
        dynamic: Mapping[str, object] = temporal_nodes.NO_CHANGES,
    ) -> None:
        self._folder = folder
        self._dynamic = dynamic
        self._ports = ports
        self._cache = cache
        self._database = free.take()
        self._nodes = {name: NodePorts.choose(free) for name in NODES}
        self._brokers = {name: (free.take(), free.take()) for name in BROKERS}
        self._balancer_admin = free.take()
        self._envoys = [free.take() for _ in range(1, COPIES)]
        self._further = [
            replace(
                ports,
                worker_metrics=free.take(),
                bridge_metrics=free.take(),
                webhook=free.take(),
            )
            for _ in range(1, COPIES)
        ]
        self._first = replace(ports, webhook=free.take())
        self._temporal: TemporalTools | None = None
        self._jars: Path | None = None
        self._root: Path | None = None

    @property
    def addresses(self) -> Mapping[str, str]:
        """With each node's and the database's."""
        nodes = {
            name.replace("-", "_"): f"{LOOPBACK}:{ports.frontend}"
            for name, ports in self._nodes.items()
        }
        brokers = ",".join(f"{LOOPBACK}:{port}" for port, _ in self._brokers.values())
        return {
            "temporal": f"{LOOPBACK}:{self._ports.temporal}",
            **nodes,
            "kafka": brokers,
            "postgres": f"postgresql://{databases.USER}@{LOOPBACK}:{self._database}/temporal",
            "webhook_metrics": f"http://{LOOPBACK}:{self._first.webhook}/metrics",
        }

    @property
    def settings(self) -> Mapping[str, str]:
        """Each record is on all brokers."""
        return {
            "AVIARY_KAFKA_BOOTSTRAP": self.addresses["kafka"],
            "AVIARY_KAFKA_IDEMPOTENT": "true",
            "AVIARY_TOPIC_REPLICATION": str(len(BROKERS)),
        }

    @property
    def further_envoys(self) -> Sequence[int]:
        """One."""
        return self._envoys

    def jobs(self) -> Mapping[str, Sequence[str]]:
        """Two of each."""
        each = {
            "worker": [one.worker_metrics for one in self._copies],
            "bridge": [one.bridge_metrics for one in self._copies],
            "webhook": [one.webhook for one in self._copies],
        }
        return {name: [f"{LOOPBACK}:{port}" for port in ports] for name, ports in each.items()}

    async def install(self, say: Say) -> None:
        """Build Temporal, fetch Kafka and PostgreSQL: some minutes, once, and 300 MB are kept.

        Raises:
            EngineError: Go, Java, Maven or a registry is out of reach.
        """
        left = (
            temporal_programs.to_build(self._cache),
            kafka_programs.to_fetch(self._cache),
            databases.to_fetch(),
        )
        if minutes := sum(left):
            say(f"the first start of this engine takes about {minutes} minutes more, once")
        try:
            kafka_programs.check(self._cache)
            self._root = await asyncio.to_thread(databases.programs)
            self._jars = await asyncio.to_thread(kafka_programs.install, self._cache, say)
            self._temporal = await temporal_programs.install(self._cache, say)
        except (DebianError, KafkaFetchError, TemporalBuildError) as error:
            raise EngineError(str(error)) from error

    async def start(self, start: Start) -> None:
        """PostgreSQL, the nodes and the balancer one after the other; brokers meanwhile.

        Raises:
            EngineError: the databases could not be made.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(engines.at_once(start, self._broker_specs()))
            group.create_task(self.start_temporal(start))

    async def start_temporal(self, start: Start) -> None:
        """Temporal alone, with what it needs.

        Raises:
            EngineError: the databases could not be made.
        """
        root, tools = self._root, self._temporal
        if root is None or tools is None:
            raise EngineError("cluster: expected to be installed before it is started")
        database = Postgres(root, self._folder / "postgres", self._database)
        try:
            await database.make()
            await start(database.spec())
            await temporal_nodes.make_databases(tools, self._database)
        except (PostgresError, SchemaError) as error:
            raise EngineError(str(error)) from error
        nodes = [
            temporal_nodes.spec(
                name, tools, self._folder / name, ports, self._database, self._dynamic
            )
            for name, ports in self._nodes.items()
        ]
        for node in nodes:
            # Not at once: of two that find empty databases, one ends.
            await start(node)
        await start(self._balancer())
        address = self.addresses["temporal"]
        served = [
            probes.temporal(ports.frontend, parts.NAMESPACE) for ports in self._nodes.values()
        ]
        async with asyncio.timeout(_SERVES_WITHIN_S):
            await temporal_nodes.make_namespace(address, parts.NAMESPACE, engines.RETENTION)
            for probe in served:
                await probes.until(probe)

    def services(self, settings: Mapping[str, str]) -> Sequence[ChildSpec]:
        """Two of each; each webhook has a port of its own behind the balancer's."""
        return [
            _numbered(_service(name, ports, settings), number)
            for number, ports in enumerate(self._copies, start=1)
            for name in SERVICES
        ]

    @property
    def _copies(self) -> Sequence[parts.Ports]:
        return (self._first, *self._further)

    def _balancer(self) -> ChildSpec:
        frontends = [ports.frontend for ports in self._nodes.values()]
        webhooks = [one.webhook for one in self._copies]
        shared = {
            "temporal": balancer.Shared(
                self._ports.temporal, frontends, balancer.TEMPORAL, http2=True
            ),
            "webhook": balancer.Shared(self._ports.webhook, webhooks, balancer.ready("/readyz")),
        }
        return balancer.spec(self._folder / "balancer", self._balancer_admin, shared)

    def _broker_specs(self) -> Sequence[ChildSpec]:
        if self._jars is None:
            raise EngineError("cluster: expected to be installed before it is started")
        quorum = ",".join(
            f"{number}@{LOOPBACK}:{control}"
            for number, (_, control) in enumerate(self._brokers.values(), start=1)
        )
        specs = []
        for number, (name, (port, control)) in enumerate(self._brokers.items(), start=1):
            properties = {
                "process.roles": "broker,controller",
                "controller.quorum.voters": quorum,
                "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{control}",
                "offsets.topic.replication.factor": str(len(BROKERS)),
                "min.insync.replicas": str(len(BROKERS) - 1),
            }
            file = kafka_nodes.prepare(self._folder / name, self._jars, number, properties)
            argv = kafka_nodes.command(self._jars, file)
            specs.append(ChildSpec(name, argv, probe=probes.kafka(port)))
        return specs


def _service(name: str, ports: parts.Ports, settings: Mapping[str, str]) -> ChildSpec:
    told = settings
    if name == "webhook":
        told = {**settings, "AVIARY_WEBHOOK_PORT": str(ports.webhook)}
    spec = parts.aviary(name, ports, told)
    if name == "worker":
        # Whether the queues are polled says nothing of this one.
        ready = probes.http(ports.worker_metrics, "/readyz")
        spec = replace(spec, probe=probes.both(spec.probe, ready) if spec.probe else ready)
    return spec


def _numbered(spec: ChildSpec, number: int) -> ChildSpec:
    return spec if number == 1 else replace(spec, name=f"{spec.name}-{number}")
