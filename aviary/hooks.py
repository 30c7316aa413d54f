"""Hooks made of what a plan says of their calls."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.connections import Connection
from adapters.errors import Terminal
from adapters.kinds import Shared
from adapters.ports import HookCaller
from aviary.making import make
from aviary.registry import Registry
from schemas.hooks import HookCall


class HookCallers:
    """One caller per specification, made when it is first asked for.

    Args:
        registry: the kinds that there are.
        connections: of the settings, by name.
        shared: what all adapters share.
    """

    def __init__(
        self, registry: Registry, connections: Mapping[str, Connection], shared: Shared
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._shared = shared
        self._made: dict[HookCall, HookCaller] = {}

    def __call__(self, call: HookCall) -> HookCaller:
        """The caller of a specification.

        Raises:
            Terminal: its kind is not installed (any more), or does not take its options.
            Retryable: its connection is not among those of the settings (any more).
        """
        if call not in self._made:
            kinds = self._registry.hooks
            _, made = make("hook", kinds, call, self._connections, self._shared)
            if not isinstance(made, HookCaller):
                raise Terminal(f"hook kind {call.kind}: expected a HookCaller, got {type(made)}")
            self._made[call] = made
        return self._made[call]

    async def aclose(self) -> None:
        """Close all that were made."""
        for made in self._made.values():
            await made.aclose()
