"""What routes of the Gateway API can do, whatever implements it."""

from __future__ import annotations

from typing import Final

from adapters.routers.kubernetes.parts import WEIGHTS
from schemas.capabilities import Capabilities, Fence, PlatformError
from schemas.route import AudienceBy

CAPABILITIES: Final = Capabilities(
    weights=WEIGHTS,
    forced=(AudienceBy.HEADER, AudienceBy.COOKIE),
    audiences=(AudienceBy.HEADER, AudienceBy.COOKIE),
    mirroring=True,
    instances=True,
    registers=True,
    fence=Fence.COMPARE,
    platform_errors=(
        PlatformError(status=500, when="a Service of the rule is missing", counted=False),
        PlatformError(status=503, when="no instance is ready", counted=False),
        PlatformError(status=404, when="no rule takes the request", counted=False),
    ),
)
