"""What many services at once ask of an API server that has priority and fairness."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
import yaml

from adapters.deployers.kubernetes.deployer import KubernetesDeployer
from adapters.errors import Retryable
from adapters.kubernetes.connection import KubernetesConnection
from aviary.local.kubernetes.cluster import Cluster
from schemas.deployment import VersionState, WantedVersion
from tests.contract.deployers.orders import Reports
from tests.contract.deployers.subjects import NEW, OWNER
from tests.kubernetes.between import Between, between
from tests.kubernetes.shop import KubernetesSubject

pytestmark = pytest.mark.long

SERVICES: Final = 60
PER_SERVICE: Final = 30
"""Requests by which a version is put up, at most: each look is two lists and a Lease."""
LOOKS: Final = 10
_REFUSED: Final = re.compile(
    r"^apiserver_flowcontrol_rejected_requests_total\{.*\} (\S+)$", re.MULTILINE
)


@pytest.fixture
async def fair(cluster: Cluster) -> AsyncIterator[Cluster]:
    async with Cluster(cluster.tools, fair=True) as made:
        await made.make_namespace("many")
        yield made


@pytest.fixture
async def proxy(fair: Cluster) -> AsyncIterator[Between]:
    context = ssl.create_default_context(cafile=str(fair.authority))
    async with between(fair.server, context) as made:
        yield made


def counted(proxy: Between, since: int) -> Counter[str]:
    """Requests by their verb and resource."""
    return Counter(f"{one.verb} {one.resource}" for one in proxy.asked[since:])


async def refused(cluster: Cluster, token: str) -> float:
    """Requests that priority and fairness has turned away."""
    context = ssl.create_default_context(cafile=str(cluster.authority))
    async with httpx.AsyncClient(verify=context, trust_env=False, timeout=60) as client:
        headers = {"authorization": f"Bearer {token}"}
        text = (await client.get(f"{cluster.server}/metrics", headers=headers)).text
    assert "apiserver_flowcontrol_dispatched_requests_total" in text
    return sum(float(one) for one in _REFUSED.findall(text))


async def _put_up(deployer: KubernetesDeployer, wanted: WantedVersion) -> VersionState:
    """As an activity does: again, where the cluster was too slow."""
    while True:
        with contextlib.suppress(Retryable):
            return await deployer.put_up(wanted, Reports())


async def test_tens_of_versions_share_two_watches_and_are_turned_away_by_nobody(
    fair: Cluster, proxy: Between, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = yaml.safe_load(fair.kubeconfig.read_text())["users"][0]["user"]["token"]
    (tmp_path / "token").write_text(token)
    connection: KubernetesConnection = proxy.connection(
        "many", token_file=str(tmp_path / "token"), timeout_s=120
    )
    deployer = KubernetesDeployer(connection, OWNER)
    subject = KubernetesSubject(fair, "many", tmp_path)
    orders = [subject.wanted(f"many-{number}", NEW, 1) for number in range(SERVICES)]
    began = time.monotonic()
    states = await asyncio.gather(*(_put_up(deployer, one) for one in orders))
    seconds = time.monotonic() - began
    assert all(one.ready == 1 for one in states)
    found = counted(proxy, 0)
    total = found.total()
    assert found["watch pods"] + found["watch deployments"] == 2 * (1 + int(seconds) // 300)
    assert total <= PER_SERVICE * SERVICES

    before = len(proxy.asked)
    for _ in range(LOOKS):  # as the drift check does every five seconds
        assert len(await deployer.versions()) == SERVICES
    looked = counted(proxy, before).total() / LOOKS
    assert looked <= 10
    assert await refused(fair, token) == 0
    with capsys.disabled():
        sys.stdout.write(
            f"\n{SERVICES} versions in {seconds:.0f} s: {total} requests, {total / SERVICES:.1f} "
            f"each, {total / seconds:.0f}/s; a look at all: {looked:.1f}; {dict(found)}\n"
        )
    await deployer.aclose()
    await subject.clean()
