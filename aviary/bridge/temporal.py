"""Two requests to Temporal that may be repeated without a second effect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.sdk.v1 import UserMetadata
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.errors import Retryable
from schemas import ids
from schemas.alert import Alert
from schemas.rejection import Rejected, RejectReason
from schemas.release import ReleaseInput, ReleasePlan

_RPC_TIMEOUT: Final = timedelta(seconds=10)
_TASK_TIMEOUT: Final = Duration(seconds=2)
"""How long a killed worker may keep a workflow's next task; bounds a failover to 2 s."""
_SUMMARY: Final = 200
_DETAILS: Final = 40
_TOO_LARGE: Final = "larger than max"


class TemporalIntake:
    """Starts releases and signals canaries, by the raw service: only that takes a request id.

    Payloads are encoded by the client's own data converter; client interceptors don't see these
    calls.
    """

    def __init__(self, client: Client, task_queue: str) -> None:
        """Start releases on this task queue."""
        self._client = client
        self._task_queue = task_queue

    async def start(self, plan: ReleasePlan, request_id: str) -> bool:
        """Start a release.

        Args:
            plan: what it will do.
            request_id: names the record that asks for it.

        Returns:
            False if the release is known already, running or ended.

        Raises:
            Retryable: Temporal did not say yes; the same call again is right.
            Rejected: Temporal will never accept this plan (reason `refused`).
        """
        request = StartWorkflowExecutionRequest(
            namespace=self._client.namespace,
            workflow_id=ids.release_workflow_id(plan.release),
            workflow_type=WorkflowType(name=ids.RELEASE_WORKFLOW),
            task_queue=TaskQueue(name=self._task_queue),
            input=await self._payloads(ReleaseInput(plan=plan)),
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
                summary=(await self._payloads(summary(plan))).payloads[0],
                details=(await self._payloads(details(plan))).payloads[0],
            ),
        )
        try:
            answer = await self._client.workflow_service.start_workflow_execution(
                request, timeout=_RPC_TIMEOUT
            )
        except RPCError as error:
            if error.status == RPCStatusCode.ALREADY_EXISTS:
                return False
            raise _translate(error, f"starting {request.workflow_id}") from error
        return bool(answer.started)

    async def signal(self, service: str, alert: Alert, request_id: str) -> bool:
        """Tell a service's canary of an alert.

        Returns:
            False if the service has no canary.

        Raises:
            Retryable: Temporal did not say yes; the same call again is right.
            Rejected: Temporal will never accept this signal (reason `refused`).
        """
        request = SignalWorkflowExecutionRequest(
            namespace=self._client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=ids.canary_workflow_id(service)),
            signal_name=ids.SIGNAL_ALERT,
            input=await self._payloads(alert),
            identity=self._client.identity,
            request_id=request_id,
        )
        try:
            await self._client.workflow_service.signal_workflow_execution(
                request, timeout=_RPC_TIMEOUT
            )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND and not _namespace_missing(error):
                return False
            what = f"signalling {request.workflow_execution.workflow_id}"
            raise _translate(error, what) from error
        return True

    async def _payloads(self, value: Any) -> Payloads:
        return Payloads(payloads=await self._client.data_converter.encode([value]))


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


def details(plan: ReleasePlan) -> str:
    """A table of the plan in Markdown, for the Temporal UI; cut where it would be too long."""
    rows = [
        f"| {number} | {service} | {plan.services[service].version} "
        f"| {plan.services[service].strategy_name} |"
        for number, stage in enumerate(plan.stages, start=1)
        for service in stage
    ]
    left = len(rows) - _DETAILS
    more = [f"| | and {left} more | | |"] if left > 0 else []
    head = ["| stage | service | version | strategy |", "|---|---|---|---|"]
    origin = [f"Asked for by `{plan.source}`", ""] if plan.source else []
    return "\n".join([*origin, *head, *rows[:_DETAILS], *more])
