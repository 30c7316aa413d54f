"""Deployers, made of what a catalog says and the settings know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.connections import Connection
from adapters.errors import Retryable, Terminal
from adapters.kinds import Shared
from adapters.ports import Deployer
from aviary.discreet import discreet
from aviary.registry import BrokenKindError, Registry
from schemas.deploy_spec import DeploySpec
from schemas.ids import Cell

OWNER: Final = "aviary"
"""Who has put up what an installation without a cell puts up."""


def owner_of(cell: Cell) -> str:
    """The name that is written on all that the deployers of an installation make."""
    return f"{OWNER}-{cell.name}" if cell.name else OWNER


class Deployers:
    """One deployer for each kind and connection, made when it is first asked for.

    Args:
        registry: the kinds that there are.
        connections: of the settings, by name.
        owner: written on what they make; they touch nothing else.
        shared: what all adapters share.
    """

    def __init__(
        self, registry: Registry, connections: Mapping[str, Connection], owner: str, shared: Shared
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._owner = owner
        self._shared = shared
        self._made: dict[tuple[str, str | None], Deployer] = {}

    def __call__(self, spec: DeploySpec) -> Deployer:
        """The deployer of a specification, which is told the recipe with each order."""
        key = (spec.kind, spec.connection)
        if key not in self._made:
            self._made[key] = make_deployer(
                spec, self._registry, self._connections, self._owner, self._shared
            )
        return self._made[key]

    async def aclose(self) -> None:
        """Close all that were made; what they put up stays up."""
        for made in self._made.values():
            await made.aclose()


def make_deployer(
    spec: DeploySpec,
    registry: Registry,
    connections: Mapping[str, Connection],
    owner: str,
    shared: Shared,
) -> Deployer:
    """Make the deployer of a plan.

    Raises:
        Terminal: its kind is not installed (any more), or can't be used.
        Retryable: its connection is not among those of the settings (any more).
    """
    known = registry.deployers
    if spec.kind not in known.names:
        raise Terminal(f"deployer kind {spec.kind}: not installed")
    try:
        kind = known.get(spec.kind)
    except BrokenKindError as error:
        raise Terminal(f"deployer kind {spec.kind}: {error}") from error
    connection = None
    if spec.connection is not None:
        connection = connections.get(spec.connection)
        if kind.connection is None or not isinstance(connection, kind.connection):
            expected = f"expected a connection {spec.connection} in AVIARY_CONNECTIONS_FILE"
            raise Retryable(f"deployer kind {spec.kind}: {expected}")
    try:
        made = discreet(kind.make(connection, owner, shared), connection)
    except Exception as error:  # noqa: BLE001 - other people's code, which may raise anything
        text = f"deployer kind {spec.kind}: {error}"
        text = connection.hide(text) if connection else text
        # Not with its cause, whose text may hold a secret.
        raise (Retryable if isinstance(error, Retryable) else Terminal)(text) from None
    if not isinstance(made, Deployer):
        raise Terminal(f"deployer kind {spec.kind}: {type(made).__name__} is no Deployer")
    return made
