"""What an Application Load Balancer can do, as Aviary uses it."""

from __future__ import annotations

from typing import Final

from schemas.capabilities import Capabilities, Counting, Fence, PlatformError, RelativeGrid
from schemas.route import AudienceBy

MOST_WEIGHT: Final = 999
"""Of one target group in a rule."""

WEIGHTS: Final = RelativeGrid(most=MOST_WEIGHT)

CAPABILITIES: Final = Capabilities(
    weights=WEIGHTS,
    instances=True,
    registers=True,
    fence=Fence.READ_BACK,
    platform_errors=(
        PlatformError(status=502, when="no connection to a target, or it broke", counted=False),
        PlatformError(status=503, when="the target group has no target", counted=False),
        PlatformError(status=504, when="no target answered in time", counted=False),
    ),
)
"""Each request is drawn anew."""


def kept(
    seconds: int, counts: Counting = Counting.NONE, forced: tuple[AudienceBy, ...] = ()
) -> Capabilities:
    """The same where a cookie keeps a user with a target group for so long; 0: it does not.

    Args:
        seconds: for which a user stays.
        counts: who counts requests.
        forced: by what there are rules for those that ask for a version.
    """
    changed = {"pinned": seconds > 0, "counts": counts, "forced": forced}
    return CAPABILITIES.model_copy(update=changed)
