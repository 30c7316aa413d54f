"""The dashboard and the alerts about Aviary, asked of a Prometheus that scrapes a running stack."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from temporalio.client import Client

from aviary.local import probes
from aviary.local.http1 import fetch
from aviary.local.parts import ROOT
from aviary.local.ports import FreePorts
from aviary.local.process import ChildSpec
from aviary.local.shop import Fault
from aviary.local.stack import Stack
from schemas.release import ReleasePhase
from tests.e2e.given import ended, new_versions, request

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

WITHIN_S = 90.0
SILENT = {
    *("AviaryWorkerDown", "AviaryBridgeDown", "AviaryWebhookDown"),
    *("AviaryRollbackStuck", "AviaryCatalogInvalid", "AviaryWorkflowTasksFail"),
}
"""What no other test of the session gives a reason to fire."""


def dashboard() -> list[str]:
    document = json.loads((ROOT / "deploy/grafana/aviary.json").read_text())
    return [
        target["expr"].replace("$__rate_interval", "30s")
        for panel in document["panels"]
        for target in panel.get("targets", [])
    ]


NEEDS_MORE = {
    # A task of a workflow, a request to Temporal that failed.
    "sum by (workflow_type) (increase(temporal_workflow_task_execution_failed_total[30s]))",
    "sum by (operation) (rate(temporal_request_failure_total[30s]))",
    # A release that was finalized, and whose deploy event said when its commit was made.
    'max by (environment) (aviary_dora_lead_time_seconds{quantile="0.5"})',
    # A bake that is longer than one scrape, as that of a bad version is not.
    *(query for query in dashboard() if "aviary_judge_" in query and "query" not in query),
}
"""Queries of the dashboard that have data only under a condition that this stack does not meet."""


def alerts() -> dict[str, str]:
    document = yaml.safe_load((ROOT / "deploy/prometheus/aviary-alerts.yml").read_text())
    return {rule["alert"]: rule["expr"] for group in document["groups"] for rule in group["rules"]}


@asynccontextmanager
async def exporting(shop: Stack) -> AsyncIterator[None]:
    """Run an exporter beside the stack, and have its Prometheus scrape it."""
    port = FreePorts().take()
    spec = ChildSpec(
        "exporter",
        (sys.executable, "-m", "aviary", "exporter"),
        env={**shop.settings, "AVIARY_METRICS_PORT": str(port)},
        cwd=ROOT,
        probe=probes.http(port, "/readyz"),
    )
    await shop.supervisor.start(spec)
    file = shop.folder / "prometheus.yml"
    before = file.read_text()
    document = json.loads(before)
    job = {"job_name": "exporter", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    document["scrape_configs"].append(job)
    file.write_text(json.dumps(document))
    prometheus = shop.supervisor.children["prometheus"].pid
    os.kill(prometheus, signal.SIGHUP)
    try:
        yield
    finally:
        file.write_text(before)
        os.kill(prometheus, signal.SIGHUP)
        await shop.supervisor.stop("exporter")


async def ask(shop: Stack, query: str, *, since: float | None = None) -> list[Mapping[str, Any]]:
    """Prometheus' answer to a query; fails where the query is refused.

    Args:
        shop: the stack.
        query: of now.
        since: of each second from then on, in seconds since 1970.
    """
    path = f"/api/v1/query?{urlencode({'query': query})}"
    if since is not None:
        span = {"start": since, "end": time.time(), "step": 1}
        path = f"/api/v1/query_range?{urlencode({'query': query, **span})}"
    response = await fetch(shop.ports.prometheus, path)
    answer = json.loads(response.body)
    assert answer["status"] == "success", (query, answer)
    found: list[Mapping[str, Any]] = answer["data"]["result"]
    return found


async def test_the_dashboard_shows_a_release_and_alerts_can_be_asked(
    shop: Stack, temporal: Client
) -> None:
    faults = {"payments": Fault(error_rate=0.5)}
    since = time.time()
    async with exporting(shop):
        release = await new_versions(shop, "payments", faults=faults)
        await request(shop, release)
        assert (await ended(temporal, release)).phase is ReleasePhase.ROLLED_BACK
        missing = set(dashboard()) - NEEDS_MORE
        assert len(missing) > 40
        try:
            async with asyncio.timeout(WITHIN_S):
                while missing:
                    # As panels ask: what has gone since is in them.
                    missing -= {one for one in missing if await ask(shop, one, since=since)}
        except TimeoutError:
            pytest.fail("no data for " + "\n".join(sorted(missing)))
    for query in NEEDS_MORE:
        await ask(shop, query)
    firing = {alert for alert, query in alerts().items() if await ask(shop, query)}
    assert firing & SILENT == set()
    back = 'sum(aviary_rollbacks_total{cause="verdict"})'
    assert [float(one["value"][1]) for one in await ask(shop, back)] >= [1.0]
