"""What a router claims to be able to do: by that, the modules of the suite are run with it."""

from __future__ import annotations

import functools

from schemas.audience import AudienceBy
from schemas.capabilities import Capabilities, Counting, Fence, can_do

EVERY = frozenset(
    {
        "any weight",
        "fence",
        "counts",
        "counters",
        "users",
        "sticky",
        "forced by header",
        "forced by cookie",
        *(f"audience by {one}" for one in AudienceBy),
        "kept audiences",
        "sticky choice",
        "lanes",
        "mirroring",
        "instances",
        "registers",
        "endpoints",
        "leases",
    }
)


@functools.cache  # it tries every weight, and is asked at each test that is collected
def claimed(can: Capabilities) -> frozenset[str]:
    """The claims, by name."""
    said = {
        "any weight": all(can_do(can.weights, share / 100) for share in range(10_001)),
        "fence": can.fence in {Fence.COMPARE, Fence.LOCK},
        "counts": can.counts is not Counting.NONE,
        "counters": bool(can.counters),
        "users": can.users,
        "sticky": bool(can.sticky),
        "sticky choice": bool(can.sticky_choices),
        "kept audiences": can.audience_terms.kept,
        "lanes": can.lanes,
        "mirroring": can.mirroring,
        "instances": can.instances,
        "registers": can.registers,
        "endpoints": can.endpoints,
        "leases": can.leases,
    }
    by = {f"forced by {one}" for one in can.forced} | {
        f"audience by {one}" for one in can.audiences
    }
    return frozenset({name for name, is_so in said.items() if is_so} | by)
