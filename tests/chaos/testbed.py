"""Everything real that a run needs, and slots in which runs go on side by side."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from adapters.kafka import make_consumer
from adapters.metrics.batching import MARK
from adapters.routers.envoy.router import EnvoyRouter
from adapters.routers.envoy.routes import route_in, tags_in
from aviary.audit.gather import Gathered
from aviary.local.parts import DEVELOPMENT_SERVER, envoy_program, run_time_settings
from schemas import ids
from schemas.route import Route
from tests.chaos.server import temporal_server
from tests.contract.kafka.parts import Broker
from tests.contract.routers.live import LiveEnvoy
from tests.contract.routers.wire import Caller, Instances

ROOT = Path(__file__).parents[2]
SERVICES = ("ledger", "payments")
VERSIONS = ("a", "b")
FLAG = "flag"
"""A feature flag that some releases turn on, as scenarios call it."""
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
_LOOK_S = 0.02
_QUERY = re.compile(r'harm\{service="([^"]+)",version="([^"]+)"\}')
_JOINED = re.compile(rf'label_replace\(\(\n(.+)\n\), "{MARK}", "(\d+)", "", ""\)')
_CALLED = re.compile(r"webhook-id: (\S+)", re.IGNORECASE)
_LENGTH = re.compile(r"content-length: (\d+)", re.IGNORECASE)
_TEMPORAL = [
    *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"),
    *run_time_settings(DEVELOPMENT_SERVER),
]


class Evidence:
    """Stands in for Prometheus, and says of each version whether it does harm; yes to hooks."""

    def __init__(self) -> None:
        self.bad: set[tuple[str, str]] = set()
        self.port = 0
        self.called: dict[str, set[str]] = defaultdict(set)
        """Hooks: the ids of their calls, by service."""
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = _LENGTH.search(head)
                form = await reader.readexactly(int(length.group(1)) if length else 0)
                if called := _CALLED.search(head):
                    self.called[json.loads(form)["subject"]].add(called.group(1))
                body = json.dumps(self.answer(form.decode())).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                    + f"{len(body)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        writer.close()

    def answer(self, form: str) -> dict[str, Any]:
        """What it says to a request, which may join several queries."""
        query = str(httpx.QueryParams(form).get("query", ""))
        joined = [(promql, {MARK: mark}) for promql, mark in _JOINED.findall(query)]
        result = [
            {"metric": metric, "value": [0, "2" if found.groups() in self.bad else "0"]}
            for promql, metric in joined or [(query, {})]
            if (found := _QUERY.search(promql))
        ]
        return {"status": "success", "data": {"resultType": "vector", "result": result}}


class PublishedEvents:
    """What was published on `aviary.events`: the types by release, each event id once."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._ids: set[tuple[str, str]] = set()
        self.types: dict[str, list[str]] = defaultdict(list)
        self.links = Gathered()
        """All of them, copies too, as links of hash chains."""

    async def listen(self) -> None:
        """Read for ever."""
        consumer = make_consumer(self._broker.options, None)
        consumer.subscribe([ids.TOPIC_EVENTS])
        await consumer.start()
        try:
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self.links.take(record.value, f"@{record.offset}")
                        self._take(json.loads(record.value))
        finally:
            await consumer.stop()

    def _take(self, event: dict[str, Any]) -> None:
        key = (event["source"], event["id"])
        if key not in self._ids:
            self._ids.add(key)
            self.types[event["partitionkey"]].append(event["type"])


