"""What nginx can do with Aviary's Lua module."""

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

CAPABILITIES: Final = Capabilities(
    # The total stands in the Lua module, too; it never changes, or users would move.
    weights=TotalGrid(total=10_000),
    sticky=(StickyBy.HEADER, StickyBy.COOKIE),
    forced=(AudienceBy.HEADER, AudienceBy.COOKIE),
    audiences=(*NAMED, AudienceBy.PATH, AudienceBy.METHOD, AudienceBy.NETWORK),
    audience_terms=AudienceTerms(
        prefixes=(*NAMED, AudienceBy.PATH),
        regexes=(*NAMED, AudienceBy.PATH),
        negated=(*NAMED, AudienceBy.PATH, AudienceBy.METHOD, AudienceBy.NETWORK),
        all_of=True,
        kept=True,
        matches=100,
    ),
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
