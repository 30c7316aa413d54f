"""Which routers of manifests can be used here: of a kind that is installed, with a connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from adapters.connections import Connection
from aviary.kinds import registry
from aviary.moving.drafts import RouterDraft
from aviary.moving.writing import RouterChoice
from aviary.registry import Broken
from aviary.routers import CatalogKinds


class Chooser:
    """Holds the router of a manifest against the kinds and connections that there are.

    Args:
        connections: of the settings, by name.
        given: whether another router stands for those that can't be used.
    """

    def __init__(self, connections: Mapping[str, Connection], *, given: bool) -> None:
        self._connections = connections
        self._kinds = CatalogKinds(registry(), connections)
        self._given = given

    def __call__(self, draft: RouterDraft) -> RouterChoice:
        """The router, or why not."""
        wanted: dict[str, Any] = {"kind": draft.kind, **draft.options}
        kind = next((one for one in registry().routers.every() if one.name == draft.kind), None)
        if kind is None or isinstance(kind, Broken):
            return self._without(wanted, f"router kind {draft.kind} is not installed here")
        if kind.needs_connection and kind.connection is not None:
            names = [
                name for name, one in self._connections.items() if isinstance(one, kind.connection)
            ]
            what = f"connection of kind {kind.connection.connection_kind}"
            if len(names) != 1:
                many = f"more than one {what}" if names else f"no {what}"
                wanted["connection"] = "TODO"
                return self._without(wanted, f"AVIARY_CONNECTIONS_FILE has {many}")
            wanted["connection"] = names[0]
        try:
            self._kinds.checked(wanted)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            at = ".".join(map(str, found["loc"]))
            return self._without(wanted, f"router kind {draft.kind}: {at}: {found['msg']}")
        return RouterChoice(spec=wanted)

    def _without(self, wanted: Mapping[str, Any], why: str) -> RouterChoice:
        instead = "the router of the defaults is used" if self._given else "TODO"
        return RouterChoice(wanted=wanted, why=f"{instead}: {why}; else it would be:")
