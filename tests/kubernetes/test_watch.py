"""`aviary watch kubernetes` on a real API server and a real broker."""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from adapters.kafka import KafkaEventLog, make_consumer
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    POD_TEMPLATES,
    PODS,
    Json,
    Resource,
)
from adapters.kubernetes.templates import TEMPLATE
from aviary.local.kubernetes.cluster import Cluster
from aviary.local.ports import FreePorts
from aviary.settings import Settings
from aviary.watching.run import run_watcher
from schemas import ids
from schemas.event_kinds import EventType
from schemas.events import CloudEvent
from tests.contract.kafka.parts import Broker
from tests.contract.kafka.servers import broker
from tests.kubernetes.accounts import account, pairs, rules_of
from tests.kubernetes.between import between

__all__ = ["broker"]

PATIENCE_S: Final = 90.0
CATALOG: Final = """\
version: 1
defaults: {router: {kind: memory}, metrics: [], deploy: {kind: kubernetes}}
services: {cart: {}, checkout: {depends_on: [cart]}, ledger: {}}
"""


def template(name: str, tag: str, **annotations: str) -> Json:
    said = {f"aviary.dev/{key}": text for key, text in annotations.items()}
    container = {"name": "app", "image": f"registry.example/shop/{name}:{tag}"}
    pods = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "metadata": {"name": name, "labels": {TEMPLATE: "true"}, "annotations": said},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": pods},
    }


class Watched:
    """A namespace with templates, watchers of it, and what they wrote."""

    def __init__(self, cluster: Cluster, namespace: str, broker: Broker, folder: Path) -> None:
        self.namespace, self.broker, self._folder = namespace, broker, folder
        self.cluster = cluster
        self.client = KubernetesClient(cluster.connection(namespace), manager="kubectl")
        (folder / "catalog.yaml").write_text(CATALOG)
        self.connect({"kubeconfig": str(cluster.kubeconfig)})

    def connect(self, said: Json) -> None:
        """Reach the API server so from now on."""
        written = yaml.safe_dump(
            {"shop": {"kind": "kubernetes", "namespace": self.namespace} | said}
        )
        (self._folder / "connections.yaml").write_text(written)

    def settings(self, **more: Any) -> Settings:
        return Settings(
            catalog=self._folder / "catalog.yaml",
            connections_file=self._folder / "connections.yaml",
            watch_connection="shop",
            watch_quiet_s=0.5,
            kafka_bootstrap=self.broker.options.bootstrap,
            kafka_idempotent=False,
            topic_partitions=4,
            metrics_port=FreePorts().take(),
            **more,
        )

    @asynccontextmanager
    async def running(self, *, waits: bool = True) -> AsyncIterator[Settings]:
        """A watcher, that is ready where it `waits`."""
        settings, stop = self.settings(), asyncio.Event()
        watcher = asyncio.create_task(run_watcher(settings, stop))
        try:
            async with httpx.AsyncClient(trust_env=False) as http:

                async def is_ready() -> bool:
                    assert not watcher.done(), watcher.result()
                    try:
                        url = f"http://127.0.0.1:{settings.metrics_port}/readyz"
                        return (await http.get(url, timeout=10)).status_code == 200
                    except httpx.TransportError:
                        return False

                if waits:
                    await until(is_ready, "the watcher is ready")
            yield settings
        finally:
            stop.set()
            await watcher

    async def apply(self, resource: Resource, thing: Json) -> Json:
        return await self.client.apply(resource, thing, self.namespace, force=True)

    async def get(self, name: str, resource: Resource = DEPLOYMENTS) -> Json:
        found = await self.client.get(resource, name, self.namespace)
        assert found is not None
        return found

    async def conditions(self, name: str) -> dict[str, Json]:
        said = (await self.get(name))["status"].get("conditions", ())
        return {one["type"]: one for one in said}

    async def has(self, name: str, state: str, resource: Resource = DEPLOYMENTS) -> None:
        async def is_so() -> bool:
            if resource is POD_TEMPLATES:
                about = (await self.get(name, resource))["metadata"]
                return bool(about.get("annotations", {}).get("aviary.dev/status") == state)
            now = await self.conditions(name)
            return "Released" in now and now["Released"]["reason"] == state

        await until(is_so, f"{name} is {state}")

    async def reasons(self, name: str) -> dict[str, str]:
        """The Events about a template: the reason of each, and its text."""
        found, _ = await self.client.list_all(
            EVENTS, self.namespace, fields=f"involvedObject.name={name}"
        )
        ours = [one for one in found if one["reportingComponent"] == "aviary-watch"]
        return {one["reason"]: one["message"] for one in ours}

    async def asked(self) -> list[Json]:
        """All deploy events that there are."""
        consumer = make_consumer(self.broker.options, None)
        consumer.subscribe([ids.TOPIC_DEPLOYS])
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found: list[Json] = []
            while len(found) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [json.loads(record.value) for record in records]
            return found
        finally:
            await consumer.stop()

    async def wait_asked(self, count: int) -> list[Json]:
        async def is_so() -> bool:
            return len(await self.asked()) >= count

        await until(is_so, f"{count} deploy events")
        return await self.asked()

    async def happened(self, kind: EventType, release: str, **data: Any) -> None:
        """Have an event of a release."""
        told = CloudEvent(
            type=kind,
            source=f"/aviary/release/{release}",
            id=f"release/{release}/{time.monotonic_ns()}",
            time=datetime.now(UTC),
            partitionkey=release,
            data={"release": release, **data},
        )
        async with self.broker.sender() as sender:
            await KafkaEventLog(sender).publish([told])


