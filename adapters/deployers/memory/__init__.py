"""Memory, as a kind of deployer.

Here belongs a deployer whose instances are entries of a table in the process, for tests and trials.
What it must do to pass for one does not: `tests/contract` says it.
"""

from __future__ import annotations

from typing import Final

from adapters.connections import Connection
from adapters.kinds import DeployerKind, NoOptions, Shared
from adapters.ports import Deployer


def _make(_: Connection | None, owner: str, __: Shared) -> Deployer:
    from adapters.deployers.memory.deployer import (  # noqa: PLC0415 - only where it is used
        MemoryDeployer,
    )

    return MemoryDeployer(owner=owner)


MEMORY: Final = DeployerKind[NoOptions, Connection](
    name="memory",
    text="Keeps versions in memory and starts nothing: for tests and first steps.",
    make=_make,
    image=True,
)
