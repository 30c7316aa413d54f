"""A guard against messages that don't fit their handler.

A signal, update or query with the wrong number of arguments otherwise raises inside the workflow
task, which then fails for ever, and with it the rollback. Every handler here takes one argument
with a default; this interceptor drops what is beyond it, and says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from temporalio import workflow
from temporalio.worker import (
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)


class GuardInterceptor(Interceptor):
    """Installs the guard in every workflow of a worker."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput  # noqa: A002, ARG002 - the SDK's signature
    ) -> type[WorkflowInboundInterceptor]:
        """The class that guards each run."""
        return _Guard


class _Guard(WorkflowInboundInterceptor):
    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002
        input.args = _fitting(workflow.get_signal_handler(input.signal), input.signal, input.args)
        await super().handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:  # noqa: A002
        input.args = _fitting(workflow.get_query_handler(input.query), input.query, input.args)
        return await super().handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:  # noqa: A002
        input.args = _fitting(workflow.get_update_handler(input.update), input.update, input.args)
        super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:  # noqa: A002
        input.args = _fitting(workflow.get_update_handler(input.update), input.update, input.args)
        return await super().handle_update_handler(input)


def _fitting(
    handler: Callable[..., Any] | None, name: str, args: Sequence[Any]
) -> Sequence[Any]:
    """As many of the arguments as the handler takes."""
    if handler is None:
        return args
    parameters = inspect.signature(handler).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return args
    room = len(parameters)
    if len(args) > room:
        workflow.logger.warning(
            "dropped arguments that the handler does not take",
            extra={"handler": name, "given": len(args), "taken": room},
        )
    return args[:room]
