"""What a site has, whatever the router."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from adapters.ports import Router

SERVICE: Final = "bench"
OLD: Final = "a"
NEW: Final = "b"
WITHIN_S: Final = 30.0
"""Seconds in which a change arrives, on a busy machine."""


class Site(Protocol):
    """A router with its server, and one service in two versions."""

    @property
    def router(self) -> Router: ...

    @property
    def port(self) -> int:
        """Where users send their requests."""

    async def bare(self, weight: int, generation: int) -> None:
        """Change the weight by the platform's own command alone, confirmed by nobody."""

    async def restart(self) -> None:
        """Kill the server, and start it on what it kept."""


def rename(path: Path, text: str) -> None:
    """Put a file in the place of another, at once."""
    fresh = path.with_name(".bare.tmp")
    fresh.write_text(text)
    fresh.rename(path)
