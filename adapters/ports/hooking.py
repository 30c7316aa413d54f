"""Port of hooks: systems that are asked, or told, at named moments of a canary."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from schemas.hooks import HookAnswer, HookEvent


@runtime_checkable
class HookCaller(Protocol):
    """Calls one hook."""

    async def call(self, event: HookEvent) -> HookAnswer:
        """Send the event once, and return the answer.

        Whoever is called knows the event by its id: the same event again, from another process,
        too, is the same question, and has no second effect.

        Raises:
            Terminal: it can never be sent.
            Retryable: no answer, or none that can be read; it may be sent again.
        """

    async def aclose(self) -> None:
        """Let go of what it holds: connections. It is not used any more."""
