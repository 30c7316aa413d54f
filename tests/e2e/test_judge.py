"""The default judge on a real Prometheus: small faults found, bursts and silence not blamed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from temporalio.client import Client

from aviary.local import evidence, http1
from aviary.local.parts import ROOT
from aviary.local.ports import LOOPBACK
from aviary.local.shop import Fault
from aviary.local.stack import Stack
from schemas.ids import SIGNAL_APPROVE, release_workflow_id
from schemas.release import CanaryPhase, CauseKind, ReleasePhase
from schemas.verdict import VerdictKind
from tests.e2e.conftest import RPS
from tests.e2e.given import ended, new_versions, phase, request, until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def _serving(shop: Stack, service: str) -> str:
    answer = await shop.visit(service, {"x-canary": "never"})
    return answer.headers["x-served-by"].partition("/")[2]


@asynccontextmanager
async def _more_users(shop: Stack, service: str, rps: float, most: int) -> AsyncIterator[None]:
    """Users of one service beside the shop's own, at a bounded rate and number."""
    client = http1.Client(LOOPBACK, shop.ports.envoy)
    dice = random.Random(11)

    async def one() -> None:
        headers = {"host": service, "x-user-id": f"extra-{dice.randrange(5000)}"}
        await client.request("GET", "/", headers=headers)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(most):
                group.create_task(one())
                await asyncio.sleep(1 / rps)

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        client.close()


async def test_half_a_percent_of_errors_over_a_tenth_is_found(
    shop: Stack, temporal: Client
) -> None:
    stable = await _serving(shop, "recommendations")
    await shop.set_fault("recommendations", stable, Fault(error_rate=0.001))
    faults = {"recommendations": Fault(error_rate=0.005)}
    release = await new_versions(shop, "recommendations", faults=faults)
    began = datetime.now(UTC)
    async with _more_users(shop, "recommendations", 300, 36_000):
        await request(shop, release, "half")
        status = await ended(temporal, release)
    await shop.set_fault("recommendations", stable, Fault())
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert status.cause.kind is CauseKind.VERDICT
    assert "the odds against chance passed 20:1" in status.cause.text
    await _the_past_says_the_same(shop, stable, release.versions["recommendations"], began)


async def _the_past_says_the_same(shop: Stack, stable: str, canary: str, began: datetime) -> None:
    """`aviary judge --prometheus` on the same minutes."""
    now = datetime.now(UTC)
    command = [
        sys.executable, "-m", "aviary", "judge", "--prometheus", shop.settings[
            "AVIARY_PROMETHEUS_URL"], "--service", "recommendations", "--stable", stable,
        "--canary", canary, "--from", began.isoformat(),
        # Its seconds are others than those of the judge, which stopped as soon as it was sure.
        "--to", now.isoformat(), "--tolerance", "0.002", "--alpha", "0.2",
        "--step", "1s", "--watch",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=os.environ, stdout=PIPE, stderr=PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert json.loads(output.splitlines()[0])["verdict"] == "FAIL"


async def test_a_burst_of_errors_that_both_versions_share_is_not_blamed_on_the_canary(
    shop: Stack, temporal: Client
) -> None:
    stable = await _serving(shop, "catalogue")
    release = await new_versions(shop, "catalogue")
    canary = release.versions["catalogue"]
    await request(shop, release, "patient")
    await until(temporal, release, lambda now: phase(now, "catalogue") is CanaryPhase.BAKING)
    failed_before = (await evidence.pool_counts(shop))[f"catalogue@{_tilde(canary)}"].failed
    for fault in (Fault(error_rate=0.3), Fault()):
        for version in (stable, canary):
            await shop.set_fault("catalogue", version, fault)
        await asyncio.sleep(4 if fault.error_rate else 0)  # the length of the burst
    status = await ended(temporal, release)
    assert status.phase is ReleasePhase.FINALIZED
    failed = (await evidence.pool_counts(shop))[f"catalogue@{_tilde(canary)}"].failed
    assert failed > failed_before, "the burst was there"


def _tilde(version: str) -> str:
    return version.replace(".", "~")


async def test_two_requests_per_second_never_fail_for_lack_of_traffic(
    shop: Stack, temporal: Client
) -> None:
    await shop.set_rate(2)
    try:
        release = await new_versions(shop, "inventory")
        await request(shop, release, "brief")
        status = await until(
            temporal, release, lambda now: phase(now, "inventory") is CanaryPhase.GATED
        )
        verdict = status.services[0].verdict
        assert verdict is not None
        assert verdict.kind is VerdictKind.INCONCLUSIVE
        handle = temporal.get_workflow_handle(release_workflow_id(release.id))
        await handle.execute_update(SIGNAL_APPROVE)
        assert (await ended(temporal, release)).phase is ReleasePhase.FINALIZED
    finally:
        await shop.set_rate(RPS)


async def test_a_ramp_finds_its_weights_and_ends(shop: Stack, temporal: Client) -> None:
    release = await new_versions(shop, "cart")
    await request(shop, release, "budget")
    assert (await ended(temporal, release)).phase is ReleasePhase.FINALIZED
