"""The dashboard and the alerts about Aviary, asked of a Prometheus that scrapes a running stack."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from temporalio.client import Client

from aviary.local.http1 import fetch
from aviary.local.parts import ROOT
from aviary.local.shop import Fault
from aviary.local.stack import Stack
from schemas.release import ReleasePhase
from tests.e2e.given import ended, new_versions, request

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

WITHIN_S = 60.0
SILENT = {
    *("AviaryWorkerDown", "AviaryBridgeDown", "AviaryWebhookDown"),
    *("AviaryRollbackStuck", "AviaryCatalogInvalid", "AviaryWorkflowTasksFail"),
}
"""What no other test of the session gives a reason to fire."""
ONLY_AFTER_A_FAILURE = {
    "sum by (workflow_type) (increase(temporal_workflow_task_execution_failed_total[30s]))",
    "sum by (operation) (rate(temporal_request_failure_total[30s]))",
}


def dashboard() -> list[str]:
    document = json.loads((ROOT / "deploy/grafana/aviary.json").read_text())
    return [
        target["expr"].replace("$__rate_interval", "30s")
        for panel in document["panels"]
        for target in panel.get("targets", [])
    ]


def alerts() -> dict[str, str]:
    document = yaml.safe_load((ROOT / "deploy/prometheus/aviary-alerts.yml").read_text())
    return {rule["alert"]: rule["expr"] for group in document["groups"] for rule in group["rules"]}


async def ask(shop: Stack, query: str) -> list[Mapping[str, Any]]:
    """Prometheus' answer to an instant query; fails where the query is refused."""
    path = f"/api/v1/query?{urlencode({'query': query})}"
    response = await fetch(shop.ports.prometheus, path)
    answer = json.loads(response.body)
    assert answer["status"] == "success", (query, answer)
    found: list[Mapping[str, Any]] = answer["data"]["result"]
    return found


async def test_the_dashboard_shows_a_release_and_alerts_can_be_asked(
    shop: Stack, temporal: Client
) -> None:
    faults = {"payments": Fault(error_rate=0.5)}
    release = await new_versions(shop, "payments", faults=faults)
    await request(shop, release)
    assert (await ended(temporal, release)).phase is ReleasePhase.ROLLED_BACK
    missing = set(dashboard()) - ONLY_AFTER_A_FAILURE
    assert len(missing) > 30
    try:
        async with asyncio.timeout(WITHIN_S):
            while missing:
                missing -= {query for query in missing if await ask(shop, query)}
    except TimeoutError:
        pytest.fail("no data for " + "\n".join(sorted(missing)))
    for query in ONLY_AFTER_A_FAILURE:
        await ask(shop, query)
    firing = {alert for alert, query in alerts().items() if await ask(shop, query)}
    assert firing & SILENT == set()
    back = 'sum(aviary_rollbacks_total{cause="verdict"})'
    assert [float(one["value"][1]) for one in await ask(shop, back)] >= [1.0]
