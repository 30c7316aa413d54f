"""What Caddy can do, as Aviary sets it up."""

from __future__ import annotations

from typing import Final

from schemas.capabilities import Capabilities, Counting, Fence, PlatformError, StickyBy, TotalGrid
from schemas.route import AudienceBy

WEIGHTS: Final = TotalGrid(total=10_000)
"""The buckets of users: 0.01 percent is one of them. It never changes, or users would move."""

CAPABILITIES: Final = Capabilities(
    weights=WEIGHTS,
    sticky=(StickyBy.HEADER, StickyBy.COOKIE),
    forced=(AudienceBy.HEADER, AudienceBy.COOKIE),
    audiences=(AudienceBy.HEADER, AudienceBy.COOKIE),
    apart=True,
    counts=Counting.ROUTER,
    registers=True,
    endpoints=True,
    fence=Fence.LOCK,
    platform_errors=(
        PlatformError(status=502, when="no instance took the request, or it broke", counted=True),
        PlatformError(status=503, when="no instance is healthy", counted=True),
        PlatformError(status=504, when="no instance answered in time", counted=True),
        PlatformError(status=404, when="the service has no route", counted=False),
    ),
)
