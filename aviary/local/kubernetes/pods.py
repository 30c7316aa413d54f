"""The node of a small cluster: every pod gets an address and an HTTP server, and says how it is.

What a scheduler and a kubelet do, as far as others can see it: pods are bound, started, probed,
restarted and ended, their states have the words of a kubelet, and their logs can be read. Started
inside the network namespace of the pods:

    python -m aviary.local.kubernetes.pods '{"kubeconfig": …, "node": …, "block": …, …}'

A server answers its pod's version (annotation `aviary.dev/version`, label `version`, or the tag of
its image). `/pod` answers its name. A container with a command is that program instead. With the
annotations below, a pod is in trouble while a file is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from adapters.errors import AdapterError
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.errors import Conflicted, Missing
from adapters.kubernetes.resources import EVENTS, NODES, PODS, Json
from aviary.local.kubernetes.container import Container
from aviary.local.kubernetes.http import Pages

TROUBLE: Final = "local.aviary.dev/trouble"
"""`image_missing`, `pull_failed`, `crash_loop`, `out_of_memory`, `probe_failed`, `unschedulable` or
`no_config`."""
WHILE: Final = "local.aviary.dev/while"
"""The file, as a path of this machine."""
NODE: Final = "node-1"
KUBELET_PORT: Final = 10_250
_AGAIN_S: Final = 0.05
_PORT: Final = 8080
_LOG_PATH: Final = ("containerLogs", "namespace", "pod", "container")
_LINES: Final = ("starting", "no database at db:5432")
"""What a pod in a crash loop has written."""


@dataclass
class _Pod:
    """A pod that runs here."""

    address: str
    container: str
    pages: list[Pages | Container] = field(default_factory=list)
    restarts: int = 0
    task: asyncio.Task[None] | None = None


class Node:
    """Runs all pods of a cluster.

    Args:
        client: of its API server.
        addresses: for pods; each is given once.
        host: the node's own address.
    """

    def __init__(self, client: KubernetesClient, addresses: Iterator[str], host: str) -> None:
        self._client, self._addresses, self._host = client, addresses, host
        self._pods: dict[str, _Pod] = {}
        self._probes = httpx.AsyncClient(verify=False, trust_env=False)  # noqa: S501 - plain HTTP

    async def join(self) -> None:
        """Be a node of the cluster, with room for all."""
        size = {"cpu": "64", "memory": "256Gi", "pods": "10000"}
        await self._client.apply(NODES, {"metadata": {"name": NODE}}, force=True)
        status = {
            "conditions": [{"type": "Ready", "status": "True", "reason": "Local", "message": ""}],
            "addresses": [{"type": "InternalIP", "address": self._host}],
            "capacity": size,
            "allocatable": size,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        }
        await self._client.patch(NODES, NODE, {"status": status}, part="status")

    async def run(self) -> None:
        """Take every pod that there is or comes, until cancelled."""
        while True:
            try:
                every, since = await self._client.list_all(PODS)
                for uid in self._pods.keys() - {one["metadata"]["uid"] for one in every}:
                    self._end(uid)
                for one in every:
                    self._take(one)
                async for kind, one in self._client.watch(PODS, since=since):
                    if kind == "DELETED":
                        self._end(one["metadata"]["uid"])
                    else:
                        self._take(one)
            except AdapterError as error:
                _say(f"watch: {error}")
                await asyncio.sleep(_AGAIN_S)

    def logs(self, namespace: str, name: str, container: str) -> str | None:
        """What a container has written; None where there is none."""
        whose = f"{namespace}/{name}/{container}"
        if not any(pod.container == whose for pod in self._pods.values()):
            return None
        return "".join(f"{line}\n" for line in _LINES)

    def _take(self, pod: Json) -> None:
        about = pod["metadata"]
        known = self._pods.get(about["uid"])
        if about.get("deletionTimestamp"):
            if known is not None and known.task is not None:
                known.task.cancel()
            self._start(about["uid"], known, lambda: self._ended(pod, known))
        elif known is None:
            container = (
                f"{about['namespace']}/{about['name']}/{pod['spec']['containers'][0]['name']}"
            )
            new = self._pods[about["uid"]] = _Pod(next(self._addresses), container)
            self._start(about["uid"], new, lambda: self._lives(pod, new))

    def _start(self, uid: str, known: _Pod | None, work: Callable[[], Awaitable[None]]) -> None:
        if known is None:
            known = self._pods[uid] = _Pod("", "")
        known.task = asyncio.ensure_future(_insist(work))

    def _end(self, uid: str) -> None:
        pod = self._pods.pop(uid, None)
        if pod is not None and pod.task is not None:
            pod.task.cancel()
        for pages in pod.pages if pod is not None else ():
            pages.close()

    async def _ended(self, pod: Json, known: _Pod | None) -> None:
        """SIGTERM, what is under way, and gone."""
        about = pod["metadata"]
        grace = float(about.get("deletionGracePeriodSeconds") or 0)
        await asyncio.sleep(min(_pre_stop(pod), grace))
        for pages in known.pages if known is not None else ():
            await pages.finish(grace)
        await self._client.delete(
            PODS, about["name"], about["namespace"], uid=about["uid"], grace_s=0
        )

    async def _lives(self, pod: Json, known: _Pod) -> None:
        """From being bound to being ready, with what goes wrong on the way."""
        trouble, flag = _trouble(pod)
        while trouble == "unschedulable" and flag.exists():
            await self._tell(pod, [_unscheduled()])
            await _gone(flag)
        if not pod["spec"].get("nodeName"):
            await self._bind(pod)
        waits = {"image_missing", "pull_failed", "no_config", "crash_loop", "out_of_memory"}
        while trouble in waits and flag.exists():
            known.restarts += trouble in {"crash_loop", "out_of_memory"}
            await self._tell(pod, [_scheduled()], known, _waiting(pod, trouble, known.restarts))
            await _gone(flag)
        await self._serve(pod, known)
        is_ready: bool | None = None
        while True:
            words = await self._probed(pod, known)
            if is_ready is not (not words):
                is_ready = not words
                state = {"running": {"startedAt": _now()}}
                await self._tell(pod, [_scheduled()], known, state, is_ready=is_ready)
                if words:
                    await self._event(pod, "Unhealthy", f"Readiness probe failed: {words}")
            if is_ready and trouble != "probe_failed":
                return
            await asyncio.sleep(_AGAIN_S)

    async def _bind(self, pod: Json) -> None:
        about = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        body = {"apiVersion": "v1", "kind": "Binding", "target": target}
        body["metadata"] = {"name": about["name"], "namespace": about["namespace"]}
        with contextlib.suppress(Conflicted):  # it is bound: an answer was lost
            await self._client.create(PODS, body, about["namespace"], "binding")

    async def _serve(self, pod: Json, known: _Pod) -> None:
        if known.pages:
            return
        if pod["spec"]["containers"][0].get("command"):
            known.pages.append(await Container.start(pod, known.address))
            return
        trouble, flag = _trouble(pod)

        def is_ill() -> bool:
            return trouble == "probe_failed" and flag.exists()

        ports = [
            int(port["containerPort"])
            for container in pod["spec"]["containers"]
            for port in container.get("ports") or ()
            if port.get("protocol", "TCP") == "TCP"
        ]
        for port in dict.fromkeys(ports or [_PORT]):
            pages = Pages(_version(pod), pod["metadata"]["name"], is_ill)
            await pages.listen(known.address, port)
            known.pages.append(pages)

    async def _probed(self, pod: Json, known: _Pod) -> str:
        """Why its readiness probe fails; empty: it does not."""
        for container in pod["spec"]["containers"]:
            get = (container.get("readinessProbe") or {}).get("httpGet")
            if get is None:
                continue
            ports = {one.get("name"): one["containerPort"] for one in container.get("ports") or ()}
            port, path = ports.get(get["port"], get["port"]), str(get.get("path") or "/")
            try:
                answer = await self._probes.get(
                    f"http://{known.address}:{port}{path}",
                    headers={"connection": "close"},
                    timeout=1,
                )
            except httpx.HTTPError as error:
                return f"Get http://{known.address}:{port}{path}: {type(error).__name__}"
            if not answer.is_success:
                return f"HTTP probe failed with statuscode: {answer.status_code}"
        return ""

    async def _tell(
        self,
        pod: Json,
        conditions: list[Json],
        known: _Pod | None = None,
        state: Json | None = None,
        *,
        is_ready: bool = False,
    ) -> None:
        """Write the status of a pod."""
        about = pod["metadata"]
        status: Json = {"phase": "Pending", "conditions": conditions}
        if known is not None and state is not None:
            is_running = "running" in state
            said = "True" if is_ready else "False"
            conditions += [_condition("Initialized", "True")]
            conditions += [_condition(kind, said) for kind in ("ContainersReady", "Ready")]
            last = state.pop("last", {})
            status |= {
                "phase": "Running" if is_running or known.restarts else "Pending",
                "hostIP": self._host,
                "podIP": known.address,
                "podIPs": [{"ip": known.address}],
                "startTime": _now(),
                "containerStatuses": [
                    {
                        "name": one["name"],
                        "image": one["image"],
                        "imageID": "",
                        "ready": is_ready,
                        "started": is_running,
                        "restartCount": known.restarts,
                        "state": state,
                        "lastState": last,
                    }
                    for one in pod["spec"]["containers"]
                ],
            }
        body = {"metadata": {"uid": about["uid"]}, "status": status}
        await self._client.patch(PODS, about["name"], body, about["namespace"], "status")

    async def _event(self, pod: Json, reason: str, message: str) -> None:
        about = pod["metadata"]
        now = _now()
        body = {
            "metadata": {"generateName": f"{about['name']}.", "namespace": about["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": about["name"],
                "namespace": about["namespace"],
                "uid": about["uid"],
            },
            "reason": reason,
            "message": message,
            "type": "Warning",
            "source": {"component": "kubelet"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._client.create(EVENTS, body, about["namespace"])


async def _insist(work: Callable[[], Awaitable[None]]) -> None:
    """As a kubelet does: again until it is done, or the pod has gone."""
    while True:
        try:
            return await work()
        except Missing:
            return None
        except AdapterError as error:
            _say(str(error))
            await asyncio.sleep(_AGAIN_S)


async def _gone(flag: Path) -> None:
    while flag.exists():  # noqa: ASYNC110, ASYNC240 - somebody else's file
        await asyncio.sleep(_AGAIN_S)


def _trouble(pod: Json) -> tuple[str, Path]:
    said = pod["metadata"].get("annotations") or {}
    return str(said.get(TROUBLE, "")), Path(str(said.get(WHILE, "/nowhere")))


def _version(pod: Json) -> str:
    about = pod["metadata"]
    said = (about.get("annotations") or {}).get("aviary.dev/version")
    image = str(pod["spec"]["containers"][0]["image"])
    return str(said or (about.get("labels") or {}).get("version") or image.rpartition(":")[2])


def _pre_stop(pod: Json) -> float:
    """Seconds that its containers sleep before they are told to end."""
    hooks = ((one.get("lifecycle") or {}).get("preStop") or {} for one in pod["spec"]["containers"])
    return max((float((hook.get("sleep") or {}).get("seconds", 0)) for hook in hooks), default=0.0)


def _waiting(pod: Json, trouble: str, restarts: int) -> Json:
    """The state of a container in trouble, in a kubelet's words."""
    image = str(pod["spec"]["containers"][0]["image"])
    if trouble in {"image_missing", "pull_failed"}:
        why = "not found" if trouble == "image_missing" else "unauthorized: authentication required"
        text = f'Back-off pulling image "{image}": ErrImagePull: failed to pull: {image}: {why}'
        return {"waiting": {"reason": "ImagePullBackOff", "message": text}}
    if trouble == "no_config":
        text = 'secret "checkout-db" not found'
        return {"waiting": {"reason": "CreateContainerConfigError", "message": text}}
    killed = trouble == "out_of_memory"
    last = {
        "exitCode": 137 if killed else 1,
        "reason": "OOMKilled" if killed else "Error",
        "startedAt": _now(),
        "finishedAt": _now(),
    }
    text = f"back-off 10s restarting failed container ({restarts})"
    return {
        "waiting": {"reason": "CrashLoopBackOff", "message": text},
        "last": {"terminated": last},
    }


