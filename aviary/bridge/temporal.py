"""Requests to Temporal that may be repeated without a second effect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Self

import structlog
from google.protobuf.duration_pb2 import Duration
from pydantic import AliasPath, BaseModel, Field, ValidationError
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import (
    WorkflowExecutionStatus,
    WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy,
)
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.sdk.v1 import UserMetadata
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.errors import Retryable
from aviary.bridge.tracing import requested
from schemas import ids
from schemas.alert import Alert
from schemas.rejection import Rejected, RejectReason
from schemas.release import ReleaseInput, ReleasePlan, Tuning
from workflows.pages import release_details

_log = structlog.get_logger("aviary.bridge")
_RPC_TIMEOUT: Final = timedelta(seconds=10)
_TASK_TIMEOUT: Final = Duration(seconds=2)
"""How long a killed worker may keep a workflow's next task; bounds a failover to 2 s."""
_FEW: Final = 50
"""Services of a plan that is written on the event loop: in a few milliseconds."""
_SUMMARY: Final = 200
_SHORT: Final = 12
_TOO_LARGE: Final = "larger than max"


class _Asked(BaseModel):
    """Of a release's input, what tells two events of one release id apart."""

    digest: str = ""
    source: str = Field(default="", validation_alias=AliasPath("plan", "source"))

    @classmethod
    def of(cls, told: object) -> Self:
        """Whatever a release was started with; by hand, that may be anything."""
        try:
            return cls.model_validate(told)
        except ValidationError:
            return cls()