async def until(is_so: Callable[[], Awaitable[bool]], what: str) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not await is_so():
        assert time.monotonic() < ends, f"not so in time: {what}"
        await asyncio.sleep(0.1)


@pytest.fixture
async def watched(
    cluster: Cluster, namespace: str, broker: Broker, tmp_path: Path
) -> AsyncIterator[Watched]:
    made = Watched(cluster, namespace, broker, tmp_path)
    yield made
    await made.client.aclose()
    # A request that is cut off as it connects leaves its socket to the collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def test_a_merge_is_one_release_and_what_became_of_it_is_on_the_templates(
    watched: Watched,
) -> None:
    async with watched.running():
        for name in ("cart", "checkout"):
            await watched.apply(DEPLOYMENTS, template(name, "1.4.2", revision="f913b6cbf58aa5ae"))
        (event,) = await watched.wait_asked(1)
        release = event["data"]["release"]
        assert release.startswith("rev-f913b6cbf58a-")
        services = {one["service"]: one["image"] for one in event["data"]["services"]}
        assert services == {
            "cart": "registry.example/shop/cart:1.4.2",
            "checkout": "registry.example/shop/checkout:1.4.2",
        }
        await watched.has("cart", "Requested")
        await watched.happened(EventType.RELEASE_STARTED, release)
        await watched.has("checkout", "Progressing")
        why = {"service": "cart", "version": "1.4.2", "waits_for": "a person: approve the gate"}
        await watched.happened(EventType.CANARY_GATED, release, **why)
        await watched.has("cart", "Paused")
    # What comes while no watcher runs is heard by the next.
    cause = {"text": "verdict FAIL: errors 7 % against 0 %"}
    await watched.happened(EventType.RELEASE_ROLLEDBACK, release, cause=cause)
    async with watched.running(waits=False):
        await watched.has("cart", "RolledBack")
        await watched.has("checkout", "RolledBack")
        about = (await watched.get("cart"))["metadata"]
        assert about["generation"] <= 2  # what is written back is no new generation; 2: revision
        now = await watched.conditions("cart")
        # As kstatus reads them, and so Flux.
        assert now["Stalled"]["status"] == "True"
        assert now["Reconciling"]["status"] == "False"
        text = now["Released"]["message"]
        assert text.startswith(f"generation {about['generation']}: release {release}: went")

        async def is_told() -> bool:
            return "ReleaseRolledBack" in await watched.reasons("cart")

        await until(is_told, "the Event")
        reasons = await watched.reasons("cart")
        assert set(reasons) == {
            "ReleaseRequested",
            "ReleaseStarted",
            "CanaryGated",
            "ReleaseRolledBack",
        }
        assert reasons["ReleaseRolledBack"].endswith(
            "went back: verdict FAIL: errors 7 % against 0 %"
        )
    assert len(await watched.asked()) == 1
    pods, _ = await watched.client.list_all(PODS, watched.namespace)
    assert pods == []