def _scheduled() -> Json:
    return _condition("PodScheduled", "True")


def _unscheduled() -> Json:
    text = "0/1 nodes are available: 1 Insufficient memory."
    return _condition("PodScheduled", "False") | {"reason": "Unschedulable", "message": text}


def _condition(kind: str, status: str) -> Json:
    return {"type": kind, "status": status, "lastTransitionTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _addresses(block: int) -> Iterator[str]:
    """Of pods, each once: what still asks an old one must not reach a new one."""
    every = (f"10.{block}.{third}.{last}" for third in range(129, 255) for last in range(1, 255))
    return itertools.chain(every)


async def main(said: dict[str, Any]) -> None:
    """Run the node until it is killed."""
    client = KubernetesClient(
        KubernetesConnection(kubeconfig=Path(said["kubeconfig"]), at_once=32), manager="kubelet"
    )
    node = Node(client, _addresses(int(said["block"])), str(said["node"]))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(said["certificate"], said["key"])

    def logs(path: str) -> str | None:
        words = path.partition("?")[0].split("/")[1:]
        kind, *whose = words if len(words) == len(_LOG_PATH) else ("", "", "", "")
        return node.logs(*whose) if kind == _LOG_PATH[0] else None

    pages = Pages("", "", lambda: False, logs)
    await pages.listen(str(said["node"]), KUBELET_PORT, tls)
    await node.join()
    await asyncio.to_thread(Path(said["ready"]).touch)
    await node.run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(json.loads(sys.argv[1])))
