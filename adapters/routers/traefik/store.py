"""Where routes and pools are kept: as Traefik's own configuration, which a provider watches.

A store reads and writes all objects of one service at once, those of its route or those of its
pools, and compares before it writes: that is the fence. What it holds is flat
(`http/services/payments/weighted/services/0/weight`: `9500`), as etcd has it, whatever the
provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Entries = Mapping[str, str]
"""Path of a value below the root of Traefik's dynamic configuration, and the value as text."""


@dataclass(frozen=True)
class Found:
    """What a store has of one service."""

    entries: Entries
    document: Mapping[str, Any] | None = None
    """The same, as `Store.write` takes it; None where it is no configuration."""
    seen: object = None
    """The store's own mark of when that was, for the comparison."""


class Store(Protocol):
    """Keeps the routes for one of Traefik's providers; its methods raise `Retryable`."""

    provider: str
    """As Traefik's API names it after the `@`."""

    async def read(self, service: str) -> Found:
        """All that is there of a service; no entries: nothing."""

    async def write(self, service: str, document: Mapping[str, Any], over: Found) -> bool:
        """Put a configuration in the place of what was found; False: that has changed since.

        Args:
            service: whose it is.
            document: routers, services and middlewares, below `http`; all of the service's.
            over: what was read; if it is not there any more, nothing is written.
        """

    async def read_pools(self, service: str) -> Found:
        """What there is of a service's pools; at least all that Aviary was told of."""

    async def write_pools(
        self, service: str, document: Mapping[str, Any], over: Found, beside: Found | None = None
    ) -> bool:
        """Put other pools in the place of those that Aviary was told of; False: these have changed.

        Args:
            service: whose they are.
            document: all pools that it was told of, and the middleware that says which.
            over: what was read of them.
            beside: what was read of the route, where that must not have changed either.
        """

    async def pooled(self) -> Sequence[str]:
        """Services that Aviary was told pools of."""

    def who(self, service: str) -> str:
        """Who wrote last, for a person; empty where that is not known."""

    async def aclose(self) -> None:
        """Let go of connections."""


def flatten(value: Any, path: str = "") -> dict[str, str]:
    """A configuration as flat entries: names and numbers of lists joined by `/`, values as text."""
    if isinstance(value, Mapping):
        inner = [(str(name), one) for name, one in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(str(number), one) for number, one in enumerate(value)]
    else:
        return {path: str(value).lower() if isinstance(value, bool) else str(value)}
    found: dict[str, str] = {}
    for name, one in inner:
        found |= flatten(one, f"{path}/{name}" if path else name)
    return found
