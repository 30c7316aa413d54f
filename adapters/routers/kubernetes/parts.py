"""Weights of a route as Kubernetes' objects write them."""

from __future__ import annotations

from typing import Final

from schemas.capabilities import Parts, TotalGrid, can_do
from schemas.route import Route

WEIGHTS: Final = TotalGrid(total=10_000)
_PERCENT: Final = TotalGrid(total=100)

FORCE_HEADER: Final = "x-canary"
FORCE_COOKIE: Final = "canary"
ALWAYS: Final = "always"
NEVER: Final = "never"


def parts(route: Route) -> Parts:
    """The split: in percent where that is enough, which people read more easily."""
    grid = _PERCENT if can_do(_PERCENT, route.weight) else WEIGHTS
    return grid.nearest(route.weight)
