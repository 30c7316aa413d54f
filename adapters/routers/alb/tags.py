"""Routes as tags of a listener rule, which have no compare-and-set. Pure.

Each write has tags of its own, with its generation in their keys: a late write does not replace
those of a newer one, and so finds it when it looks again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import ValidationError

from schemas.route import Route

SERVICE: Final = "aviary:service"
"""Tag of the rules and of the target groups of a service."""
ASKS: Final = "aviary:asks"
"""Tag of the rules whose requests ask for the canary (`always`), or for stable (`never`)."""
VERSION: Final = "aviary:version"
"""Tag of the target group of a version."""

_KEY: Final = re.compile(r"^aviary:(0|[1-9][0-9]{0,18}):(stable|canary|weight|owner)$")
_FIELDS: Final = frozenset({"stable", "canary", "weight", "owner"})

Tags = Mapping[str, str]


def tags_of(route: Route) -> dict[str, str]:
    """What a rule is tagged with for a route."""
    fields = {
        "stable": route.stable,
        "canary": route.canary or "",
        "weight": f"{route.weight:.2f}",
        "owner": route.owner,
    }
    return {f"aviary:{route.generation}:{name}": value for name, value in fields.items()}


def route_in(service: str, tags: Tags) -> Route | None:
    """The newest route in the tags of a rule; what is no whole route of ours is passed over."""
    for generation in sorted(_generations(tags), reverse=True):
        fields = {name: tags.get(f"aviary:{generation}:{name}") for name in _FIELDS}
        try:
            return Route.split(
                service,
                fields["stable"] or "",
                fields["canary"] or None,
                float(fields["weight"] or ""),
                generation=generation,
                owner=fields["owner"] or "",
            )
        except (ValidationError, ValueError):
            continue
    return None


def older_than(generation: int, tags: Tags) -> list[str]:
    """The keys of routes before this one."""
    return [key for key in tags if (found := _KEY.match(key)) and int(found.group(1)) < generation]


def keys_of(generation: int, tags: Tags) -> list[str]:
    """The keys of the route of a generation."""
    return [key for key in tags if (found := _KEY.match(key)) and int(found.group(1)) == generation]


def _generations(tags: Iterable[str]) -> set[int]:
    return {int(found.group(1)) for key in tags if (found := _KEY.match(key))}
