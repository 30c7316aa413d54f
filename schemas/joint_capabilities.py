"""What several routers can do together, of what each of them can. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from schemas.capabilities import (
    AudienceTerms,
    Capabilities,
    CommonGrid,
    Counting,
    Fence,
    Grid,
    TotalGrid,
)

T = TypeVar("T")

_COUNTING: Final = (Counting.NONE, Counting.METRICS, Counting.ROUTER)
"""From the least to the most."""
_FENCES: Final = (Fence.READ_BACK, Fence.LOCK, Fence.COMPARE)
"""From the weakest to the strongest."""


def joint(each: Sequence[Capabilities]) -> Capabilities:
    """What all of them can do, of routers for one service.

    Each splits the requests that it gets: so a weight, or a wish of a caller, counts only where
    all can do it. Health is the exception: those that know of instances tell for all.
    """
    return Capabilities(
        weights=_common([one.weights for one in each]),
        sticky=_in_all(one.sticky for one in each),
        sticky_choices=_in_all(one.sticky_choices for one in each),
        pinned=any(one.pinned for one in each),
        forced=_in_all(one.forced for one in each),
        audiences=_in_all(one.audiences for one in each),
        audience_terms=_terms([one.audience_terms for one in each]),
        apart=all(one.apart for one in each),
        lanes=all(one.lanes for one in each),
        mirroring=all(one.mirroring for one in each),
        mirror_reads=all(one.mirror_reads for one in each),
        mirror_mark=all(one.mirror_mark for one in each),
        counts=min((one.counts for one in each), key=_COUNTING.index),
        users=all(one.users for one in each),
        instances=any(one.instances for one in each),
        registers=all(one.registers for one in each),
        endpoints=all(one.endpoints for one in each),
        leases=all(one.leases for one in each),
        flags=all(one.flags for one in each),
        fence=min((one.fence for one in each), key=_FENCES.index),
        platform_errors=tuple(
            dict.fromkeys(error for one in each for error in one.platform_errors)
        ),
    )


def _terms(each: Sequence[AudienceTerms]) -> AudienceTerms:
    return AudienceTerms(
        prefixes=_in_all(one.prefixes for one in each),
        regexes=_in_all(one.regexes for one in each),
        negated=_in_all(one.negated for one in each),
        all_of=all(one.all_of for one in each),
        kept=all(one.kept for one in each),
        mixed=all(one.mixed for one in each),
        beside=next((one.beside for one in each if one.beside), ""),
        matches=min(one.matches for one in each),
    )


def _common(grids: Iterable[Grid]) -> Grid:
    """The weights that all of these can do."""
    simple = dict.fromkeys(
        one for grid in grids for one in (grid.of if isinstance(grid, CommonGrid) else (grid,))
    )
    # 10,000 parts are every weight that a catalog can name: nothing is left out.
    every = TotalGrid(total=10_000)
    narrow = [grid for grid in simple if grid != every] or [every]
    return narrow[0] if len(narrow) == 1 else CommonGrid(of=tuple(narrow))


def _in_all(each: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    """What is in all of them, in the order of the first."""
    first, *others = each
    return tuple(one for one in first if all(one in other for other in others))