class TemporalGateway:
    """Starts releases and signals canaries, by the raw service: only that takes a request id.

    Payloads are encoded by the client's own data converter; client interceptors don't see these
    calls.
    """

    def __init__(
        self,
        client: Client,
        task_queue: str,
        tuning: Tuning | None = None,
        cell: ids.Cell = ids.NO_CELL,
    ) -> None:
        """Start releases of this cell on this task queue, with this tuning."""
        self._cell = cell
        self._client = client
        self._task_queue = task_queue
        self._tuning = tuning or Tuning()

    async def start(self, plan: ReleasePlan, digest: str, request_id: str) -> bool:
        """Start a release.

        Args:
            plan: what it will do.
            digest: of what was asked for; kept with the release, for later events of its id.
            request_id: names the record that asks for it.

        Returns:
            False if the release is known already, running or ended, and was asked for the same.

        Raises:
            Retryable: Temporal did not say yes; the same call again is right.
            Rejected: the release is known and was asked for something else (reason
                `conflicting_release`), or Temporal will never accept this plan (`refused`).
        """
        if len(plan.services) <= _FEW:
            request = await self._start_request(plan, digest, request_id)
        else:
            # Beside the event loop: a large plan takes a second to write, and alerts do not wait.
            writing = self._start_request(plan, digest, request_id)
            request = await asyncio.to_thread(asyncio.run, writing)
        try:
            with requested(f"StartWorkflow:{ids.RELEASE_WORKFLOW}", request.workflow_id) as header:
                request.header.CopyFrom(header)
                answer = await self._client.workflow_service.start_workflow_execution(
                    request, timeout=_RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status != RPCStatusCode.ALREADY_EXISTS:
                raise _translate(error, f"starting {request.workflow_id}") from error
        else:
            if answer.started:
                return True
        await self._check_same(plan.release, digest)
        return False

    async def _start_request(
        self, plan: ReleasePlan, digest: str, request_id: str
    ) -> StartWorkflowExecutionRequest:
        return StartWorkflowExecutionRequest(
            namespace=self._client.namespace,
            workflow_id=ids.release_workflow_id(plan.release, self._cell),
            workflow_type=WorkflowType(name=ids.RELEASE_WORKFLOW),
            task_queue=TaskQueue(name=self._task_queue),
            input=await self._payloads(ReleaseInput(plan=plan, tuning=self._tuning, digest=digest)),
            workflow_task_timeout=_TASK_TIMEOUT,
            identity=self._client.identity,
            request_id=request_id,
            workflow_id_reuse_policy=(
                WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
            ),
            workflow_id_conflict_policy=(
                WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
            ),
            user_metadata=UserMetadata(
                summary=await self._one(summary(plan)),
                details=await self._one(release_details(plan)),
            ),
        )

    async def _check_same(self, release: str, digest: str) -> None:
        first = await self._asked(ids.release_workflow_id(release, self._cell))
        if not first.digest:
            _log.warning("release_known_unverified", release=release)
        elif first.digest != digest:
            text = (
                f"data: other content (digest {digest[:_SHORT]}) under release {release!r}, which "
                f"{first.source or 'another event'} asked for with digest {first.digest[:_SHORT]}; "
                "expected the same services, versions, strategy and labels, or a new release id"
            )
            raise Rejected(RejectReason.CONFLICTING_RELEASE, text)

    async def _asked(self, workflow: str) -> _Asked:
        """What a release was asked for, as its history begins with.

        It is there for as long as the release is known; a memo would be kept as well by the store
        behind the lists, which costs a start a tenth of its time.
        """
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=workflow),
            maximum_page_size=1,
        )
        try:
            answer = await self._client.workflow_service.get_workflow_execution_history(
                request, timeout=_RPC_TIMEOUT
            )
        except RPCError as error:  # also when it was forgotten since: the next attempt starts it
            raise Retryable(f"reading {workflow}: {error.status.name}: {error.message}") from error
        begun = answer.history.events[0].workflow_execution_started_event_attributes
        told = await self._client.data_converter.decode(begun.input.payloads)
        return _Asked.of(told[0] if told else None)

    async def canary(self, service: str) -> str | None:
        """Return the identity of a service's running canary, or else of its watch; None without.

        Another canary of the same service has another identity, and so has a run that was reset:
        it may not have heard what the run before it has.

        Raises:
            Retryable: Temporal did not say.
        """
        for workflow in self._hearers(service):
            info = await self._describe(workflow)
            runs = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
            if info is not None and info.status == runs:
                return info.execution.run_id
        return None

    def _hearers(self, service: str) -> tuple[str, ...]:
        """Who may hear alerts on a service: the first of them that runs does."""
        return (
            ids.canary_workflow_id(service, self._cell),
            ids.watch_workflow_id(service, self._cell),
        )

    async def running(self) -> Sequence[str]:
        """Services whose canary runs, as Temporal lists them.

        The list may be a second behind: a canary that is so new has no traffic yet.

        Raises:
            Retryable: Temporal did not say.
        """
        prefix = ids.canary_workflow_id("", self._cell)
        query = (
            f"WorkflowType = '{ids.CANARY_WORKFLOW}' AND ExecutionStatus = 'Running' "
            f"AND WorkflowId STARTS_WITH '{prefix}'"
        )
        try:
            return [
                each.id.removeprefix(prefix)
                async for each in self._client.list_workflows(query, rpc_timeout=_RPC_TIMEOUT)
                if each.id.startswith(prefix)
            ]
        except RPCError as error:
            raise Retryable(f"listing canaries: {error.status.name}: {error.message}") from error

    async def _describe(self, workflow: str) -> WorkflowExecutionInfo | None:
        request = DescribeWorkflowExecutionRequest(
            namespace=self._client.namespace, execution=WorkflowExecution(workflow_id=workflow)
        )
        try:
            answer = await self._client.workflow_service.describe_workflow_execution(
                request, timeout=_RPC_TIMEOUT
            )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND and not _namespace_missing(error):
                return None
            raise Retryable(
                f"describing {workflow}: {error.status.name}: {error.message}"
            ) from error
        return answer.workflow_execution_info

    async def signal(self, service: str, alerts: Sequence[Alert], request_id: str) -> bool:
        """Tell a service's canary of some alerts, in one signal; without one, its watch.

        Returns:
            False if the service has neither.

        Raises:
            Retryable: Temporal did not say yes; the same call again is right.
            Rejected: Temporal will never accept this signal (reason `refused`).
        """
        told = await self._payloads(alerts[0] if len(alerts) == 1 else list(alerts))
        for workflow in self._hearers(service):
            request = SignalWorkflowExecutionRequest(
                namespace=self._client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow),
                signal_name=ids.SIGNAL_ALERT if len(alerts) == 1 else ids.SIGNAL_ALERTS,
                input=told,
                identity=self._client.identity,
                request_id=request_id,
            )
            if await self._signal(request):
                return True
        return False

    async def _signal(self, request: SignalWorkflowExecutionRequest) -> bool:
        workflow = request.workflow_execution.workflow_id
        try:
            with requested(f"SignalWorkflow:{request.signal_name}", workflow) as header:
                request.header.CopyFrom(header)
                await self._client.workflow_service.signal_workflow_execution(
                    request, timeout=_RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND and not _namespace_missing(error):
                return False
            raise _translate(error, f"signalling {workflow}") from error
        return True

    async def _payloads(self, value: Any) -> Payloads:
        return Payloads(payloads=await self._client.data_converter.encode([value]))

    async def _one(self, value: Any) -> Payload:
        return (await self._payloads(value)).payloads[0]


def _namespace_missing(error: RPCError) -> bool:
    details = error.grpc_status.details
    return any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in details)


def _translate(error: RPCError, what: str) -> Retryable | Rejected:
    """Return what a failure means; all that an operator can mend is worth another attempt."""
    text = f"{what}: {error.status.name}: {error.message}"
    too_large = error.status == RPCStatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in error.message
    if error.status == RPCStatusCode.INVALID_ARGUMENT or too_large:
        return Rejected(RejectReason.REFUSED, text)
    return Retryable(text)


def summary(plan: ReleasePlan) -> str:
    """One line about a release, for lists: its services and versions."""
    text = ", ".join(f"{item.service} {item.version}" for item in plan.services.values())
    return text if len(text) <= _SUMMARY else f"{text[: _SUMMARY - 1]}…"
