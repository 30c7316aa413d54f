"""The embedded stack: everything that a release needs, as real processes on one machine.

    async with Stack(folder, cache) as stack:
        await stack.start()
        await stack.deploy("checkout", "1.4.2")
        await stack.pipeline.request("shop-42", {"checkout": "1.4.2"})

The stack plays the pipeline: it puts versions up and takes them down. Shifting traffic to them is
Aviary's alone.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import httpx
import yaml
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client as TemporalClient

from adapters.packs import BUILT_IN
from aviary.converter import DATA_CONVERTER
from aviary.kinds import ROUTERS
from aviary.local import configs, debian, parts
from aviary.local.fronts.envoy import EnvoyFront
from aviary.local.fronts.front import Front
from aviary.local.fronts.haproxy import HaproxyFront
from aviary.local.fronts.nginx import NginxFront
from aviary.local.fronts.traefik import TraefikFront
from aviary.local.http1 import Client, Response, fetch
from aviary.local.pipeline import Pipeline
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, Supervisor
from aviary.local.shop import DEPENDENCIES, Fault

FIRST_VERSION: Final = "1.0.0"
DEFAULT_RPS: Final = 100.0
_CATALOG: Final = Path(__file__).with_name("catalog.yaml")
ENVOY: Final = "envoy"
FRONTS: Final[Mapping[str, Callable[[Path, parts.Ports], Front]]] = {
    ENVOY: EnvoyFront,
    "haproxy": HaproxyFront,
    "nginx": NginxFront,
    "traefik": TraefikFront,
}
"""The routers that users can come through, by name."""

Say = Callable[[str], None]


class Stack:
    """One embedded stack below one folder. Use it as an async context manager.

    Attributes:
        deployer: what puts versions up when an event asks for them, for people; empty where the
            pipeline does.

    Args:
        folder: for configuration, data and logs; a new one for each run.
        cache: where Debian's programs are kept between runs.
        catalog: the document to use; its router section is filled in. The shop's own if None.
        rps: users' requests per second.
        router: what users come through.
    """

    deployer = ""

    def __init__(
        self,
        folder: Path,
        cache: Path,
        *,
        catalog: Path | None = None,
        rps: float = DEFAULT_RPS,
        router: str = ENVOY,
    ) -> None:
        self.folder = folder.absolute()
        self.supervisor = Supervisor(self.folder)
        self._cache = cache
        self._catalog = catalog or _CATALOG
        self._rps = rps
        self._free = FreePorts()
        self.ports = parts.Ports.choose(self._free)
        self._token, self._deploy_token = (secrets.token_urlsafe(24) for _ in range(2))
        self._instances: dict[tuple[str, str], int] = {}
        self.front: Front = FRONTS[router](self.folder, self.ports)
        self.pipeline = Pipeline(self.addresses["kafka"])

    async def __aenter__(self) -> Self:
        await self.supervisor.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self.pipeline.close()
            # First what speaks to the others, so that it can end in order.
            for names in (("load",), ("bridge", "webhook", "worker")):
                await asyncio.gather(*(self.supervisor.stop(name) for name in names))
        finally:
            await self.supervisor.__aexit__(*exc)

    @property
    def addresses(self) -> dict[str, str]:
        """Where everything listens, by name."""
        return {**self.ports.addresses(), **self.front.addresses}

    @property
    def settings(self) -> dict[str, str]:
        """The environment under which Aviary's command line works on this stack."""
        return parts.settings(self.ports, self.folder, self._token, self._deploy_token)

    @property
    def versions(self) -> Sequence[tuple[str, str]]:
        """Service and version of everything of the shop that was put up and not taken down."""
        return sorted(self._instances)

    async def start(self, say: Say = lambda _: None) -> None:
        """Start every part and wait until each is ready.

        Raises:
            debian.DebianError: Prometheus or Alertmanager could not be had.
            ChildFailedError: a part did not come up; the text has the end of its log.
        """
        try:
            await self._start_all(say)
        except ExceptionGroup as group:
            raise _first(group) from group

    async def build(self, versions: Mapping[str, str], faults: Mapping[str, Fault]) -> None:
        """What a pipeline does before it asks for a release of these versions, by service.

        Args:
            versions: by service.
            faults: what is wrong with some of them.

        Raises:
            ChildFailedError, ValueError: as `deploy`.
        """
        for service, version in versions.items():
            await self.deploy(service, version, faults.get(service))

    async def clear(self, versions: Mapping[str, str]) -> bool:
        """See to it that versions that no route names go, and say whether they have."""
        for service, version in versions.items():
            await self.retire(service, version)
        return True

    async def deploy(self, service: str, version: str, fault: Fault | None = None) -> None:
        """Put a version up, without traffic, and wait until the router can send requests there.

        Raises:
            ChildFailedError: it did not start, or the router did not see it in time.
            ValueError: it is up already.
        """
        if (service, version) in self._instances:
            raise ValueError(f"{service} {version}: is up already")
        port = self._free.take()
        await self.supervisor.start(self._shop(service, version, port, fault or Fault()))
        self._instances[service, version] = port
        await self.front.put_up(service, version, port)

    async def retire(self, service: str, version: str) -> None:
        """Take a version down that no route names any more.

        Raises:
            adapters.errors.Terminal: a route still names it.
        """
        await self.front.take_down(service, version)
        self._instances.pop((service, version), None)
        await self.supervisor.stop(f"shop/{service}/{version}")

    async def set_fault(self, service: str, version: str, fault: Fault) -> float:
        """Switch what is wrong with a running version; returns when, as seconds since 1970.

        Raises:
            KeyError: no such version is up.
            OSError: it does not answer (a crash is meant not to).
        """
        port = self._instances[service, version]
        at = time.time()
        try:
            response = await fetch(
                port, "/fault", method="POST", body=json.dumps(asdict(fault)).encode()
            )
        except OSError:
            if not fault.crash:
                raise
            return at
        if response.status != httpx.codes.OK:
            raise OSError(f"{service} {version}: {response.body.decode()}")
        return at

    async def temporal(self) -> TemporalClient:
        """A Temporal client of this stack, with the data converter that Aviary uses."""
        return await TemporalClient.connect(
            self.addresses["temporal"],
            namespace=parts.NAMESPACE,
            data_converter=DATA_CONVERTER,
        )

    async def load(self) -> dict[str, Any]:
        """What the load has seen: `users`, and `versions` by `service/version`."""
        return await self._ask_load("GET", "/stats")

    async def reset_load(self) -> None:
        """Begin the load's counts again."""
        await self._ask_load("POST", "/reset")

    async def set_rate(self, rps: float) -> None:
        """Change the users' requests per second."""
        await self._ask_load("POST", "/rate", json.dumps({"rps": rps}).encode())

    async def visit(self, service: str, headers: Mapping[str, str] | None = None) -> Response:
        """One request to a service through the router."""
        client = Client(LOOPBACK, self.ports.envoy)
        try:
            return await client.request("GET", "/", headers={**(headers or {}), "host": service})
        finally:
            client.close()

    async def kill(self, name: str) -> None:
        """End one part with SIGKILL, as a fault would."""
        await self.supervisor.stop(name, grace=0.0)

    async def restart(self, name: str) -> None:
        """Start one of worker, bridge and webhook (again)."""
        await self.supervisor.start(parts.aviary(name, self.ports, self.settings))

    # Starting.

    async def _start_all(self, say: Say) -> None:
        tools = await debian.install(self._cache)
        await asyncio.to_thread(self._write_configuration)
        router = await self._prepare_shop()
        ports, folder = self.ports, self.folder
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_aviary(say))
            group.create_task(self._start_shop(router, say))
            group.create_task(self._start(parts.prometheus(ports, tools, folder), say))
            group.create_task(self._start(parts.alertmanager(ports, tools, folder), say))
        await self._start(parts.load(ports, self._rps), say)

    async def _start(self, spec: ChildSpec, say: Say) -> None:
        began = time.monotonic()
        await self.supervisor.start(spec)
        say(f"{spec.name}: ready after {time.monotonic() - began:.1f} s")

    async def _start_aviary(self, say: Say) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start(parts.temporal(self.ports, self.folder), say))
            group.create_task(self._start(parts.kafka(self.ports), say))
        await self.pipeline.start()
        await self._keep_histories()
        async with asyncio.TaskGroup() as group:
            for name in ("worker", "bridge", "webhook"):
                group.create_task(self._start(parts.aviary(name, self.ports, self.settings), say))

    async def _prepare_shop(self) -> ChildSpec:
        """Choose where the first versions are; the router, which is told as it starts."""
        for service in DEPENDENCIES:
            self._instances[service, FIRST_VERSION] = self._free.take()
        return await self.front.prepare(self._instances)

    async def _start_shop(self, router: ChildSpec, say: Say) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start(router, say))
            for (service, version), port in self._instances.items():
                spec = self._shop(service, version, port, Fault())
                group.create_task(self.supervisor.start(spec))
        await self.front.begin(self._instances)
        say(f"shop: {len(self._instances)} services ready")

    async def _keep_histories(self) -> None:
        """Remember finished releases for a week: a repeated deploy event must find its release."""
        config = NamespaceConfig()
        config.workflow_execution_retention_ttl.FromSeconds(7 * 24 * 3600)
        client = await self.temporal()
        await client.workflow_service.update_namespace(
            UpdateNamespaceRequest(namespace=parts.NAMESPACE, config=config)
        )

    def _shop(self, service: str, version: str, port: int, fault: Fault) -> ChildSpec:
        return parts.shop(service, version, port, self.ports.envoy, json.dumps(asdict(fault)))

    # Files.

    def _write_configuration(self) -> None:
        folder, ports = self.folder, self.ports
        for name in ("prometheus", "alertmanager"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        token = folder / "webhook.token"
        token.touch(mode=0o600)
        token.write_text(self._token)
        targets = {
            "alertmanager": f"{LOOPBACK}:{ports.alertmanager}",
            "worker": f"{LOOPBACK}:{ports.worker_metrics}",
            "bridge": f"{LOOPBACK}:{ports.bridge_metrics}",
            "webhook": f"{LOOPBACK}:{ports.webhook}",
        }
        rules = folder / "rules.yml"
        rules.write_text(self.front.alert_rules())
        (folder / "prometheus.yml").write_text(
            configs.prometheus(
                targets, self.front.scrape(), f"{LOOPBACK}:{ports.alertmanager}", rules
            )
        )
        (folder / "alertmanager.yml").write_text(
            configs.alertmanager(self.addresses["webhook"], token)
        )
        (folder / "catalog.yaml").write_text(self._filled_catalog())
        (folder / "addresses.json").write_text(json.dumps(self.addresses, indent=1))

    def _filled_catalog(self) -> str:
        document = yaml.safe_load(self._catalog.read_text())
        self._fill(document)
        text: str = yaml.safe_dump(document, sort_keys=False)
        return text

    def _fill(self, document: dict[str, Any]) -> None:
        """Write into a catalog what only this stack knows."""
        defaults = document.setdefault("defaults", {})
        defaults["router"] = self.front.catalog()
        # Where a router has no histogram, what is only shown is what it has.
        (pack,) = [kind.pack for kind in ROUTERS if kind.name == defaults["router"]["kind"]]
        queries = BUILT_IN.load(pack).queries if isinstance(pack, str) else {}
        for metric in defaults.get("metrics") or ():
            query = queries.get(metric["name"])
            if metric.get("dry_run") and query is not None:
                metric["kind"] = query.kind

    async def _ask_load(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        response = await fetch(self.ports.load, path, method=method, body=body)
        document: dict[str, Any] = json.loads(response.body)
        return document


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The first plain error of a group: what failed first; the rest was cancelled for it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
