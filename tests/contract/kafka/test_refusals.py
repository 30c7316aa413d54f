"""What a real Temporal server refuses: for good, or only for now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from adapters.errors import Retryable
from aviary.bridge.temporal import TemporalGateway
from aviary.catalogs import make_catalog
from schemas.alert import Alert, AlertStatus
from schemas.deploy import DeployRequested, ServiceVersion
from schemas.rejection import Rejected
from schemas.release import ReleaseInput, ReleasePlan
from tests.contract.kafka.parts import open_canary
from workflows.planning import plan_release

ALERT = Alert(
    status=AlertStatus.FIRING,
    fingerprint="f1",
    labels={"service": "checkout"},
    starts_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def _plan(size: int) -> ReleasePlan:
    return ReleasePlan(release=f"r{size}", services={}, stages=(), environment="y" * size)


# 2 MB is the server's limit of a payload, 4 MB that of a message.
@pytest.mark.parametrize("size", [3_000_000, 5_000_000])
async def test_a_plan_too_large_is_refused_for_good(client: Client, size: int) -> None:
    with pytest.raises(Rejected, match=f"starting release/r{size}") as caught:
        await TemporalGateway(client, "q").start(_plan(size), "d", "t/0/0")
    assert caught.value.reason == "refused"


async def test_an_alert_too_large_is_refused_for_good(client: Client) -> None:
    await open_canary(client)
    large = ALERT.model_copy(update={"annotations": {"x": "y" * 3_000_000}})
    with pytest.raises(Rejected, match="signalling canary/checkout"):
        await TemporalGateway(client, "q").signal("checkout", [large], "t/0/0")


async def test_no_canary_is_an_answer_and_no_namespace_is_not(client: Client) -> None:
    assert not await TemporalGateway(client, "q").signal("cart", [ALERT], "t/0/0")
    elsewhere = await Client.connect(
        client.service_client.config.target_host,
        namespace="nosuch",
        data_converter=pydantic_data_converter,
    )
    with pytest.raises(Retryable, match="nosuch"):
        await TemporalGateway(elsewhere, "q").signal("cart", [ALERT], "t/0/0")
    with pytest.raises(Retryable, match="nosuch"):
        await TemporalGateway(elsewhere, "q").start(_plan(1), "d", "t/0/0")


async def test_an_ended_canary_is_no_canary(client: Client) -> None:
    await open_canary(client)
    await client.get_workflow_handle("canary/checkout").terminate()
    assert not await TemporalGateway(client, "q").signal("checkout", [ALERT], "t/0/0")


async def test_the_canary_that_runs_has_an_identity_of_its_own(client: Client) -> None:
    gateway = TemporalGateway(client, "q")
    assert await gateway.canary("checkout") is None
    await open_canary(client)
    first = await gateway.canary("checkout")
    assert first == await gateway.canary("checkout")
    await client.get_workflow_handle("canary/checkout").terminate()
    assert await gateway.canary("checkout") is None
    await open_canary(client)
    assert await gateway.canary("checkout") not in {None, first}


async def test_one_release_id_means_one_content_also_when_all_come_at_once(client: Client) -> None:
    gateway = TemporalGateway(client, "q")
    asked = [gateway.start(_plan(1), "ab"[n % 2] * 64, f"t/0/{n}") for n in range(20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Rejected)]
    assert answers.count(True) == 1
    assert answers.count(False) == 9
    assert {why.reason for why in refused} == {"conflicting_release"}
    assert len(refused) == 10
    await client.get_workflow_handle("release/r1").terminate()
    with pytest.raises(Rejected, match="or a new release id"):
        await gateway.start(_plan(1), "c" * 64, "t/0/99")


async def test_a_release_from_before_digests_is_known(client: Client) -> None:
    await client.start_workflow("aviary.release", id="release/r1", task_queue="nobody")
    assert not await TemporalGateway(client, "q").start(_plan(1), "a" * 64, "t/0/0")


async def test_a_large_plan_is_written_beside_the_event_loop(client: Client) -> None:
    names = [f"s{number}" for number in range(300)]
    catalog = make_catalog(
        {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "metrics": []},
            "services": {name: {} for name in names},
        }
    )
    services = tuple(ServiceVersion(service=name, version="2") for name in names)
    plan = plan_release(catalog, DeployRequested(release="large", services=services))
    assert await TemporalGateway(client, "q").start(plan, "d", "t/0/0")
    history = await client.get_workflow_handle("release/large").fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    [told] = await client.data_converter.decode(list(started.input.payloads), [ReleaseInput])
    assert told.plan == plan
