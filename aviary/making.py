"""Adapters made of what a plan says of them, and of the connections of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from adapters.connections import Connection
from adapters.errors import Retryable, Terminal
from adapters.kinds import Shared
from aviary.discreet import discreet
from aviary.registry import BrokenKindError, Kinds
from schemas.router_spec import OfKind


def make(
    what: str,
    known: Kinds[Any],
    spec: OfKind,
    connections: Mapping[str, Connection],
    shared: Shared,
) -> tuple[Any, Any]:
    """Make an adapter of a plan; give its kind and itself.

    Args:
        what: of which port it is, for errors.
        known: the kinds of that port.
        spec: what the plan says of it.
        connections: of the settings, by name.
        shared: what all adapters share.

    Raises:
        Terminal: its kind is not installed (any more), or does not take its options.
        Retryable: its connection is not among those of the settings (any more).
    """
    of = f"{what} kind {spec.kind}"
    if spec.kind not in known.names:
        raise Terminal(f"{of}: not installed")
    try:
        kind = known.get(spec.kind)
        options = kind.options.model_validate(spec.options)
    except BrokenKindError as error:
        raise Terminal(f"{of}: {error}") from error
    except ValidationError as error:
        raise Terminal(f"{of}: options: {error}") from error
    connection = None
    if spec.connection is not None:
        connection = connections.get(spec.connection)
        if kind.connection is None or not isinstance(connection, kind.connection):
            expected = f"expected a connection {spec.connection} in AVIARY_CONNECTIONS_FILE"
            raise Retryable(f"{of}: {expected}")
    try:
        return kind, discreet(kind.make(options, connection, shared), connection)
    except Exception as error:  # noqa: BLE001 - other people's code, which may raise anything
        text = f"{of}: {error}"
        text = connection.hide(text) if connection else text
        # Not with its cause, whose text may hold a secret.
        raise (Retryable if isinstance(error, Retryable) else Terminal)(text) from None
