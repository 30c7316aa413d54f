"""Port of hooks: systems that are asked, or told, at named moments of a canary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

from schemas.deployment import OneOffEnd
from schemas.hooks import HookAnswer, HookEvent

RunCommand = Callable[[str, Sequence[str]], Awaitable[OneOffEnd]]
"""Runs a command with the image and the configuration of the version that is released, to its end.

It is given a key (of letters, digits, `.`, `_` and `-`) and the command; the same key is one run,
whoever asks for it, and however often. Raises `Terminal` where it can't be run, and `Retryable`
where that could not be asked."""


@runtime_checkable
class HookCaller(Protocol):
    """Calls one hook."""

    async def call(self, event: HookEvent, run: RunCommand | None = None, /) -> HookAnswer:
        """Send the event once, and return the answer.

        Whoever is called knows the event by its id: the same event again, from another process,
        too, is the same question, and has no second effect.

        Args:
            event: what is asked, or told.
            run: runs a command beside the version; None: a pipeline puts versions up, or the kind
                is not `run`.

        Raises:
            Terminal: it can never be sent.
            Retryable: no answer, or none that can be read; it may be sent again.
        """

    async def aclose(self) -> None:
        """Let go of what it holds: connections. It is not used any more."""


@runtime_checkable
class PolledHook(HookCaller, Protocol):
    """One that says where its answer will be (`HookAnswer.ask_at`), and can be asked there."""

    async def poll(self, event: HookEvent, at: str, /) -> HookAnswer:
        """Ask there for the answer to an event that was sent.

        Args:
            event: that was sent.
            at: where it said that the answer will be.

        Returns:
            The answer; after a `later` without an address the event is sent again.

        Raises:
            Terminal, Retryable: as `call`.
        """
