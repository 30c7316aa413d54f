"""Memory, as a kind of router.

Here belongs a router that keeps its routes in the process, for tests and trials. What it must do to
pass for one does not: `tests/contract` says it.
"""

from __future__ import annotations

from typing import Final

from adapters.connections import Connection
from adapters.kinds import NoOptions, RouterKind, Shared
from adapters.ports import Router
from adapters.routers.memory.router import CAPABILITIES
from schemas.capabilities import Counting


def _make(_: NoOptions, __: Connection | None, ___: Shared) -> Router:
    from adapters.routers.memory.trial import TrialRouter  # noqa: PLC0415 - only where it is used

    return TrialRouter()


MEMORY: Final = RouterKind[NoOptions, Connection](
    name="memory",
    text="Keeps routes in memory and moves no traffic: for tests and first steps.",
    make=_make,
    # No sentinel of another process could see its leases.
    capabilities=CAPABILITIES.model_copy(
        update={"counts": Counting.NONE, "instances": False, "leases": False}
    ),
)
