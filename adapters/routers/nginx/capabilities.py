"""What nginx can do with Aviary's Lua module."""

from __future__ import annotations

from typing import Final

from schemas.capabilities import Capabilities, Counting, Fence, PlatformError, StickyBy, TotalGrid
from schemas.route import AudienceBy

CAPABILITIES: Final = Capabilities(
    # The total stands in the Lua module, too; it never changes, or users would move.
    weights=TotalGrid(total=10_000),
    sticky=(StickyBy.HEADER, StickyBy.COOKIE),
    forced=(AudienceBy.HEADER, AudienceBy.COOKIE),
    audiences=(AudienceBy.HEADER, AudienceBy.COOKIE),
    apart=True,
    counts=Counting.ROUTER,
    users=True,
    registers=True,
    endpoints=True,
    fence=Fence.COMPARE,
    platform_errors=(
        PlatformError(status=502, when="no instance took the request, or it broke", counted=True),
        PlatformError(status=504, when="no instance answered in time", counted=True),
        PlatformError(status=404, when="the service has no route", counted=False),
        PlatformError(status=503, when="no instances of its version are known", counted=False),
    ),
)
