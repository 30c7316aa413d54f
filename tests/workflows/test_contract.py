"""What only the version before needs goes a day later, once, if nothing was wrong meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from schemas.alert import Alert, AlertStatus
from schemas.hooks import HookAnswer, Said
from schemas.ids import CONTRACT_WORKFLOW, SIGNAL_APPROVE
from schemas.release import ReleasePhase
from schemas.route import Route
from tests.workflows.kit import Release, World, eventually
from tests.workflows.test_hooks import CONNECTION
from workflows.contract import ContractOutcome


async def released(world: World, after: str, **more: Any) -> Release:
    """A release whose service has a contract."""
    world.connections = {"c": CONNECTION}
    hook = {"name": "h", "when": "contract", "call": {"kind": "http", "connection": "c"}}
    hooks = [{**hook, "contract_after": after, **more}]
    return await world.release({"a": []}, strategy={"steps": [50], "bake": "1m"}, hooks=hooks)


async def contract(world: World) -> Any:
    """The handle of the contract, once it is there."""
    found: list[str] = []

    async def there() -> bool:
        query = f"WorkflowType = '{CONTRACT_WORKFLOW}'"
        begin = f"contract/{world.service('a')}/"
        found[:] = [one.id async for one in world.client.list_workflows(query)]
        found[:] = [one for one in found if one.startswith(begin)]
        return bool(found)

    await eventually(there)
    return world.client.get_workflow_handle(found[0], result_type=ContractOutcome)


async def page(handle: Any) -> str:
    return str(await handle.query("__temporal_workflow_metadata"))


async def test_it_is_called_once_the_time_is_over(world: World) -> None:
    status = await (await released(world, "1s")).result()
    assert status.phase is ReleasePhase.FINALIZED, "nothing waits for it"
    outcome = await (await contract(world)).result()
    assert outcome.contracted
    assert outcome.text == f"contracted: {world.service('a')} can't go back to 0"
    (call,) = world.hook.calls
    assert (call.data.moment, call.data.version, call.data.stable) == ("contract", "2", "0")
    assert call.data.answer_by > call.time


async def test_an_alert_holds_it_until_a_person_says_so(world: World) -> None:
    await (await released(world, "1h")).result()
    handle = await contract(world)
    world.alerts.alerts.append(
        Alert(
            status=AlertStatus.FIRING,
            fingerprint="f",
            labels={"alertname": "Errors", "service": world.service("a")},
            starts_at=datetime.now(UTC),
        )
    )

    async def held() -> bool:
        return "held: Errors fired" in await page(handle)

    await eventually(held)
    assert world.hook.calls == []
    await handle.signal(SIGNAL_APPROVE)
    assert (await handle.result()).contracted


async def test_a_service_that_went_back_keeps_what_it_needs(world: World) -> None:
    await (await released(world, "2s")).result()
    handle = await contract(world)
    service = world.service("a")
    later = (await world.router.read(service)).generation + 1
    await world.router.apply(Route.split(service=service, stable="0", generation=later))
    outcome = await handle.result()
    assert outcome.text == f"not contracted: 0 of {service} serves again"
    assert world.hook.calls == []


async def test_no_is_heeded_and_nothing_is_contracted(world: World) -> None:
    world.hook.answers["h"] = HookAnswer(said=Said.NO, reason="a backup runs")
    await (await released(world, "100ms")).result()
    outcome = await (await contract(world)).result()
    assert outcome.text == "not contracted: hook h said no: a backup runs"


async def test_a_cancelled_one_is_never_contracted(world: World) -> None:
    await (await released(world, "1h")).result()
    handle = await contract(world)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert world.hook.calls == []


async def test_until_then_it_says_how_long_it_can_go_back(world: World) -> None:
    await (await released(world, "1h")).result()
    handle = await contract(world)

    async def says() -> bool:
        return f"{world.service('a')} can go back to 0" in await page(handle)

    await eventually(says)
    await handle.terminate()


async def test_what_goes_back_has_nothing_to_contract(world: World) -> None:
    world.judge.failing.add(world.service("a"))
    release = await released(world, "100ms")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    query = f"WorkflowType = '{CONTRACT_WORKFLOW}'"
    begin = f"contract/{world.service('a')}/"
    async for one in world.client.list_workflows(query):
        assert not one.id.startswith(begin)
