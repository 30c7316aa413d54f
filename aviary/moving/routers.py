"""Which routers of manifests can be used here: of a kind that is installed, with a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from adapters.connections import Connection
from aviary.kinds import registry
from aviary.moving.drafts import RouterDraft
from aviary.moving.writing import RouterChoice
from aviary.registry import Broken, Registry
from aviary.routers import CatalogKinds


class Chooser:
    """Holds the routers of a manifest against the kinds and connections that there are.

    Args:
        connections: of the settings, by name.
        given: whether another router stands for those that can't be used.
        known: the kinds that there are; those of this process where left out.
    """

    def __init__(
        self,
        connections: Mapping[str, Connection],
        *,
        given: bool,
        known: Registry | None = None,
    ) -> None:
        self._connections = connections
        self._known = known or registry()
        self._kinds = CatalogKinds(self._known, connections)
        self._given = given

    def __call__(self, drafts: Sequence[RouterDraft]) -> RouterChoice:
        """The router, or a list of several, or why not."""
        wanted = [{"kind": draft.kind, **draft.options} for draft in drafts]
        why = dict.fromkeys(filter(None, map(self._lacking, wanted)))
        written: Any = wanted[0] if len(wanted) == 1 else wanted
        if not why:
            return RouterChoice(spec=written)
        instead = "the router of the defaults is used" if self._given else "TODO"
        return RouterChoice(wanted=written, why=f"{instead}: {'; '.join(why)}; else it would be:")

    def _lacking(self, wanted: dict[str, Any]) -> str:
        """Why it can't be used, empty where it can; its connection is filled in."""
        name = wanted["kind"]
        kind = next((one for one in self._known.routers.every() if one.name == name), None)
        if kind is None or isinstance(kind, Broken):
            return f"router kind {name} is not installed here"
        if kind.needs_connection and kind.connection is not None:
            fitting = kind.connection
            names = [key for key, one in self._connections.items() if isinstance(one, fitting)]
            what = f"connection of kind {fitting.connection_kind}"
            if len(names) != 1:
                wanted["connection"] = "TODO"
                many = f"more than one {what}" if names else f"no {what}"
                return f"AVIARY_CONNECTIONS_FILE has {many}"
            wanted["connection"] = names[0]
        try:
            self._kinds.checked(wanted)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            at = ".".join(map(str, found["loc"]))
            return f"router kind {name}: {at}: {found['msg']}"
        return ""
