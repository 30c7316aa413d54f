"""Activities that go wrong at one call: fail before or after their effect, or happen twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from temporalio import activity
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from adapters.errors import Retryable


class Mode(StrEnum):
    """What goes wrong."""

    RETRYABLE = "retryable"
    LOST_ANSWER = "lost_answer"
    """Done, but the answer is lost: it will be done again."""
    TERMINAL = "terminal"
    TERMINAL_BUT_DONE = "terminal_but_done"
    TWICE = "twice"


@dataclass(frozen=True)
class Node:
    """The n-th call of an activity by one workflow of a release."""

    workflow: str
    """`release`, or the service of the canary."""
    activity: str
    number: int


class Faults(ClientInterceptor, Interceptor):
    """Given to a client, so that its workers have it. Notes every call, by run."""

    def __init__(self) -> None:
        self.wanted: dict[str, tuple[Node, Mode]] = {}
        """By run; a run's services and release end in its name."""
        self.calls: dict[str, Counter[tuple[str, str]]] = {}
        self.struck: set[str] = set()
        self.names: dict[str, tuple[str, str]] = {}
        """Run and node's workflow by workflow id."""

    def name(self, run: str, workflows: Mapping[str, str]) -> None:
        """Let a run's workflows be known: ids by `release` or service."""
        self.calls[run] = Counter()
        self.names |= {workflow: (run, short) for short, workflow in workflows.items()}

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        return _Inbound(next, self)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        mode = self._mode()
        if mode is None:
            return await self.next.execute_activity(input)
        if mode is Mode.RETRYABLE:
            raise Retryable("injected")
        if mode is Mode.TERMINAL:
            raise ApplicationError("injected", type="Terminal", non_retryable=True)
        result = await self.next.execute_activity(input)
        if mode is Mode.LOST_ANSWER:
            raise Retryable("injected, but done")
        if mode is Mode.TERMINAL_BUT_DONE:
            raise ApplicationError("injected, but done", type="Terminal", non_retryable=True)
        return await self.next.execute_activity(input) if mode is Mode.TWICE else result

    def _mode(self) -> Mode | None:
        info, faults = activity.info(), self._faults
        run, workflow = faults.names.get(info.workflow_id or "", ("", ""))
        if info.attempt > 1 or not run:
            return None
        faults.calls[run][workflow, info.activity_type] += 1
        number = faults.calls[run][workflow, info.activity_type]
        node, mode = faults.wanted.get(run, (None, None))
        if node != Node(workflow, info.activity_type, number):
            return None
        faults.struck.add(run)
        return mode
