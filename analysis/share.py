"""Does the observed share of requests agree with the weight that the router confirmed? Pure.

Requests of one user go to one version (sticky sessions), so they are no independent draws:
`cluster` of them count as one. The test is a two-sided binomial one on the counts so reduced.
"""

from __future__ import annotations

import math

from schemas.verdict import Share

DEFAULT_CLUSTER = 50
"""Requests that count as one draw: generous, so that a few busy users never look like a fault."""
DEFAULT_DOUBT = 1e-6
"""Chance below which an obedient router is no longer believed."""
_FULL = 0.99


def judge_share(
    canary: float,
    total: float,
    weight: float,
    *,
    cluster: int = DEFAULT_CLUSTER,
    doubt: float = DEFAULT_DOUBT,
) -> Share:
    """Compare the requests that started on the canary with its weight.

    Args:
        canary: requests that started on the canary.
        total: requests that started on either version.
        weight: the canary's weight, percent. At 0 a single request is enough; 100 allows for the
            few that fall back to stable while an instance of the canary is away.
        cluster: requests that count as one draw.
        doubt: chance below which the router is not believed.
    """
    if total <= 0:
        return Share.TOO_LITTLE
    if weight == 0:
        return Share.DISOBEYED if canary > 0 else Share.AGREES
    p = min(weight / 100, _FULL)
    draws = total / cluster
    if _tail(canary / cluster, draws, p) < doubt:
        return Share.DISOBEYED
    wrong = (0.0,) if p == _FULL else (0.0, draws)
    blind = any(_tail(extreme, draws, p) >= doubt for extreme in wrong)
    return Share.TOO_LITTLE if blind else Share.AGREES


def _tail(k: float, n: float, p: float) -> float:
    """Chernoff's bound on the chance of a share at least as far from `p` as k/n, both sides.

    exp(-n·KL(k/n || p)) bounds each side (Hoeffding 1963, theorem 1); it holds for counts that are
    not whole, too.
    """
    q = min(max(k / n, 0.0), 1.0)
    divergence = sum(x * math.log(x / y) for x, y in ((q, p), (1 - q, 1 - p)) if x > 0)
    return min(1.0, 2 * math.exp(-n * divergence))
