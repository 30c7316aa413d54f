"""What Traefik can do, as Aviary sets it up."""

from __future__ import annotations

from enum import StrEnum
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


class Sticky(StrEnum):
    """What keeps a user on a version."""

    NONE = "none"
    """Nothing: each request is drawn anew."""
    ADDRESS = "address"
    """A hash of the address that the connection comes from, with the weights."""
    COOKIE = "cookie"
    """A cookie with the version that was drawn first."""


WEIGHTS: Final = TotalGrid(total=10_000)
"""The total of a split: 0.01 percent is one part."""

FILE: Final = Capabilities(
    weights=WEIGHTS,
    forced=(AudienceBy.HEADER, AudienceBy.COOKIE),
    audiences=(*NAMED, AudienceBy.PATH, AudienceBy.METHOD, AudienceBy.NETWORK),
    audience_terms=AudienceTerms(
        prefixes=(*NAMED, AudienceBy.PATH),
        regexes=(*NAMED, AudienceBy.PATH),
        negated=(*NAMED, AudienceBy.PATH, AudienceBy.METHOD, AudienceBy.NETWORK),
        all_of=True,
        matches=100,
    ),
    apart=True,
    mirroring=True,
    mirror_reads=True,
    counts=Counting.ROUTER,
    instances=True,
    registers=True,
    endpoints=True,
    fence=Fence.LOCK,
    leases=True,
    platform_errors=(
        PlatformError(status=502, when="no connection to an instance, or it broke", counted=True),
        PlatformError(status=503, when="no instance is healthy", counted=False),
        PlatformError(status=504, when="no instance answered in time", counted=True),
        PlatformError(status=404, when="no router has what was asked for", counted=False),
    ),
)
"""With routes in files."""

ETCD: Final = FILE.model_copy(update={"fence": Fence.COMPARE, "leases": False})
"""With routes in etcd, which compares and writes in one transaction. No leases are kept there."""


def kept(can: Capabilities, sticky: Sticky) -> Capabilities:
    """The same where something keeps users on a version."""
    if sticky is Sticky.ADDRESS:
        return can.model_copy(update={"sticky": (StickyBy.ADDRESS,)})
    return can.model_copy(update={"pinned": sticky is Sticky.COOKIE})
