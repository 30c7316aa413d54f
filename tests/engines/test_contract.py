"""What Aviary relies on, asked of Temporal itself; `--engine cluster`: of a production server."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleSpec,
    WithStartWorkflowOperation,
)
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from aviary.attributes import ensure_attributes
from aviary.local.engines import RETENTION
from schemas import attributes

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

QUEUE = "engine-contract"
WITHIN_S = 120.0
RELEASE = SearchAttributeKey.for_keyword(attributes.RELEASE)
SERVICES = SearchAttributeKey.for_keyword_list(attributes.SERVICE)


@workflow.defn(name="engine-contract")
class Counting:
    """Counts what it is told, until it is told to end."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.over = False

    @workflow.run
    async def run(self, wait: bool = False) -> list[int]:
        """Wait for the end, if that is asked for."""
        await workflow.wait_condition(lambda: self.over or not wait)
        return self.heard

    @workflow.update
    def add(self, number: int = 0) -> int:
        """Count; the sum so far."""
        self.heard.append(number)
        return sum(self.heard)

    @workflow.signal
    def end(self, _: int = 0) -> None:
        """Let it end."""
        self.over = True

    @workflow.signal
    def hear(self, size: str = "") -> None:
        """Count what is large by its size."""
        self.heard.append(len(size))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(server: WorkflowEnvironment) -> AsyncIterator[Client]:
    """With a worker."""
    async with Worker(
        server.client,
        task_queue=QUEUE,
        workflows=[Counting],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        assert await ensure_attributes(server.client)
        yield server.client


@pytest.fixture
def name() -> str:
    """A workflow id of its own."""
    return f"contract/{uuid.uuid4().hex}"


async def _eventually(asked: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await asked():  # noqa: ASYNC110 - a server is asked
            await asyncio.sleep(0.05)


async def _listed(client: Client, name: str, services: list[str]) -> None:
    """Start a workflow that lists find by attributes."""
    told: list[SearchAttributePair[Any]] = [
        SearchAttributePair(RELEASE, name),
        SearchAttributePair(SERVICES, services),
    ]
    await client.start_workflow(
        Counting.run,
        True,
        id=name,
        task_queue=QUEUE,
        search_attributes=TypedSearchAttributes(told),
    )


async def test_attributes_are_taken_soon_after_they_were_added(client: Client, name: str) -> None:
    """A node of a cluster reads a namespace anew every two seconds."""
    assert await ensure_attributes(client), "again is the same as once"
    began = time.monotonic()

    async def taken() -> bool:
        try:
            await _listed(client, name, [])
        except RPCError as error:
            if "no mapping defined" not in error.message:
                raise
            return False
        return True

    await _eventually(taken)
    sys.stderr.write(f"attributes taken after {time.monotonic() - began:.1f} s\n")
    await client.get_workflow_handle(name).signal("end", 0)


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        (f"{attributes.RELEASE} = '{{name}}'", True),
        (f"{attributes.SERVICE} = 'checkout-{{name}}'", True),
        (f"{attributes.SERVICE} IN ('none', 'ledger-{{name}}')", True),
        (f"{attributes.SERVICE} = 'led'", False),
        ("WorkflowId STARTS_WITH '{name}' AND ExecutionStatus = 'Running'", True),
        (f"WorkflowId STARTS_WITH '{{name}}' AND {attributes.STATE} IS NULL", True),
        (f"WorkflowId STARTS_WITH '{{name}}' AND {attributes.RELEASE} != '{{name}}'", False),
        ("WorkflowId STARTS_WITH '{name}' AND StartTime > '2020-01-01T00:00:00Z'", True),
        ("WorkflowId STARTS_WITH '{name}' AND ExecutionStatus = 'Completed'", False),
        (f"TaskQueue = '{QUEUE}' AND {attributes.RELEASE} = '{{name}}'", True),
    ],
)  # fmt: skip
async def test_lists_find_by_attributes_ids_and_states(
    client: Client, name: str, query: str, meant: bool
) -> None:
    await _listed(client, name, [f"checkout-{name}", f"ledger-{name}"])
    asked = query.format(name=name)

    async def listed() -> bool:
        found = {one.id async for one in client.list_workflows(f"WorkflowId = '{name}'")}
        return found == {name}

    await _eventually(listed)
    found = [one.id async for one in client.list_workflows(asked)]
    assert found == ([name] if meant else [])
    assert (await client.count_workflows(asked)).count == len(found)
    await client.get_workflow_handle(name).signal("end", 0)


async def test_an_update_starts_a_workflow_once_and_is_answered_by_it(
    client: Client, name: str
) -> None:
    async def add(number: int) -> int:
        started = WithStartWorkflowOperation(
            Counting.run,
            True,
            id=name,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            task_queue=QUEUE,
        )
        return await client.execute_update_with_start_workflow(
            Counting.add, number, start_workflow_operation=started
        )

    assert [await add(1), await add(2)] == [1, 3]
    sums = await asyncio.gather(*(add(10) for _ in range(5)))
    assert sorted(sums) == [13, 23, 33, 43, 53]
    await client.get_workflow_handle(name).signal("end", 0)
    assert await client.get_workflow_handle(name).result() == [1, 2, *[10] * 5]


async def test_an_id_is_taken_as_long_as_its_history_is_kept(client: Client, name: str) -> None:
    async def start() -> None:
        await client.start_workflow(
            Counting.run,
            False,
            id=name,
            task_queue=QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )

    await start()
    await client.get_workflow_handle(name).result()
    with pytest.raises(WorkflowAlreadyStartedError):
        await start()


async def test_a_namespace_keeps_histories_as_long_as_it_is_told(client: Client) -> None:
    config = NamespaceConfig()
    config.workflow_execution_retention_ttl.FromTimedelta(RETENTION)
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(namespace=client.namespace, config=config)
    )
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() == RETENTION


async def test_a_schedule_starts_workflows_and_is_there_once(client: Client, name: str) -> None:
    plan = Schedule(
        action=ScheduleActionStartWorkflow(Counting.run, False, id=f"{name}-run", task_queue=QUEUE),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=1))]),
    )
    handle = await client.create_schedule(name, plan)
    with pytest.raises(ScheduleAlreadyRunningError):
        await client.create_schedule(name, plan)

    async def ran_twice() -> bool:
        return (await handle.describe()).info.num_actions >= 2

    await _eventually(ran_twice)
    await handle.pause()
    assert (await handle.describe()).schedule.state.paused
    await handle.delete()


async def test_what_is_too_large_is_refused_and_changes_nothing(client: Client, name: str) -> None:
    handle: Any = await client.start_workflow(Counting.run, True, id=name, task_queue=QUEUE)
    fits = 1_900_000
    await handle.signal(Counting.hear, "x" * fits)
    with pytest.raises(RPCError) as refused:
        await handle.signal(Counting.hear, "x" * 2_200_000)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT, refused.value
    await handle.signal(Counting.end, 0)
    assert await handle.result() == [fits]
