"""Traefik as a Gateway of the stack's cluster: routes are HTTPRoutes, its API shows the split."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from adapters.routers.envoy.names import pool_name
from aviary.local import configs, parts, probes
from aviary.local.fronts.front import ALL, Instances, PoolCount
from aviary.local.http1 import fetch
from aviary.local.ports import LOOPBACK
from aviary.local.process import ChildSpec

NAMESPACE: Final = "shop"
CONNECTION: Final = "shop"
GATEWAY: Final = "edge"
CLASS: Final = "traefik"
CONTROLLER: Final = "traefik.io/gateway-controller"
_ANSWERS: Final = "traefik_service_requests_total"
_BACKEND: Final = rf".+-svc-{NAMESPACE}-(.+)-[0-9]+@kubernetesgateway"


def _of_version(more: str = "") -> str:
    """Answers of each version's Service, whichever rule sent them there."""
    counted = f'{_ANSWERS}{{service=~"{_BACKEND}"{more}}}#'
    return f'sum by (backend) (label_replace({counted}, "backend", "$1", "service", "{_BACKEND}"))'


_RULE: Final = configs.Rule(
    done=_of_version(),
    good=_of_version(',code=~"2.."'),
    service='{{ reReplaceAll "-[0-9-]+$" "" $labels.backend }}',
    version='{{ reReplaceAll "-" "." (reReplaceAll "^[a-z]+-" "" $labels.backend) }}',
)
_SAMPLE: Final = re.compile(
    rf'^{_ANSWERS}{{code="(\d)\d\d",.*service="{_BACKEND}"}} (\S+)$', re.MULTILINE
)


class GatewayFront:
    """Traefik, which follows the cluster.

    Args:
        ports: the stack's; those of Envoy are Traefik's.
        inside: the port that pods reach it on.
    """

    title: Final = "Traefik"

    def __init__(self, ports: parts.Ports, inside: int) -> None:
        self._ports, self.inside = ports, inside
        self._kubeconfig: Path | None = None
        self._here = LOOPBACK

    def at(self, kubeconfig: Path, here: str) -> None:
        """Follow a cluster.

        Args:
            kubeconfig: of it.
            here: the address by which pods reach this machine.
        """
        self._kubeconfig, self._here = kubeconfig, here

    @property
    def addresses(self) -> Mapping[str, str]:
        """Its API."""
        return {"traefik_api": f"http://{LOOPBACK}:{self._ports.envoy_admin}"}

    def listeners(self) -> list[dict[str, Any]]:
        """Of the Gateway: for users, and for pods."""
        ports = {"users": self._ports.envoy, "pods": self.inside}
        return [{"name": name, "port": port, "protocol": "HTTP"} for name, port in ports.items()]

    def catalog(self) -> dict[str, Any]:
        """The cluster, and its API."""
        api = [*self.addresses.values()]
        return {"kind": "gateway_api", "connection": CONNECTION, "traefik": api}

    def scrape(self) -> dict[str, Any]:
        """What it counts of Services."""
        target = f"{LOOPBACK}:{self._ports.envoy_admin}"
        return {"job_name": "traefik", "static_configs": [{"targets": [target]}]}

    def alert_rules(self) -> str:
        """From the counters of Services."""
        return configs.alert_rules(_RULE)

    async def prepare(self, _: Instances) -> Sequence[ChildSpec]:
        """The process; where instances are, the cluster tells it."""
        argv = (
            str(parts.traefik_program()),
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
            f"--entryPoints.users.address={LOOPBACK}:{self._ports.envoy}",
            f"--entryPoints.pods.address={self._here}:{self.inside}",
            f"--entryPoints.traefik.address={LOOPBACK}:{self._ports.envoy_admin}",
            "--api.insecure=true",
            "--metrics.prometheus.addServicesLabels=true",
            "--metrics.prometheus.buckets=0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5",
            "--providers.kubernetesGateway=true",
            "--providers.providersThrottleDuration=10ms",
            "--log.level=ERROR",
        )
        probe = probes.http(self._ports.envoy_admin, "/api/overview")
        env = {"KUBECONFIG": str(self._kubeconfig)}
        return (ChildSpec("traefik", argv, probe=probe, env=env),)

    async def begin(self, instances: Instances) -> None:
        """Nothing: the first release gives each service its first route."""

    async def put_up(self, service: str, version: str, port: int) -> None:
        """Nothing: the cluster tells it."""

    async def take_down(self, service: str, version: str) -> None:
        """Nothing: the cluster tells it."""

    async def routed(self, service: str) -> dict[str, int]:
        """As its API shows the split of those who ask for no version."""
        raw = json.loads((await fetch(self._ports.envoy_admin, "/api/rawdata")).body)
        prefix = f"httproute-{NAMESPACE}-{service}-gw-"
        for name, router in (raw.get("routers") or {}).items():
            if not name.startswith(prefix) or "Header" in router["rule"]:
                continue
            found = raw["services"][f"{router['service']}@kubernetesgateway"]
            arms = found.get("weighted", {}).get("services", [])
            all_ = sum(one.get("weight", 1) for one in arms) or 1
            return {
                _pool(one["name"].rpartition(f"-svc-{NAMESPACE}-")[2].rpartition("-")[0]): round(
                    ALL * one.get("weight", 1) / all_
                )
                for one in arms
            }
        return {}

    async def counts(self) -> Mapping[str, PoolCount]:
        """Its counters of Services."""
        response = await fetch(self._ports.envoy_admin, "/metrics")
        found: defaultdict[str, PoolCount] = defaultdict(lambda: PoolCount(0, 0))
        for class_, backend, count in _SAMPLE.findall(response.body.decode()):
            name, more = _pool(backend), int(float(count))
            failed = more if class_ == "5" else 0
            found[name] = PoolCount(found[name].completed + more, found[name].failed + failed)
        return found


def _pool(backend: str) -> str:
    """The pool of a Service such as `checkout-1-4-2`."""
    service, _, version = backend.partition("-")
    return pool_name(service, version.replace("-", "."))
