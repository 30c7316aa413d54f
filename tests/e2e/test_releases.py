"""Whole releases over the embedded stack, believed only by Envoy's and Temporal's own word."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from adapters.routers.envoy.names import pool_name
from analysis.rejudging import Way
from aviary.audit.gather import Gathered
from aviary.audit.past import Past
from aviary.audit.rejudge import rejudged
from aviary.audit.verify import verify
from aviary.catalogs import read_catalog
from aviary.connections import read_connections
from aviary.history.fetch import fetch_events
from aviary.local import evidence
from aviary.local.parts import ROOT
from aviary.local.shop import DEPENDENCIES, Fault
from aviary.local.stack import Stack
from aviary.settings import load_settings
from schemas.ids import SIGNAL_ALERT, SIGNAL_ROLLBACK, release_workflow_id
from schemas.release import CanaryPhase, CauseKind, ReleasePhase
from schemas.verdict import VerdictKind
from tests.e2e.given import ended, new_versions, phase, request, settled, until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def test_a_healthy_release_is_finalized_and_costs_no_user_a_request(
    shop: Stack, temporal: Client
) -> None:
    release = await new_versions(shop, "ledger", "payments", "checkout")
    await request(shop, release)
    status = await ended(temporal, release)
    assert status.phase is ReleasePhase.FINALIZED
    # What they took the place of is gone as well.
    await settled(shop, *release.versions)
    for service, version in release.versions.items():
        routed = await evidence.clusters_routed(shop, service)
        assert evidence.serves_only(routed, service, version)
        answer = await shop.visit(service)
        assert answer.headers["x-served-by"] == f"{service}/{version}"
        assert await shop.up(service) == [version]
    await _no_user_lost_a_request(shop)


async def test_a_release_that_a_person_takes_back_costs_no_user_a_request(
    shop: Stack, temporal: Client
) -> None:
    before = await shop.up("storefront")
    release = await new_versions(shop, "storefront")
    await request(shop, release, strategy="patient")
    await until(temporal, release, lambda now: phase(now, "storefront") is CanaryPhase.BAKING)
    assert len(await shop.up("storefront")) == 1 + len(before)
    handle = temporal.get_workflow_handle(release_workflow_id(release.id))
    await handle.execute_update(SIGNAL_ROLLBACK)
    assert (await ended(temporal, release)).phase is ReleasePhase.ROLLED_BACK
    await settled(shop, "storefront")
    assert await shop.up("storefront") == before
    await _no_user_lost_a_request(shop)


async def _no_user_lost_a_request(shop: Stack) -> None:
    """While versions went up and down, since the load was last reset.

    A service that waits for another gives up after two seconds, which a busy machine may take. What
    a router loses it answers itself, and at once.
    """
    users = (await shop.load())["users"]
    assert users["sent"] > 0
    assert (users["failed"], users["degraded"] - users["unanswered"]) == (0, 0)


async def test_a_release_asked_for_twice_is_one_release(shop: Stack, temporal: Client) -> None:
    release = await new_versions(shop, "cart")
    for _ in range(2):
        await request(shop, release)
    await ended(temporal, release)
    await request(shop, release)
    runs = [w async for w in temporal.list_workflows(f"WorkflowId = 'release/{release.id}'")]
    assert len(runs) == 1


async def test_a_bad_version_is_judged_and_its_dependents_are_never_touched(
    shop: Stack, temporal: Client
) -> None:
    faults = {"payments": Fault(error_rate=0.2)}
    release = await new_versions(shop, "ledger", "payments", "checkout", faults=faults)
    await request(shop, release)
    status = await ended(temporal, release)
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert (status.cause.kind, status.cause.service) == (CauseKind.VERDICT, "payments")
    assert status.cause.verdict is not None
    assert status.cause.verdict.kind is VerdictKind.FAIL
    assert phase(status, "checkout") is CanaryPhase.SKIPPED
    for service, before in release.before.items():
        assert await evidence.clusters_routed(shop, service) == before
    begun = await evidence.canaries(temporal, release.id)
    assert set(begun) == {"ledger", "payments"}
    counts = await evidence.pool_counts(shop)
    untouched = counts[pool_name("checkout", release.versions["checkout"])]
    assert untouched.completed == 0
    assert status.audit is not None
    await _recorded_and_judged_again(shop, temporal, release.id, status.audit.head)


async def _recorded_and_judged_again(
    shop: Stack, temporal: Client, release: str, head: str
) -> None:
    """Its events are one whole chain, whose counts lead to the same verdict once more."""
    gathered, past = Gathered(), Past()
    for line in await fetch_events(temporal, release):
        gathered.take(line.encode(), "history")
        past.take(json.loads(line))
    (audit,) = verify(gathered.links, gathered.flaws, ends={release: head})
    assert audit.whole, audit.found
    connections = Path(shop.settings["AVIARY_CONNECTIONS_FILE"])
    settings = load_settings(connections_file=connections)
    policy = read_catalog(shop.folder / "catalog.yaml", read_connections(settings))
    (services,) = rejudged(past.since(None), policy)
    payments = next(one for one in services if one.past.service == "payments")
    assert payments.judged_then
    assert payments.outcome is not None
    assert payments.outcome.way is Way.BACK
    assert payments.outcome.requests > 0


async def test_a_real_alert_takes_a_holding_release_back_in_reverse_order(
    shop: Stack, temporal: Client
) -> None:
    names = ("inventory", "ledger", "cart", "payments", "checkout")
    release = await new_versions(shop, *names)
    await request(shop, release)
    await until(temporal, release, lambda now: phase(now, "payments") is CanaryPhase.HOLDING)
    await shop.set_fault("ledger", release.versions["ledger"], Fault(error_rate=1.0))
    status = await ended(temporal, release)
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert (status.cause.kind, status.cause.service) == (CauseKind.ALERT, "ledger")
    touched = await evidence.canaries(temporal, release.id)
    assert {"ledger", "payments"} <= set(touched)
    assert SIGNAL_ALERT in touched["ledger"].signals
    assert evidence.out_of_order(touched, DEPENDENCIES) == []
    for service, before in release.before.items():
        assert await evidence.clusters_routed(shop, service) == before


async def test_a_killed_worker_does_not_stop_a_release(shop: Stack, temporal: Client) -> None:
    release = await new_versions(shop, "catalogue")
    # Its bake outlasts the worker's absence: with nothing to judge by, a person is asked.
    await request(shop, release, "patient")
    await until(temporal, release, lambda now: phase(now, "catalogue") is CanaryPhase.BAKING)
    await shop.kill("worker")
    await shop.restart("worker")
    status = await ended(temporal, release)
    assert status.phase is ReleasePhase.FINALIZED


async def test_the_command_line_works_on_the_stack_by_its_settings(shop: Stack) -> None:
    process = await create_subprocess_exec(
        sys.executable, "-m", "aviary", "release", "list", "--format", "json",
        cwd=ROOT, env={**os.environ, **shop.settings}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    releases = json.loads(output)
    assert isinstance(releases, list | dict)


async def test_a_dead_instance_comes_back_by_itself(shop: Stack) -> None:
    await settled(shop, "recommendations")
    (version,) = await shop.up("recommendations")
    await shop.set_fault("recommendations", version, Fault(crash=True))
    async with asyncio.timeout(30):
        for is_up in (False, True):
            # Where nobody answers the router does, and another process has no event to wait for.
            while ((await shop.visit("recommendations")).status == httpx.codes.OK) is not is_up:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert await shop.up("recommendations") == [version]
