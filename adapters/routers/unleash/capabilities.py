"""What a flag of Unleash can do."""

from __future__ import annotations

from typing import Final

from schemas.capabilities import Capabilities, Fence, StickyBy, TotalGrid

CAPABILITIES: Final = Capabilities(
    weights=TotalGrid(total=100),
    sticky=(StickyBy.TARGETING_KEY,),
    flags=True,
    fence=Fence.READ_BACK,
)
"""Whole percent: Unleash takes `12.5` and `101` as well, and then gives the flag to nobody."""
