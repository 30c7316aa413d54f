"""Processes of this machine, as a kind of deployer.

Here belongs what starts, finds, asks and ends processes, and the recipe that says how. What a
service does in them does not, and no router is known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import Field, model_validator

from adapters.connections import Connection
from adapters.deployers.process.recipe import ProcessRecipe
from adapters.kinds import DeployerKind, Shared
from adapters.ports import Deployer
from schemas.catalog_check import Finding

_DEFAULT_FOLDER: Final = ".aviary/processes"


class ProcessConnection(Connection):
    """Where processes keep their state, and what ports they may have."""

    connection_kind: ClassVar[str] = "process"

    directory: str = Field(
        default=_DEFAULT_FOLDER,
        min_length=1,
        max_length=4096,
        description="Folder of their state and logs, on a local disk; below the worker's folder "
        "if relative.",
    )
    first_port: int = Field(default=20_000, ge=1024, le=65_535)
    last_port: int = Field(default=29_999, ge=1024, le=65_535)

    @model_validator(mode="after")
    def _ports_in_order(self) -> Any:
        if self.first_port > self.last_port:
            raise ValueError("expected first_port to be at most last_port")
        return self

    @property
    def ports(self) -> range:
        """The ports that instances may have."""
        return range(self.first_port, self.last_port + 1)


def _make(connection: ProcessConnection | None, owner: str, shared: Shared) -> Deployer:
    from adapters.deployers.process.deployer import (  # noqa: PLC0415 - only where it is used
        ProcessDeployer,
    )

    where = connection or ProcessConnection()
    return ProcessDeployer(Path(where.directory), owner, ports=where.ports, client=shared.http)


def _check(recipe: ProcessRecipe, connection: ProcessConnection | None) -> Iterator[Finding]:
    # Beside the recipe stands how many instances there shall be, two versions of them at most.
    instances, ports = getattr(recipe, "instances", 1), (connection or ProcessConnection()).ports
    if 2 * instances > len(ports):
        expected = f"at most {len(ports) // 2}: two versions share {len(ports)} ports"
        yield Finding(("instances",), instances, expected)


PROCESS: Final = DeployerKind[ProcessRecipe, ProcessConnection](
    name="process",
    text="Processes of the worker's machine: for first steps, and for what runs on one machine.",
    options=ProcessRecipe,
    connection=ProcessConnection,
    check=_check,
    make=_make,
)
"""Versions as processes of the worker's machine."""
