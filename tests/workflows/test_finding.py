"""`release list` on a Temporal that has Aviary's search attributes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from aviary.attributes import ensure_attributes
from aviary.cli.failing import CommandError
from aviary.releases.finding import Filters
from aviary.releases.remote import Releases
from aviary.settings import load_settings
from schemas.deploy import DeployRequested
from schemas.release import CauseKind, ReleasePhase, Tuning
from schemas.verdict import VerdictKind
from tests.workflows.kit import QUICK, World, eventually
from workflows.planning import plan_release

VISIBLE = Tuning.model_validate({**QUICK.model_dump(), "search_attributes": True})
CHAIN = {"ledger": [], "payments": ["ledger"]}


async def test_each_filter_finds_what_it_says_and_nothing_else(
    server: WorkflowEnvironment, world: World
) -> None:
    assert await ensure_attributes(server.client)
    payments, ledger = world.service("payments"), world.service("ledger")
    env = world.queue
    begun = datetime.now(UTC) - timedelta(seconds=1)
    good = await world.release({"ledger": []}, tuning=VISIBLE, environment=env)
    await good.result()
    world.judge.says[(payments, 50)] = VerdictKind.FAIL
    bad = await world.release(CHAIN, tuning=VISIBLE, version="3", environment=env)
    await bad.result()
    releases = Releases(server.client, load_settings())
    names = {good.handle.id.removeprefix("release/"): "good"}
    names[bad.handle.id.removeprefix("release/")] = "bad"

    async def found(**filters: object) -> list[str]:
        known = {"environment": env} | filters
        return [names[one.release] for one in await releases.find(Filters(**known), 10)]  # type: ignore[arg-type]

    async def both() -> bool:
        return await found() == ["bad", "good"] and await found(cause=CauseKind.VERDICT) == ["bad"]

    await eventually(both)
    assert await found(state=ReleasePhase.FINALIZED) == ["good"]
    assert await found(state=ReleasePhase.ROLLED_BACK) == ["bad"]
    assert await found(state=ReleasePhase.RUNNING) == []
    assert await found(services=(ledger,)) == ["bad", "good"]
    assert await found(services=(ledger, payments)) == ["bad"]
    assert await found(verdict=VerdictKind.FAIL) == ["bad"]
    assert await found(because_of=payments) == ["bad"]
    assert await found(because_of=ledger) == []
    assert await found(cause=CauseKind.ALERT) == []
    assert await found(since=begun) == ["bad", "good"]
    assert await found(until=begun) == []
    assert await found(environment="another") == []


async def test_a_value_that_would_end_its_quotes_is_refused(world: World) -> None:
    releases = Releases(world.client, load_settings())
    with pytest.raises(CommandError) as caught:
        await releases.find(Filters(environment="x' OR WorkflowType != '"), 10)
    assert "without quotes" in caught.value.text


async def test_a_release_that_a_person_starts_can_be_found_as_well(
    server: WorkflowEnvironment, world: World
) -> None:
    assert await ensure_attributes(server.client)
    await (await world.release({"ledger": []})).result()
    plan = plan_release(
        world.known_catalog(),
        DeployRequested.model_validate(
            {
                "release": f"by-hand-{world.queue}",
                "services": [{"service": world.service("ledger"), "version": "9"}],
            }
        ),
    )
    releases = Releases(server.client, load_settings(task_queue=world.queue))
    assert await releases.start(plan, "digest")
    filters = Filters(services=(world.service("ledger"),))

    async def there() -> bool:
        return [one.release for one in await releases.find(filters, 10)] == [plan.release]

    await eventually(there)
    await world.client.get_workflow_handle(f"release/{plan.release}").result()
