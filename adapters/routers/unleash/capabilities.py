"""What a flag of Unleash can do."""

from __future__ import annotations

from typing import Final

from schemas.audience import MOST_MATCHES, AudienceBy
from schemas.capabilities import AudienceTerms, Capabilities, Fence, StickyBy, TotalGrid

CAPABILITIES: Final = Capabilities(
    weights=TotalGrid(total=100),
    sticky=(StickyBy.TARGETING_KEY,),
    audiences=(AudienceBy.CONTEXT,),
    audience_terms=AudienceTerms(
        prefixes=(AudienceBy.CONTEXT,),
        negated=(AudienceBy.CONTEXT,),
        all_of=True,
        mixed=False,
        beside="off",
        matches=MOST_MATCHES,
    ),
    flags=True,
    fence=Fence.READ_BACK,
)
"""Whole percent: Unleash takes `12.5` and `101` as well, and then gives the flag to nobody.

An audience is the constraints of one strategy, which all have to fit, each with a list of values;
who does not fit has the flag off. Regular expressions are left out: older SDKs know none.
"""
