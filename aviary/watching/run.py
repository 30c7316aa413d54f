"""The watcher as a process: connects, watches, and answers for its health."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from typing import Final

from adapters.errors import Retryable
from adapters.kafka import Sender
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.resources import DEPLOYMENTS, POD_TEMPLATES
from aviary.builds.identity import named_build
from aviary.catalog_watch import CatalogWatch
from aviary.connect import kafka_options, retry_until_available, unless
from aviary.connections import read_connections
from aviary.http import add_health, listen, make_app, serve
from aviary.settings import Settings, SettingsError
from aviary.telemetry.readiness import told
from aviary.telemetry.registry import new_registry
from aviary.watching.following import Following
from aviary.watching.journal import JournalStore
from aviary.watching.listening import Listening
from aviary.watching.metrics import WatchMetrics
from aviary.watching.reporting import MANAGER, Reporter
from aviary.watching.watcher import Watcher, Watching
from schemas import ids

_GROUP: Final = "aviary-watch"


def connection_of(settings: Settings) -> KubernetesConnection:
    """Where templates are: the connection that the settings name, or the pod's own cluster.

    Raises:
        SettingsError: there is none of that name, or it is of another kind.
    """
    name = settings.watch_connection
    if name is None:
        return KubernetesConnection()
    found = read_connections(settings).get(name)
    if not isinstance(found, KubernetesConnection):
        raise SettingsError(
            f"AVIARY_WATCH_CONNECTION: {name!r}: expected a connection of kind kubernetes in "
            "AVIARY_CONNECTIONS_FILE"
        )
    return found


class _Process:
    """The parts of a running watcher."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings and the catalog; connects to nothing yet."""
        self.registry = new_registry("watch")
        self._settings = settings
        self._client = KubernetesClient(connection_of(settings), manager=MANAGER)
        self._catalog = CatalogWatch(settings.catalog, self.registry, read_connections(settings))
        self._metrics = WatchMetrics(self.registry)
        self._sender = Sender(kafka_options(settings), (ids.TOPIC_DEPLOYS, ids.TOPIC_EVENTS))
        self._watcher: Watcher | None = None
        self._followed: tuple[Following, ...] = ()
        self._listening: Listening | None = None

    async def ready(self) -> None:
        """Raise `Retryable` with the reason while changes are not seen, or not sent."""
        watcher, listening = self._watcher, self._listening
        if watcher is None or listening is None:
            raise Retryable("Kubernetes: not connected yet")
        troubles = [one.trouble for one in self._followed] + [watcher.trouble, listening.trouble]
        if trouble := next((one for one in troubles if one), ""):
            raise Retryable(trouble)
        await self._sender.check()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop`."""
        self._sender.start()
        try:
            finding = retry_until_available("kubernetes", self._client.namespace)
            namespace = await unless(stop, finding)
            if namespace is not None:
                await unless(stop, self._watch(namespace))
        finally:
            await self._sender.close()
            await self._client.aclose()

    async def _watch(self, namespace: str) -> None:
        settings = self._settings
        reporter = Reporter(self._client, namespace)
        store = JournalStore(self._client, namespace)
        options = Watching(
            namespace=namespace,
            quiet_s=settings.watch_quiet_s,
            longest_s=settings.watch_longest_s,
            revisions=settings.watch_revisions,
        )
        watcher = Watcher(
            options,
            store,
            self._sender,
            reporter,
            self._catalog.newest,
            metrics=self._metrics,
            clock=time.monotonic,
            now=lambda: datetime.now(UTC),
        )

        async def group() -> str:
            # No two clusters share one, also where their namespaces are called the same.
            return f"{_GROUP}-{namespace}-{(await watcher.journal()).uid}"

        self._listening = Listening(kafka_options(settings), group, watcher.heard)
        self._followed = tuple(
            Following(
                self._client,
                resource,
                namespace,
                seen=watcher.seen,
                gone=watcher.gone,
                listed=partial(self._listed, watcher, resource.kind),
            )
            for resource in (DEPLOYMENTS, POD_TEMPLATES)
        )
        self._watcher = watcher
        async with asyncio.TaskGroup() as tasks:
            for running in (watcher.run, reporter.run, self._listening.run):
                tasks.create_task(running())
            for each in self._followed:
                tasks.create_task(each.run())

    def _listed(self, watcher: Watcher, kind: str, uids: frozenset[str]) -> None:
        self._metrics.lists.labels(kind).inc()
        watcher.listed(kind, uids)


async def run_watcher(settings: Settings, stop: asyncio.Event) -> None:
    """Run a watcher until `stop` is set.

    It waits for the API server and Kafka at start and whenever they are away. Health and metrics
    are on `metrics_host`:`metrics_port`.

    Raises:
        CatalogError: the catalog is not valid at start.
        SettingsError: there is no such connection.
        OSError: the address for health and metrics is taken.
    """
    process = _Process(settings)
    app = make_app("Aviary watcher", docs=settings.http_docs)
    health = add_health(app, process.ready, process.registry, build=named_build(settings))
    taken = listen(settings.metrics_host, settings.metrics_port)
    over = asyncio.Event()
    serving = asyncio.create_task(serve(health, taken, over, name="watch"))
    try:
        async with told(process.ready, process.registry, "watch"):
            await process.run(stop)
    finally:
        over.set()
        await serving
