"""The chart on a real API server: its schemas, its admission, and Helm's own upgrades."""

from __future__ import annotations

from typing import Final

import pytest
import yaml

from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.resources import DEPLOYMENTS, NAMESPACES
from aviary.local.kubernetes.clients import ClientTools
from aviary.local.kubernetes.cluster import Cluster
from tests.kubernetes.chart.rendering import CHART, Json, render, run
from tests.kubernetes.chart.test_chart import deployments, values

EVERYTHING: Final = values("watcher.enabled=true", "rbac.istio=true", "catalog.content.version=1")


@pytest.fixture
def admitted(cluster: Cluster, clients: ClientTools) -> Admitted:
    return Admitted(cluster, clients)


class Admitted:
    """Asks the API server what it would say."""

    def __init__(self, cluster: Cluster, clients: ClientTools) -> None:
        self._cluster, self._clients = cluster, clients

    def refuses(self, *things: Json) -> str:
        """Its words on objects that it does not take; empty where it takes all."""
        done = run(
            self._clients.kubectl,
            *("--kubeconfig", self._cluster.kubeconfig),
            *("apply", "--server-side", "--dry-run=server", "-f", "-"),
            text=yaml.safe_dump_all(things),
        )
        return "" if done.returncode == 0 else done.stderr

    def pod_of(self, deployment: Json) -> Json:
        """A pod as its ReplicaSet would make it."""
        about = deployment["metadata"]
        template = deployment["spec"]["template"]
        named = {**template["metadata"], "name": about["name"], "namespace": about["namespace"]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": template["spec"]}


def test_the_api_server_takes_every_object(
    admitted: Admitted, clients: ClientTools, namespace: str
) -> None:
    things = render(clients, *EVERYTHING, namespace=namespace)
    assert admitted.refuses(*things) == ""
    things[0]["spec" if "spec" in things[0] else "metadata"]["colour"] = "red"
    assert "colour" in admitted.refuses(things[0])


async def test_every_pod_may_run_where_only_restricted_ones_may(
    cluster: Cluster, admitted: Admitted, clients: ClientTools, namespace: str
) -> None:
    client = KubernetesClient(cluster.connection())
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    await client.patch(NAMESPACES, namespace, {"metadata": {"labels": label}}, None)
    await client.aclose()
    found = deployments(render(clients, *EVERYTHING, namespace=namespace))
    pods = [admitted.pod_of(one) for one in found.values()]
    assert admitted.refuses(*pods) == ""
    del pods[0]["spec"]["securityContext"]["runAsNonRoot"]
    assert "runAsNonRoot" in admitted.refuses(pods[0])


async def test_an_upgrade_leaves_workers_of_the_version_before(
    cluster: Cluster, clients: ClientTools, namespace: str
) -> None:
    """Releases that began on them end on them; bridge and webhook are replaced."""
    client = KubernetesClient(cluster.connection(namespace))

    def helm(*words: str) -> None:
        where = ("--kubeconfig", cluster.kubeconfig, "--namespace", namespace)
        done = run(clients.helm, *words, *where)
        assert done.returncode == 0, done.stderr

    async def images() -> dict[str, str]:
        found, _ = await client.list_all(DEPLOYMENTS, namespace)
        return {
            one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["image"]
            for one in found
        }

    async def worker() -> Json:
        found = await client.get(DEPLOYMENTS, "aviary-worker-1-0-0", namespace)
        assert found is not None
        return {"uid": found["metadata"]["uid"], "spec": found["spec"]}

    few = values("worker.replicas=1", "bridge.replicas=1", "webhook.replicas=1")
    helm("install", "aviary", str(CHART), *few, *values("image.tag=1.0.0"))
    first = await worker()
    helm("upgrade", "aviary", str(CHART), *few, *values("image.tag=1.1.0"))
    assert await images() == {
        "aviary-worker-1-0-0": "aviary:1.0.0",
        "aviary-worker-1-1-0": "aviary:1.1.0",
        "aviary-bridge": "aviary:1.1.0",
        "aviary-webhook": "aviary:1.1.0",
    }
    assert await worker() == first
    helm("rollback", "aviary", "1")
    assert await worker() == first
    assert (await images())["aviary-bridge"] == "aviary:1.0.0"
    assert "aviary-worker-1-1-0" in await images(), "what began on it ends on it"
    helm("uninstall", "aviary")
    assert set(await images()) == {"aviary-worker-1-0-0", "aviary-worker-1-1-0"}
    await client.aclose()
