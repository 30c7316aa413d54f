"""What a flag of flagd can do."""

from __future__ import annotations

from typing import Final

from schemas.capabilities import Capabilities, Fence, StickyBy, TotalGrid

CAPABILITIES: Final = Capabilities(
    weights=TotalGrid(total=10_000),
    sticky=(StickyBy.TARGETING_KEY,),
    flags=True,
    fence=Fence.LOCK,
)
