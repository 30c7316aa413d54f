"""An answer of a hook, given to the canary that waits for it: by the webhook, or by a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from adapters.errors import Retryable
from schemas import ids
from schemas.hooks import LateAnswer, NotTaken, Untaken

_NO_WORKER: Final = "no worker has answered"


@dataclass(frozen=True)
class Given:
    """What became of an answer."""

    text: str
    untaken: NotTaken | None = None
    """Why it was not taken, where it was not."""

    @property
    def heard(self) -> bool:
        """Whether the hook has answered so: by this answer, or by the same one before."""
        return self.untaken in {None, NotTaken.ALIKE}


async def give(
    client: Client, service: str, late: LateAnswer, *, cell: ids.Cell, patience: timedelta
) -> Given:
    """Give an answer to the canary of a service; the same one again has no second effect.

    Args:
        client: of Temporal.
        service: whose canary waits.
        late: the answer.
        cell: of this installation.
        patience: how long the canary may take to say whether it takes it.

    Raises:
        Retryable: Temporal, or the canary's worker, did not answer.
    """
    handle = client.get_workflow_handle(ids.canary_workflow_id(service, cell))
    try:
        text: str = await handle.execute_update(
            ids.SIGNAL_HOOK_ANSWER, late, id=str(uuid4()), result_type=str, rpc_timeout=patience
        )
    except WorkflowUpdateFailedError as error:
        return _refused(error)
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        raise Retryable(_NO_WORKER) from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
            return Given(f"too late: no canary of {service} is under way", NotTaken.TOO_LATE)
        raise Retryable(f"Temporal: {error.status.name}") from error
    return Given(text)


def _refused(error: WorkflowUpdateFailedError) -> Given:
    """Why the canary did not take it.

    Raises:
        Retryable: it ended, or handed itself over, as it was asked.
    """
    cause: Any = error.cause
    if not isinstance(cause, ApplicationError) or cause.type != ids.REFUSED or not cause.details:
        raise Retryable(f"the canary did not answer: {cause}") from error
    try:
        untaken = Untaken.model_validate(cause.details[0])
    except ValidationError:  # of another version of Aviary
        return Given(cause.message, NotTaken.UNFIT)
    return Given(untaken.text, untaken.why)