class Generations:
    """Reads the routes' file whenever it was replaced: one look for all slots."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._largest: dict[str, int] = {}
        self.shrunk: dict[str, list[str]] = defaultdict(list)
        """By service: generations that became smaller."""

    async def watch(self) -> None:
        """Look for ever."""
        before = None
        while True:
            now = self._path.stat()
            if (now.st_ino, now.st_mtime_ns) != before:
                before = (now.st_ino, now.st_mtime_ns)
                self._read(json.loads(self._path.read_text()))
            await asyncio.sleep(_LOOK_S)

    def _read(self, document: dict[str, Any]) -> None:
        config = document["resources"][0]
        for service in tags_in(config):
            route = route_in(config, service)
            if route is None:
                continue
            largest = self._largest.get(service, 0)
            if route.generation < largest:
                self.shrunk[service].append(f"generation {largest} became {route.generation}")
            self._largest[service] = max(largest, route.generation)


class Testbed:
    """The parts that all slots share."""

    __test__ = False  # for pytest: no tests are in it

    def __init__(self, folder: Path, slots: int) -> None:
        self.folder = folder
        self.evidence = Evidence()
        self._count = slots
        self.slots: list[Slot] = []

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Self]:
        """Start everything; end everything."""
        self.folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            instances = stack.enter_context(Instances())
            self.ports = {
                version: [instances.port(version, number) for number in range(2)]
                for version in VERSIONS
            }
            self.envoy = LiveEnvoy(envoy_program(), self.folder / "envoy", instances)
            stack.callback(self.envoy.stop)
            await asyncio.to_thread(self.envoy.start)
            self.broker = Broker(self.folder)
            stack.callback(self.broker.kill)
            await self.broker.start()
            await stack.enter_async_context(self.evidence)
            self.http = await stack.enter_async_context(httpx.AsyncClient())
            self.router = EnvoyRouter(
                self.envoy.fleet.directory, [self.envoy.admin_url], client=self.http
            )
            names = [f"slot-{number}" for number in range(self._count)]
            server = temporal_server(
                self.folder, names, "--db-filename", str(self.folder / "temporal.db"), *_TEMPORAL
            )
            self.address = await stack.enter_async_context(server)
            self.told = PublishedEvents(self.broker)
            self.generations = Generations(self.envoy.fleet.routes_path)
            for endless in (self.told.listen(), self.generations.watch()):
                stack.push_async_callback(_end, asyncio.create_task(endless))
            self._supervisor = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.supervisor"),
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            stack.push_async_callback(self._close_supervisor)
            self._asking = asyncio.Lock()
            for name in names:
                self.slots.append(await self._slot(name, instances))
            yield self

    async def _slot(self, name: str, instances: Instances) -> Slot:
        client = await Client.connect(
            self.address, namespace=name, data_converter=pydantic_data_converter
        )
        slot = Slot(self, name, client)
        for service in slot.services.values():
            for version in VERSIONS:
                port = await asyncio.to_thread(instances.port, version)
                await asyncio.to_thread(self.envoy.add_version, service, version, port)
            await self.router.register(service, VERSIONS[0])
        await slot.start_worker()
        return slot

    async def fork(self, order: dict[str, Any]) -> int:
        """A new worker's process id."""
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        async with self._asking:
            self._supervisor.stdin.write(json.dumps(order).encode() + b"\n")
            return int(await asyncio.wait_for(self._supervisor.stdout.readline(), 60))

    async def _close_supervisor(self) -> None:
        for slot in self.slots:
            slot.kill()
        self._supervisor.kill()
        await self._supervisor.wait()


class Slot:
    """A namespace, two services, a feature flag and one worker."""

    def __init__(self, testbed: Testbed, name: str, client: Client) -> None:
        self.testbed = testbed
        self.name = name
        self.client = client
        self.folder = testbed.folder / name
        self.folder.mkdir()
        self.services = {service: f"{service}-{name}" for service in SERVICES}
        self.flag = f"{FLAG}-{name}"
        self.flags = self.folder / "flags.json"
        self.order = self.folder / "order.json"
        self.calls = self.folder / "calls.txt"
        self.worker = 0

    async def start_worker(self) -> None:
        evidence = f"http://127.0.0.1:{self.testbed.evidence.port}"
        hook = {"kind": "http_hook", "url": evidence, "secret": SECRET}
        connections = self.folder / "connections.yaml"
        connections.write_text(json.dumps({"smoke-test": hook}))
        settings = {
            "connections_file": str(connections),
            "catalog": str(self.folder / "catalog.yaml"),
            "temporal_address": self.testbed.address,
            "temporal_namespace": self.name,
            "kafka_bootstrap": self.testbed.broker.options.bootstrap,
            "kafka_idempotent": False,
            "prometheus_url": evidence,
            # What ends well here must not need the drift check.
            "drift_every_s": 86_400,
        }
        routes = str(self.testbed.envoy.fleet.routes_path)
        order = {
            "settings": settings,
            "folder": str(self.folder),
            "routes": routes,
            "ports": self.testbed.ports,
        }
        self.worker = await self.testbed.fork(order)

    def new_flag(self) -> None:
        """Have a flag that is off for everybody, and that no release has had."""
        flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
        self.flags.write_text(json.dumps({"flags": {self.flag: flag}}))

    async def pools(self) -> None:
        """Give each version its pool again: what a pipeline would have put up for the next run."""
        for service in self.services.values():
            known = self.testbed.envoy.fleet.versions(service)
            for version in set(VERSIONS) - known:
                port = self.testbed.ports[version][0]
                await asyncio.to_thread(self.testbed.envoy.add_version, service, version, port)

    def begin_looking(self) -> None:
        """What was wrong on the platform is another release's from now on."""
        (self.folder / "wrong.txt").unlink(missing_ok=True)
        (self.folder / "began.txt").write_text(str(int(time.time() * 1000)))

    @property
    def wrong(self) -> list[str]:
        """What the platform saw that must never be."""
        file = self.folder / "wrong.txt"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def alive(self) -> bool:
        try:
            os.kill(self.worker, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.worker, signal.SIGKILL)

    async def routes(self) -> dict[str, Route]:
        """By the name in the scenarios."""
        return {
            name: await self.testbed.router.read(service) for name, service in self.services.items()
        }

    async def served(self, name: str, requests: int = 5) -> set[str]:
        """Versions that answer users."""
        async with Caller(self.testbed.envoy.port, self.services[name]) as caller:
            answers = [await caller.get(x_user_id=f"user-{n}") for n in range(requests)]
        return {answer.version if answer.status == 200 else "none" for answer in answers}


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
