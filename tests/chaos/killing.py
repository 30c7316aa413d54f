"""The hook inside a worker: dies in the call of an activity that a file names."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor


class Killing(ClientInterceptor, Interceptor):
    """Given to a client, so that its workers have it.

    Args:
        order: names the activity, the call and the moment; read at each call, gone when obeyed.
        calls: one line for each call is added here, for the recording.
    """

    def __init__(self, order: Path, calls: Path) -> None:
        self.order = order
        self.calls = calls
        self.seen: Counter[tuple[str, str]] = Counter()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        return _Inbound(next, self)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, killing: Killing) -> None:
        super().__init__(inner)
        self._killing = killing

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        name = activity.info().activity_type
        order, number = self._order(name)
        if order.get("when") == "before" and order.get("number") == number:
            self._die()
        result = await self.next.execute_activity(input)
        if order.get("when") == "after" and order.get("number") == number:
            self._die()
        return result

    def _order(self, name: str) -> tuple[dict[str, Any], int]:
        with self._killing.calls.open("a") as file:
            file.write(f"{name}\n")
        if not self._killing.order.exists():
            return {}, 0
        order: dict[str, Any] = json.loads(self._killing.order.read_text())
        if order["activity"] != name:
            return {}, 0
        key = (order["release"], name)
        self._killing.seen[key] += 1
        return order, self._killing.seen[key]

    def _die(self) -> None:
        self._killing.order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
