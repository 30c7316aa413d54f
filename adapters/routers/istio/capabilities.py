"""What VirtualServices can do."""

from __future__ import annotations

from typing import Final

from adapters.routers.kubernetes.parts import WEIGHTS
from schemas.capabilities import Capabilities, Counting, Fence, PlatformError
from schemas.route import AudienceBy

CAPABILITIES: Final = Capabilities(
    weights=WEIGHTS,
    forced=(AudienceBy.HEADER, AudienceBy.COOKIE),
    audiences=(AudienceBy.HEADER, AudienceBy.COOKIE),
    mirroring=True,
    counts=Counting.METRICS,
    instances=True,
    registers=True,
    fence=Fence.COMPARE,
    platform_errors=(
        PlatformError(status=503, when="no instance took the request", counted=False),
        PlatformError(status=504, when="no instance answered in time", counted=False),
        PlatformError(status=404, when="no route takes the request", counted=False),
    ),
)
