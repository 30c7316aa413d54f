"""What Temporal knows of the builds of a deployment, and what can be changed there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import EventType, WorkerDeploymentVersionStatus, WorkerStatus
from temporalio.api.workflow.v1 import (
    PostResetOperation,
    VersioningOverride,
    WorkflowExecutionOptions,
)
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    ListWorkersRequest,
    ResetWorkflowExecutionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

_RPC: Final = timedelta(seconds=5)
_SLOW_RPC: Final = timedelta(seconds=20)
"""For a change of the current build: Temporal's own workflows ask and tell each other first."""
_LACKING: Final = {RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.PERMISSION_DENIED}
_OVERRIDE: Final = FieldMask(paths=["versioning_override"])
_ON: Final = SearchAttributeKey.for_keyword("TemporalWorkerDeploymentVersion")


class BuildState(StrEnum):
    """Where a build is in its life, as Temporal has it."""

    INACTIVE = "inactive"
    """Never current nor ramping: nothing begins on it."""
    RAMPING = "ramping"
    CURRENT = "current"
    DRAINING = "draining"
    """Not current any more, and workflows that are pinned to it run."""
    DRAINED = "drained"
    UNKNOWN = "unknown"


_STATES: Final = {
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED: BuildState.INACTIVE,
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE: BuildState.INACTIVE,
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING: BuildState.RAMPING,
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT: BuildState.CURRENT,
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: BuildState.DRAINING,
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED: BuildState.DRAINED,
}


@dataclass(frozen=True)
class Build:
    """One build of a deployment."""

    build_id: str
    state: BuildState
    activated: bool
    """Whether it was current or ramping at any time."""


@dataclass(frozen=True)
class Routing:
    """Which builds there are, and which of them new releases begin on."""

    builds: tuple[Build, ...] = ()
    current: str = ""
    """Empty while none is: new releases then begin on workers without versioning."""
    ramping: str = ""
    percentage: float = 0.0

    def of(self, build_id: str) -> Build | None:
        """A build by its ID."""
        return next((one for one in self.builds if one.build_id == build_id), None)


@dataclass(frozen=True)
class Heartbeat:
    """The last sign of life of one worker (a process has one for each task queue)."""

    instance: str
    identity: str
    build_id: str
    at_ns: int
    """By the worker's own clock: good for telling one heartbeat from the next, and for no more."""
    running: bool = True
    """False once it has said that it stops."""


@dataclass(frozen=True)
class Pinned:
    """A running workflow that is pinned to a build."""

    handle: WorkflowHandle[Any, Any]
    kind: str
    build_id: str


