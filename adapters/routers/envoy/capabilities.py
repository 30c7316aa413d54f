"""What Envoy can do, as Aviary sets it up."""

from __future__ import annotations

from typing import Final

from schemas.audience import MOST_MATCHES, NAMED, AudienceBy
from schemas.capabilities import (
    AudienceTerms,
    Capabilities,
    Counting,
    Fence,
    PlatformError,
    StickyBy,
    TotalGrid,
)
from schemas.sticky import StickyChoice

WEIGHTS: Final = TotalGrid(total=10_000)
"""The total of a split: 0.01 percent is one part. It never changes, or users would move."""

COUNTERS: Final = (
    "envoy_cluster_upstream_rq_completed",
    "envoy_cluster_upstream_rq_xx",
    "envoy_cluster_upstream_rq_time_bucket",
    "envoy_cluster_upstream_rq_retry",
    "envoy_cluster_upstream_rq_timeout",
    "envoy_cluster_upstream_rq_rx_reset",
    "envoy_cluster_upstream_cx_total",
    "envoy_cluster_upstream_cx_connect_fail",
)
"""Those that the pack `envoy` asks for."""

_OF_REQUEST: Final = (AudienceBy.PATH, AudienceBy.HOST)

CAPABILITIES: Final = Capabilities(
    weights=WEIGHTS,
    sticky=(StickyBy.HEADER, StickyBy.COOKIE),
    sticky_choices=tuple(StickyChoice),
    forced=(AudienceBy.HEADER, AudienceBy.COOKIE),
    audiences=(*NAMED, *_OF_REQUEST, AudienceBy.METHOD, AudienceBy.NETWORK),
    audience_terms=AudienceTerms(
        prefixes=(*NAMED, *_OF_REQUEST),
        regexes=(*NAMED, *_OF_REQUEST),
        # Envoy has no match for a query parameter that is not there.
        negated=(
            AudienceBy.HEADER,
            AudienceBy.COOKIE,
            *_OF_REQUEST,
            AudienceBy.METHOD,
            AudienceBy.NETWORK,
        ),
        all_of=True,
        kept=True,
        matches=MOST_MATCHES,
    ),
    apart=True,
    lanes=True,
    mirroring=True,
    mirror_reads=True,
    mirror_mark=True,
    counts=Counting.ROUTER,
    users=True,
    counters=COUNTERS,
    instances=True,
    registers=True,
    endpoints=True,
    leases=True,
    fence=Fence.LOCK,
    platform_errors=(
        PlatformError(status=503, when="no instance took the request, or it broke", counted=True),
        PlatformError(status=504, when="no instance answered in time", counted=True),
        PlatformError(status=404, when="no service has the host that was asked for", counted=False),
    ),
)
