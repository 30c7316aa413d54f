"""The embedded stack, with parts that die and come back while users go on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from adapters.kafka import KafkaOptions
from adapters.routers.envoy.router import EnvoyRouter
from aviary.local import debian, parts, stack
from aviary.local.http1 import fetch
from aviary.local.pipeline import Pipeline
from aviary.local.process import ChildSpec
from aviary.local.stack import DEVELOPMENT, Stack
from schemas.route import Route
from tests.chaos.outages.wire import Wire
from tests.durability.apache import Cluster
from tests.workflows.door import Door

RPS = 50.0
SPACE = "2m"
"""Of Envoy's folder, where it can be a file system of its own."""
_IN_ORDER_S = 60.0
_PATIENT = {"min": "170s", "max": "180s"}
_SLOW, _QUICK = {"min": "5s", "max": "180s"}, {"min": "2s", "max": "180s"}
BAKES = {
    "ledger": _SLOW,
    "payments": _SLOW,
    "recommendations": _QUICK,
    "catalogue": _PATIENT,
    "inventory": _QUICK,
    "cart": _PATIENT,
    "checkout": _QUICK,
}


class Site(Stack):
    """An embedded stack whose parts die.

    Args:
        folder: for everything.
        cluster: Apache Kafka to use, already running; the engine's own broker if None.
        engine: what releases run on.
    """

    def __init__(
        self, folder: Path, *, cluster: Cluster | None = None, engine: str = DEVELOPMENT
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.cluster = cluster
        self._wired = engine == DEVELOPMENT
        catalog = folder.with_name(f"{folder.name}.catalog.yaml")
        catalog.write_text(_catalog())
        cache = debian.cache_folder()
        super().__init__(folder, cache, catalog=catalog, rps=RPS, deploys=False, engine=engine)
        self.door = Door(self._free.take(), self._free.take())
        self.wire = Wire(self.door.port)
        self.mounted = ""
        """Why Envoy's folder is no file system of its own; empty if it is one."""
        self._dead: dict[str, ChildSpec] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._senders = [self.ports.alertmanager]
        if cluster is not None:
            self.pipeline = Pipeline(cluster.bootstrap)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as parts_up:
            folder = self.folder / "envoy"
            self.mounted = _mount(folder)
            if not self.mounted:
                parts_up.callback(subprocess.run, ["umount", str(folder)], check=True)
            await parts_up.enter_async_context(self.wire)
            await super().__aenter__()
            parts_up.push_async_exit(super().__aexit__)
            await self.start()
            self.client = await self.temporal()
            http = await parts_up.enter_async_context(httpx.AsyncClient())
            self.router = EnvoyRouter(folder, [self.addresses["envoy_admin"]], client=http)
            self._parts_up = parts_up.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._parts_up.aclose()

    @property
    def settings(self) -> dict[str, str]:
        """Those of the stack; with Apache Kafka, its address and what it can do."""
        told = super().settings
        if self.cluster is not None:
            told["AVIARY_KAFKA_BOOTSTRAP"] = self.cluster.bootstrap
            told["AVIARY_KAFKA_IDEMPOTENT"] = "true"
            told["AVIARY_TOPIC_REPLICATION"] = str(len(self.cluster.brokers))
        return told

    @property
    def kafka(self) -> KafkaOptions:
        """How to reach the broker."""
        return KafkaOptions(
            bootstrap=self.settings["AVIARY_KAFKA_BOOTSTRAP"],
            idempotent=False,
            partitions=parts.KAFKA_PARTITIONS,
            replication=int(self.settings.get("AVIARY_TOPIC_REPLICATION", "1")),
        )

    def aviary(self, name: str, *, off_s: float = 0) -> ChildSpec:
        """One of Aviary's processes; the worker reaches Temporal through the wire.

        Args:
            name: worker, bridge or webhook.
            off_s: by how much its clock is off, in seconds.
        """
        spec = parts.aviary(name, self.ports, self.settings)
        if name == "worker":
            env = {**spec.env, "AVIARY_TEMPORAL_ADDRESS": f"127.0.0.1:{self.wire.port}"}
            spec = replace(spec, env=env)
        if off_s:
            skewed = (sys.executable, "-m", "tests.chaos.outages.skewed", str(off_s), name)
            spec = replace(spec, argv=skewed)
        return spec

    async def strike(self, name: str) -> None:
        """SIGKILL for one part."""
        child = self.supervisor.children[name]
        child.signal(signal.SIGKILL)
        dead = await self.supervisor.deaths.get()
        if dead is not child:
            raise AssertionError(f"died by itself: {dead.epitaph()}")
        self._dead[name] = child.spec

    async def revive(self, name: str, spec: ChildSpec | None = None) -> None:
        """Start a part that was struck, and wait until it is ready."""
        before = self._dead.pop(name)
        await self.supervisor.start(spec or before)

    async def end(self, name: str) -> None:
        """End a part in order; `revive` starts it again."""
        spec = self.supervisor.children[name].spec
        await self.supervisor.stop(name, grace=_IN_ORDER_S)
        self._dead[name] = spec

    def freeze(self, name: str) -> None:
        """Let a part have no CPU at all, nor its children."""
        self._send_all(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let it go on, as if nothing had been."""
        self._send_all(name, signal.SIGCONT)

    def _send_all(self, name: str, number: signal.Signals) -> None:
        """To a part, and to children of it that are in sessions of their own."""
        child = self.supervisor.children[name]
        child.signal(number)
        below = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        for pid in map(int, below):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def starve(self, loops: int) -> None:
        """Have so many processes take all the CPU that they can get."""
        argv = (sys.executable, "-c", "while True: pass")
        for number in range(loops):
            await self.supervisor.start(ChildSpec(f"loop-{number}", argv))

    async def feed(self) -> None:
        """End them."""
        for name in [each for each in self.supervisor.children if each.startswith("loop-")]:
            await self.supervisor.stop(name, grace=0)

    def keep(self, name: str) -> None:
        """Start a part again each time that it ends with 1, as every supervisor does."""
        self._keeper = asyncio.create_task(self._keep(name))

    async def keep_no_more(self, after_s: float) -> None:
        """Leave it to itself again, once what goes on has come to an end."""
        await asyncio.sleep(after_s)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})

    async def _keep(self, name: str) -> None:
        while True:
            dead = await self.supervisor.deaths.get()
            if dead.name != name or dead.code != 1:
                raise AssertionError(f"died: {dead.epitaph()}")
            sys.stderr.write(f"{name} ended with 1, and is started again\n")
            child = await self.supervisor.start(replace(dead.spec, probe=None))
            child.ready = True

    async def double_alertmanager(self) -> None:
        """Another Alertmanager with the same configuration, which knows nothing of the first."""
        ports = replace(self.ports, alertmanager=self._free.take())
        folder = self.folder / "second"
        await asyncio.to_thread(folder.mkdir)
        await asyncio.to_thread(shutil.copy, self.folder / "alertmanager.yml", folder)
        tools = await debian.install(debian.cache_folder())
        spec = replace(parts.alertmanager(ports, tools, folder), name="alertmanager-2")
        await self.supervisor.start(spec)
        self._senders.append(ports.alertmanager)

    async def single_alertmanager(self) -> None:
        """Take the second one away."""
        await self.supervisor.stop("alertmanager-2")
        self._senders.pop()
        await asyncio.to_thread(shutil.rmtree, self.folder / "second")

    async def fire(self, service: str, version: str, *, ended: bool = False) -> None:
        """Have an alert on a version fire (or end), as Prometheus does: at each Alertmanager."""
        now = datetime.now(UTC)
        alert: dict[str, Any] = {
            "labels": {
                "alertname": "Outage",
                "severity": "critical",
                "service": service,
                "version": version,
            },
        }
        if ended:
            alert["endsAt"] = now.isoformat()
        else:
            alert["startsAt"] = now.isoformat()
            alert["endsAt"] = (now + timedelta(minutes=10)).isoformat()
        for port in self._senders:
            body = json.dumps([alert]).encode()
            headers = {"content-type": "application/json"}
            path = "/api/v2/alerts"
            answer = await fetch(port, path, method="POST", headers=headers, body=body)
            if answer.status != 200:
                raise OSError(f"Alertmanager answered {answer.status}: {answer.body!r}")

    async def route(self, service: str) -> Route:
        """The route in the router's own store."""
        return await self.router.read(service)

    def fill(self) -> None:
        """Leave not a byte in Envoy's folder."""
        with suppress(OSError), (self.folder / "envoy" / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))

    def empty(self) -> None:
        """Give the space back."""
        (self.folder / "envoy" / "filler").unlink()

    async def _start(self, spec: ChildSpec, say: Callable[[str], None]) -> None:
        if spec.name == "kafka" and self.cluster is not None:
            return
        if spec.name == "worker" and self._wired:
            await super()._start(self.door.spec(self.ports.temporal), say)
            spec = self.aviary("worker")
        await super()._start(spec, say)


def _mount(folder: Path) -> str:
    """Make the folder a small file system of its own; why not, where that is not allowed."""
    folder.mkdir()
    if os.geteuid() != 0:
        return "only root may mount a file system"
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def _catalog() -> str:
    document = yaml.safe_load(Path(stack.__file__).with_name("catalog.yaml").read_text())
    for service, bake in BAKES.items():
        document["strategies"][service] = {"steps": [50], "bake": bake, "soak": "1s"}
        entry = document["services"][service] or {}
        document["services"][service] = {**entry, "strategy": service}
    text: str = yaml.safe_dump(document)
    return text