class Deployment:
    """The conversation with Temporal about one deployment. All methods raise `RPCError`.

    A busy server refuses many of these questions (`RESOURCE_EXHAUSTED`: it asks workflows of its
    own, one question at a time). The SDK asks again for some seconds, so that a look that needs
    several answers comes to its end.
    """

    def __init__(self, client: Client, name: str) -> None:
        """Of this name, in the client's namespace."""
        self._client = client
        self.name = name

    async def supported(self) -> str:
        """Why Temporal has no worker versioning here; empty if it has."""
        try:
            await self.routing()
        except RPCError as error:
            if error.status not in _LACKING:
                raise
            return f"{error.status.name}: {error.message}"
        return ""

    async def routing(self) -> Routing:
        """Which builds there are; none before the first worker has polled."""
        asked = DescribeWorkerDeploymentRequest(
            namespace=self._client.namespace, deployment_name=self.name
        )
        try:
            service = self._client.workflow_service
            answer = await service.describe_worker_deployment(asked, retry=True, timeout=_RPC)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return Routing()
            raise
        info = answer.worker_deployment_info
        routed = info.routing_config
        return Routing(
            builds=tuple(
                Build(
                    build_id=one.deployment_version.build_id,
                    state=_STATES.get(one.status, BuildState.UNKNOWN),
                    activated=one.HasField("first_activation_time"),
                )
                for one in info.version_summaries
            ),
            current=routed.current_deployment_version.build_id,
            ramping=routed.ramping_deployment_version.build_id,
            percentage=routed.ramping_version_percentage,
        )

    async def heartbeats(self) -> tuple[Heartbeat, ...]:
        """The workers of all builds that Temporal has heard of lately."""
        found: list[Heartbeat] = []
        token = b""
        while True:
            answer = await self._client.workflow_service.list_workers(
                ListWorkersRequest(
                    namespace=self._client.namespace,
                    query=f"DeploymentName = '{self.name}'",
                    next_page_token=token,
                ),
                retry=True,
                timeout=_RPC,
            )
            found += [
                Heartbeat(
                    instance=heartbeat.worker_instance_key,
                    identity=heartbeat.worker_identity,
                    build_id=heartbeat.deployment_version.build_id,
                    at_ns=heartbeat.heartbeat_time.ToNanoseconds(),
                    running=heartbeat.status == WorkerStatus.WORKER_STATUS_RUNNING,
                )
                for heartbeat in (one.worker_heartbeat for one in answer.workers_info)
            ]
            token = answer.next_page_token
            if not token:
                return tuple(found)

    async def promote(self, build_id: str) -> None:
        """Have new releases begin on a build.

        Temporal refuses it while the build's workers do not poll all queues that the current ones
        do.
        """
        await self._client.workflow_service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=self._client.namespace,
                deployment_name=self.name,
                build_id=build_id,
                identity=self._client.identity,
            ),
            retry=True,
            timeout=_SLOW_RPC,
        )

    async def pinned_to(self, build_id: str) -> int:
        """How many running workflows are pinned to a build."""
        query = f"{self._pinned()} AND {_ON.name} = '{self.name}:{build_id}'"
        return (await self._client.count_workflows(query, rpc_timeout=_RPC)).count

    async def pinned_elsewhere(self, builds: Collection[str]) -> AsyncIterator[Pinned]:
        """The running workflows that are pinned to other builds than these."""
        named = ", ".join(f"'{self.name}:{build}'" for build in sorted(builds))
        query = self._pinned() + (f" AND {_ON.name} NOT IN ({named})" if named else "")
        async for one in self._client.list_workflows(query, rpc_timeout=_RPC):
            on = one.typed_search_attributes.get(_ON) or ""
            handle: WorkflowHandle[Any, Any] = self._client.get_workflow_handle(
                one.id, run_id=one.run_id
            )
            yield Pinned(handle, one.workflow_type, on.removeprefix(f"{self.name}:"))

    def _pinned(self) -> str:
        return (
            f"TemporalWorkerDeployment = '{self.name}' AND ExecutionStatus = 'Running' "
            "AND TemporalWorkflowVersioningBehavior = 'Pinned'"
        )

    async def move(self, pinned: Pinned, build_id: str) -> None:
        """Have a workflow go on on another build, from its next task on."""
        await self._client.workflow_service.update_workflow_execution_options(
            UpdateWorkflowExecutionOptionsRequest(
                namespace=self._client.namespace,
                workflow_execution=_execution(pinned),
                workflow_execution_options=self._on(build_id),
                update_mask=_OVERRIDE,
                identity=self._client.identity,
            ),
            timeout=_RPC,
        )

    async def reset(
        self, pinned: Pinned, history: WorkflowHistory, build_id: str, why: str
    ) -> None:
        """Begin a workflow anew on another build; it hears again what it had been told."""
        operation = PostResetOperation.UpdateWorkflowOptions(
            workflow_execution_options=self._on(build_id), update_mask=_OVERRIDE
        )
        first = next(
            one.event_id
            for one in history.events
            if one.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        )
        await self._client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=self._client.namespace,
                workflow_execution=_execution(pinned),
                reason=why,
                workflow_task_finish_event_id=first,
                request_id=str(uuid4()),
                post_reset_operations=[PostResetOperation(update_workflow_options=operation)],
                identity=self._client.identity,
            ),
            timeout=_RPC,
        )

    def _on(self, build_id: str) -> WorkflowExecutionOptions:
        pinned = VersioningOverride.PinnedOverride(
            behavior=VersioningOverride.PINNED_OVERRIDE_BEHAVIOR_PINNED,
            version=WorkerDeploymentVersion(deployment_name=self.name, build_id=build_id),
        )
        return WorkflowExecutionOptions(versioning_override=VersioningOverride(pinned=pinned))


def _execution(pinned: Pinned) -> WorkflowExecution:
    return WorkflowExecution(workflow_id=pinned.handle.id, run_id=pinned.handle.run_id or "")
