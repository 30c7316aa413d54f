"""The demo on Kubernetes, without a cluster: templates, pods that are programs, Traefik's words."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.routers.envoy.names import pool_name
from aviary.local import parts
from aviary.local.fronts import gateway
from aviary.local.fronts.front import PoolCount
from aviary.local.http1 import Response
from aviary.local.kubernetes.container import Container, environment_of
from aviary.local.kubernetes_stack import KubernetesStack
from aviary.local.ports import FreePorts
from aviary.local.process import ChildFailedError
from aviary.local.shop import Fault
from aviary.watching.templates import Key, read_template

BACKEND = "httproute-shop-checkout-gw-shop-edge-ep-users-0-0123456789abcdef0123-svc-shop"


@pytest.fixture
def stack(tmp_path: Path) -> KubernetesStack:
    return KubernetesStack(tmp_path / "stack", tmp_path / "cache")


def test_a_template_says_which_release_and_version_it_asks_for(stack: KubernetesStack) -> None:
    thing = stack._template("checkout", "1.2.0", "shop-2", Fault(error_rate=0.2))
    found = read_template({"kind": "Deployment", **thing}, "checkout", None)
    assert (found.version, found.replicas) == ("1.2.0", 0)
    assert found.key == Key("shop-2", is_release=True)
    (fault,) = [
        one
        for one in thing["spec"]["template"]["spec"]["containers"][0]["env"]
        if one["name"] == "FAULT"
    ]
    assert json.loads(fault["value"])["error_rate"] == 0.2


async def test_a_machine_without_go_says_so(
    stack: KubernetesStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ChildFailedError, match="no Kubernetes here: go is not there"):
        await stack._start_all(lambda _: None)


def pod(*args: str) -> dict[str, Any]:
    path = "metadata.annotations['aviary.dev/version']"
    env = [
        {"name": "VERSION", "valueFrom": {"fieldRef": {"fieldPath": path}}},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MODE", "value": "quick"},
    ]
    container = {"name": "app", "command": [sys.executable, "-c"], "args": [*args], "env": env}
    return {
        "metadata": {"annotations": {"aviary.dev/version": "1.2.0"}},
        "spec": {"containers": [container]},
    }


async def test_a_container_is_told_of_itself_and_ends_when_told(tmp_path: Path) -> None:
    file = tmp_path / "said"
    program = (
        "import os, pathlib, sys, time\n"
        "said = ' '.join([*sys.argv[2:], os.environ['MODE']])\n"
        "pathlib.Path(sys.argv[1] + '.new').write_text(said)\n"
        "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "time.sleep(600)\n"
    )
    made = pod(program, str(file), "$(POD_IP)", "$(VERSION)", "$(NOBODY)")
    assert environment_of(made, "10.1.2.3")["VERSION"] == "1.2.0"
    running = await Container.start(made, "10.1.2.3")
    async with asyncio.timeout(60):
        while not file.exists():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)
    assert file.read_text() == "10.1.2.3 1.2.0 $(NOBODY) quick"
    await running.finish(30)
    running.close()


async def test_traefik_says_who_is_served_and_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weighted = {
        "weighted": {
            "services": [
                {"name": f"{BACKEND}-checkout-1-1-0-80", "weight": 80},
                {"name": f"{BACKEND}-checkout-1-2-0-80", "weight": 20},
            ]
        }
    }
    forced = {"weighted": {"services": [{"name": f"{BACKEND}-checkout-1-2-0-80", "weight": 1}]}}
    prefix = "httproute-shop-checkout-gw-shop-edge-ep-users"
    answers = {
        "/api/rawdata": json.dumps(
            {
                "routers": {
                    f"{prefix}-1-a@kubernetesgateway": {
                        "rule": "Host(`checkout`) && Header(`x-version`,`canary`)",
                        "service": "forced",
                    },
                    f"{prefix}-0-b@kubernetesgateway": {
                        "rule": "Host(`checkout`)",
                        "service": "all",
                    },
                },
                "services": {
                    "all@kubernetesgateway": weighted,
                    "forced@kubernetesgateway": forced,
                },
            }
        ),
        "/metrics": "\n".join(
            f'traefik_service_requests_total{{code="{code}",method="GET",protocol="http",'
            f'service="{BACKEND}-checkout-1-2-0-80@kubernetesgateway"}} {count}'
            for code, count in (("200", "1e+02"), ("503", "7"))
        ),
    }

    async def fetch(_port: int, path: str) -> Response:
        return Response(200, answers[path].encode(), {})

    monkeypatch.setattr(gateway, "fetch", fetch)
    front = gateway.GatewayFront(parts.Ports.choose(FreePorts()), 1)
    canary, stable = pool_name("checkout", "1.2.0"), pool_name("checkout", "1.1.0")
    assert await front.routed("checkout") == {stable: 8_000, canary: 2_000}
    assert await front.routed("cart") == {}
    counts = await front.counts()
    assert counts[canary] == PoolCount(completed=107, failed=7)
    assert counts[stable] == PoolCount(0, 0)
