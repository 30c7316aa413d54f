"""A hook that says what a test wants, when the test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from adapters.memory import MemoryHook
from adapters.ports import RunCommand
from schemas.hooks import HookAnswer, HookEvent, HookMoment, Said


class ScriptedHook(MemoryHook):
    """Says yes, unless it was told something else; says nothing to whom is blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked: set[HookMoment] = set()
        """Moments at which no call is answered."""
        self.seen: list[object] = []
        """What `look` gave at each call."""
        self.look: Callable[[], object] = lambda: None

    @property
    def moments(self) -> list[tuple[str, int | None]]:
        """When it was called, and at which step: each call of its own, in their order."""
        each = {one.id: (one.data.moment.value, one.data.step) for one in self.calls}
        return list(each.values())

    def says_no(self, hook: str = "h", reason: str = "3 of 12 requests failed") -> None:
        """Say no from now on."""
        self.answers[hook] = HookAnswer(said=Said.NO, reason=reason)

    async def call(self, event: HookEvent, run: RunCommand | None = None) -> HookAnswer:
        self.seen.append(self.look())
        answer = await super().call(event, run)
        while event.data.moment in self.blocked:  # noqa: ASYNC110 - tests change a plain set
            await asyncio.sleep(0.02)
        return answer
