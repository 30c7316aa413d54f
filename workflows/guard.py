"""A guard against messages that don't fit their handler.

A message with the wrong number of arguments, or with arguments of a wrong type (the SDK does not
decode to a type when the number is wrong), otherwise raises inside the workflow task, which then
fails for ever, and with it the rollback. Every handler here takes one argument with a default; this
interceptor drops what is beyond it, and a signal that does not fit even so, and says so in the log.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

from temporalio import workflow
from temporalio.worker import (
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

with workflow.unsafe.imports_passed_through():
    from pydantic import TypeAdapter, ValidationError


class GuardInterceptor(Interceptor):
    """Installs the guard in every workflow of a worker."""

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002, ARG002 - the SDK's signature
    ) -> type[WorkflowInboundInterceptor]:
        """The class that guards each run."""
        return _Guard


class _Guard(WorkflowInboundInterceptor):
    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002 - the SDK's name
        try:
            input.args = _fitting(workflow.get_signal_handler(input.signal), input.args)
        except ValidationError as error:
            workflow.logger.warning(
                "dropped a malformed signal", extra={"signal": input.signal, "error": str(error)}
            )
            return
        await super().handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:  # noqa: A002 - the SDK's name
        input.args = _fitting(workflow.get_query_handler(input.query), input.args)
        return await super().handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:  # noqa: A002
        input.args = _fitting(workflow.get_update_handler(input.update), input.args)
        super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:  # noqa: A002
        input.args = _fitting(workflow.get_update_handler(input.update), input.args)
        return await super().handle_update_handler(input)


def _fitting(handler: Callable[..., Any] | None, args: Sequence[Any]) -> Sequence[Any]:
    """As many of the arguments as the handler takes, each of the handler's type.

    Raises:
        ValidationError: an argument is not of that type.
    """
    if handler is None or not args:
        return args
    # The SDK hands out handlers as partials over the workflow's instance.
    types = _argument_types(getattr(handler, "func", getattr(handler, "__func__", handler)))
    return [adapter.validate_python(arg) for adapter, arg in zip(types, args, strict=False)]


@functools.lru_cache(maxsize=64)
def _argument_types(handler: Callable[..., Any]) -> tuple[TypeAdapter[Any], ...]:
    hints = get_type_hints(handler)
    return tuple(TypeAdapter(hint) for name, hint in hints.items() if name != "return")
