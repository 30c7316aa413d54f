"""A cluster of one's own: etcd, an API server, controllers, and pods that answer.

Pods have addresses of a network namespace of their own, which this machine reaches, so that proxies
here send requests to them as they would to real ones. It needs root for that; when it is stopped,
nothing is left.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import secrets
import shutil
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

import yaml

from adapters.errors import AdapterError, Retryable
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.resources import DEFINITIONS, NAMESPACES
from aviary.local.docker import DockerError, Network, check_machine, run
from aviary.local.kubernetes.programs import KubernetesError, KubernetesTools
from aviary.local.ports import FreePorts
from aviary.local.process import ChildFailedError, ChildSpec, NotReady, Supervisor

ADMIN: Final = "admin"
"""The user who may do everything."""
_POLL_S: Final = 0.05
_READY_S: Final = 180.0
"""Seconds of an API server on a machine that has much else to do; four on one that has not."""
_DEFINED_S: Final = 180.0


class Cluster:
    """One cluster. Use it as an async context manager.

    Args:
        tools: the programs.
        folder: for its data and its logs, on a short path; one of its own if not given.
        ports: where the API server and etcd listen.
        fair: whether the API server has priority and fairness, as real ones have.
    """

    def __init__(
        self,
        tools: KubernetesTools,
        folder: Path | None = None,
        ports: FreePorts | None = None,
        *,
        fair: bool = False,
    ) -> None:
        self.tools = tools
        self.folder = folder or Path(tempfile.mkdtemp(prefix="aviary-k8s-"))
        self.network = Network.draw()
        self._ports = ports or FreePorts()
        self._fair = fair
        self._api, self._etcd, self._peer = (self._ports.take() for _ in range(3))
        self._stack = AsyncExitStack()
        self._token = secrets.token_hex(16)
        self.supervisor = Supervisor(self.folder)
        """Of its programs: stop one by its name, and start it again with `start`."""

    @property
    def server(self) -> str:
        """The address of the API server."""
        return f"https://{self.network.here}:{self._api}"

    @property
    def authority(self) -> Path:
        """Whom a client of the API server has to trust, PEM."""
        return self.folder / "pki/apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        """For whoever may do everything: clients, istiod, Traefik."""
        return self.folder / "kubeconfig"

    def connection(self, namespace: str | None = None, **more: Any) -> KubernetesConnection:
        """What reaches it, as the settings would say it."""
        return KubernetesConnection(kubeconfig=self.kubeconfig, namespace=namespace, **more)

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self._remove)
        try:
            check_machine()
            for name in ("pki", "etcd"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            await self.network.make()
            await run(*self._inside, "ip", "address", "add", self._first_pod, "dev", "lo")
            await self._write_files()
            await self._stack.enter_async_context(self.supervisor)
            for name in ("etcd", "apiserver", "controllers", "pods"):
                await self.start(name)
        except (DockerError, ChildFailedError, AdapterError) as error:
            await self._stack.aclose()
            raise KubernetesError(str(error)) from None
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def start(self, name: str) -> None:
        """Start `etcd`, `apiserver`, `controllers` or `pods`, and wait until it serves.

        Raises:
            ChildFailedError: it ended, or did not serve in time.
        """
        specs = {
            "etcd": self._etcd_spec,
            "apiserver": self._api_spec,
            "controllers": self._controllers_spec,
            "pods": self._pods_spec,
        }
        await self.supervisor.start(specs[name]())

    async def stop(self, name: str) -> None:
        """End one of them, as a crash does."""
        await self.supervisor.stop(name, grace=0)

    async def define(self, *names: str) -> None:
        """Have the CRDs of `gateway-api`, `istio` or both.

        Raises:
            KubernetesError: the API server does not serve them in time.
        """
        client = KubernetesClient(self.connection())
        try:
            every = [one for name in names for one in self.tools.definitions(name)]
            async with asyncio.timeout(_DEFINED_S):
                await asyncio.gather(*(_define(client, one) for one in every))
                waited = (one["metadata"]["name"] for one in every)
                for name in waited:
                    while not _is_served(await client.get(DEFINITIONS, name)):  # noqa: ASYNC110
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise KubernetesError(f"{', '.join(names)}: not served in time") from None
        finally:
            await client.aclose()

    async def make_namespace(self, name: str) -> None:
        """Have a namespace."""
        client = KubernetesClient(self.connection())
        try:
            await client.apply(NAMESPACES, {"metadata": {"name": name}})
        finally:
            await client.aclose()

    @property
    def _inside(self) -> tuple[str, ...]:
        return ("nsenter", f"--net=/run/netns/{self.network.name}")

    @property
    def _first_pod(self) -> str:
        """With its prefix: all addresses of it are the namespace's, and can be listened on."""
        return f"10.{self.network.block}.128.1/17"

    async def _write_files(self) -> None:
        who = f'{self._token},{ADMIN},1,"system:masters"\n'
        (self.folder / "tokens.csv").touch(mode=0o600)
        (self.folder / "tokens.csv").write_text(who)
        await run(self.tools.controllers, "key", self.folder / "pki/accounts.key")
        cluster = {"server": self.server, "certificate-authority": str(self.authority)}
        said = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": ADMIN, "user": {"token": self._token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": ADMIN}}],
            "current-context": "local",
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(said))

    def _etcd_spec(self) -> ChildSpec:
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        argv = (
            str(self.tools.etcd),
            "--data-dir", str(self.folder / "etcd"),
            "--unsafe-no-fsync",
            "--log-level", "warn",
            "--listen-client-urls", client,
            "--advertise-client-urls", client,
            "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}",
        )  # fmt: skip
        return ChildSpec("etcd", argv, probe=lambda: _answers(f"{client}/health"))

    def _api_spec(self) -> ChildSpec:
        pki = self.folder / "pki"
        argv = (
            str(self.tools.api_server),
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            f"--bind-address={self.network.here}",
            f"--advertise-address={self.network.here}",
            f"--secure-port={self._api}",
            f"--cert-dir={pki}",
            "--endpoint-reconciler-type=none",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki / 'accounts.key'}",
            f"--service-account-signing-key-file={pki / 'accounts.key'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            "--profiling=false",
            f"--enable-priority-and-fairness={str(self._fair).lower()}",
            "--v=1",
        )

        async def is_ready() -> None:
            await _answers(f"{self.server}/readyz", self._token)

        return ChildSpec("apiserver", argv, probe=is_ready, ready_within=_READY_S)

    def _controllers_spec(self) -> ChildSpec:
        return ChildSpec("controllers", (str(self.tools.controllers), str(self.kubeconfig)))

    def _pods_spec(self) -> ChildSpec:
        network, ready = self.network, self.folder / "pods.ready"
        ready.unlink(missing_ok=True)
        said = {
            "kubeconfig": str(self.kubeconfig),
            "node": network.there,
            "block": network.block,
            "certificate": str(self.authority),
            "key": str(self.folder / "pki/apiserver.key"),
            "ready": str(ready),
        }
        argv = (*self._inside, sys.executable, "-m", "aviary.local.kubernetes.pods")

        async def is_there() -> None:
            if not ready.exists():
                raise NotReady("no node yet")

        return ChildSpec("pods", (*argv, json.dumps(said)), probe=is_there, ready_within=_READY_S)

    async def _remove(self) -> None:
        await self.network.remove()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)


async def _define(client: KubernetesClient, one: dict[str, Any]) -> None:
    """Write a definition: the API server may cut connections as it takes others up."""
    while True:
        try:
            await client.apply(DEFINITIONS, one, force=True)
        except Retryable:
            await asyncio.sleep(_POLL_S)
        else:
            return


def _is_served(definition: dict[str, Any] | None) -> bool:
    said = (definition or {}).get("status", {}).get("conditions") or ()
    return any(one.get("type") == "Established" and one.get("status") == "True" for one in said)


async def _answers(url: str, token: str = "") -> None:
    await asyncio.to_thread(_asked, url, token)


def _asked(url: str, token: str) -> None:
    """One that leaves no socket behind, however it ends."""
    request = urllib.request.Request(url)  # noqa: S310 - an address of ours
    if token:
        request.add_header("authorization", f"Bearer {token}")
    anyone = ssl._create_unverified_context()  # noqa: S323, SLF001 - its certificate is being made
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anyone)
    )
    try:
        with opener.open(request, timeout=2) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        raise NotReady(f"HTTP {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(str(error) or type(error).__name__) from None