async def test_hostile_templates_are_told_so_and_stop_nothing(watched: Watched) -> None:
    async with watched.running() as settings:
        await watched.apply(DEPLOYMENTS, template("check.out", "1"))
        await watched.apply(DEPLOYMENTS, template("ledger", "1", release="../../☃"))
        await watched.apply(DEPLOYMENTS, template("search", "1"))
        wrong = template("cart", "1")
        wrong["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/shop/cart"
        await watched.apply(DEPLOYMENTS, wrong)
        for name in ("check.out", "ledger", "search", "cart"):
            await watched.has(name, "Refused")

            async def is_told(name: str = name) -> bool:
                return "TemplateRefused" in await watched.reasons(name)

            await until(is_told, f"an Event on {name}")
        told = {
            name: (await watched.reasons(name))["TemplateRefused"]
            for name in ("check.out", "ledger", "search", "cart")
        }
        assert told["check.out"].startswith("metadata.name: got 'check.out', expected a service")
        assert "aviary.dev/release]: got '../../☃', expected the id" in told["ledger"]
        assert "search" in told["search"]
        assert "image: got 'registry.example/shop/cart', expected a tag" in told["cart"]
        # Mended, they go out; so does one of the other kind, all the while.
        good = template("checkout", "2")
        pods = {"metadata": good["metadata"], "template": good["spec"]["template"]}
        await watched.apply(POD_TEMPLATES, pods)
        await watched.apply(DEPLOYMENTS, template("cart", "1"))
        found = await watched.wait_asked(1)
        await watched.has("cart", "Requested")
        await watched.has("checkout", "Requested", POD_TEMPLATES)
        found = await watched.asked()
        services = [one["service"] for event in found for one in event["data"]["services"]]
        assert sorted(services) == ["cart", "checkout"]
        async with httpx.AsyncClient(trust_env=False) as http:
            url = f"http://127.0.0.1:{settings.metrics_port}/metrics"
            shown = (await http.get(url, timeout=30)).text
        assert "aviary_watch_waiting_templates 3.0" in shown


async def test_two_watchers_ask_for_one_release_and_nothing_is_lost_without_kafka(
    watched: Watched,
) -> None:
    async with watched.running(waits=False), watched.running(waits=False):
        await watched.apply(DEPLOYMENTS, template("cart", "1"))
        first = await watched.wait_asked(1)
        await watched.has("cart", "Requested")
        watched.broker.kill()
        await watched.apply(DEPLOYMENTS, template("cart", "2"))

        async def is_decided() -> bool:
            found = await watched.client.get(CONFIG_MAPS, "aviary-watch", watched.namespace)
            return bool(found and json.loads(found["data"]["journal"])["pending"])

        await until(is_decided, "the decision is in the journal")
        await watched.broker.start()  # it has forgotten what was before
        second = await watched.wait_asked(1)
        await watched.has("cart", "Requested")
    # Sent by either of them, or by both, it is the same event.
    for found in (first, second):
        assert len({json.dumps(one) for one in found}) == 1
    assert first[0]["id"] != second[0]["id"]


async def test_the_role_of_the_how_to_is_enough_and_nothing_in_it_is_too_much(
    watched: Watched, tmp_path: Path
) -> None:
    rules = rules_of("gitops")
    token = tmp_path / "token"
    token.write_text(await account(watched.client, watched.namespace, rules))
    context = ssl.create_default_context(cafile=str(watched.cluster.authority))
    async with between(watched.cluster.server, context) as proxy:
        watched.connect({"server": proxy.url, "token_file": str(token)})
        async with watched.running():
            good = template("checkout", "1")
            pods = {"metadata": good["metadata"], "template": good["spec"]["template"]}
            await watched.apply(POD_TEMPLATES, pods)
            for number in ("1", "2"):
                await watched.apply(DEPLOYMENTS, template("cart", number))
                await watched.has("cart", "Requested")
            await watched.has("checkout", "Requested", POD_TEMPLATES)

            async def is_told() -> bool:
                return "ReleaseRequested" in await watched.reasons("cart")

            await until(is_told, "the Event")
            # Of the same version: only the number in what is said of it changes.
            pods["template"]["metadata"]["annotations"] = {"aviary.dev/revision": "f913b6c"}
            await watched.apply(POD_TEMPLATES, pods)

            async def is_renumbered() -> bool:
                about = (await watched.get("checkout", POD_TEMPLATES))["metadata"]
                said = about.get("annotations", {}).get("aviary.dev/status-text", "")
                return bool(said.startswith(f"generation {about['generation']}:"))

            await until(is_renumbered, "the newer generation is told")
    assert {(one.resource, one.verb) for one in proxy.asked} == pairs(rules)
