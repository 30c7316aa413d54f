"""What a flag of flagd can do."""

from __future__ import annotations

from typing import Final

from schemas.audience import MOST_MATCHES, AudienceBy
from schemas.capabilities import AudienceTerms, Capabilities, Fence, StickyBy, TotalGrid

CAPABILITIES: Final = Capabilities(
    weights=TotalGrid(total=10_000),
    sticky=(StickyBy.TARGETING_KEY,),
    audiences=(AudienceBy.CONTEXT,),
    audience_terms=AudienceTerms(
        prefixes=(AudienceBy.CONTEXT,),
        negated=(AudienceBy.CONTEXT,),
        all_of=True,
        kept=True,
        matches=MOST_MATCHES,
    ),
    flags=True,
    fence=Fence.LOCK,
)
