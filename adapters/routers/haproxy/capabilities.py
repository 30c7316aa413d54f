"""What HAProxy can do, as Aviary sets it up."""

from __future__ import annotations

from typing import Final

from schemas.audience import NAMED, AudienceBy
from schemas.capabilities import (
    AudienceTerms,
    Capabilities,
    Counting,
    Fence,
    PlatformError,
    StickyBy,
    TotalGrid,
)

WEIGHTS: Final = TotalGrid(total=10_000)
"""The buckets of users: 0.01 percent is one of them. It never changes, or users would move."""

RESPONSES: Final = "haproxy_backend_http_responses_total"
"""What the pack `haproxy` counts errors by."""

CAPABILITIES: Final = Capabilities(
    weights=WEIGHTS,
    sticky=(StickyBy.HEADER, StickyBy.COOKIE),
    forced=(AudienceBy.HEADER, AudienceBy.COOKIE),
    audiences=(*NAMED, AudienceBy.PATH, AudienceBy.METHOD, AudienceBy.NETWORK),
    audience_terms=AudienceTerms(
        prefixes=(*NAMED, AudienceBy.PATH),
        negated=(*NAMED, AudienceBy.PATH, AudienceBy.METHOD, AudienceBy.NETWORK),
        all_of=True,
        matches=100,
    ),
    apart=True,
    counts=Counting.ROUTER,
    counters=(RESPONSES,),
    instances=True,
    registers=True,
    endpoints=True,
    fence=Fence.LOCK,
    platform_errors=(
        PlatformError(status=502, when="an instance broke off its answer", counted=True),
        PlatformError(status=503, when="no instance took the request", counted=True),
        PlatformError(status=504, when="no instance answered in time", counted=True),
        PlatformError(status=404, when="no service has the host that was asked for", counted=False),
    ),
)
