"""Routes in a flag's definition, and the other way round. Pure.

Of a flag, Aviary writes `state`, `defaultVariant`, `targeting` and the metadata that begin with
`aviary.`; variants and other metadata are the team's. flagd hands the metadata out with every
evaluation, so that an application can log which generation it acts upon.

Weights are parts of 10,000: flagd takes whole numbers only (0.5 would be none). The canary comes
first among the fractions, so that who has it keeps it while its part grows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from adapters.errors import Retryable, Terminal, UnknownRoute
from adapters.routers.flagd.capabilities import CAPABILITIES
from schemas.route import Route

ENABLED: Final = "ENABLED"
_MARK: Final = "aviary."
_GENERATION: Final = f"{_MARK}generation"
_ALL: Final = 100.0


class Served(NamedTuple):
    """What a flag does."""

    state: str
    default: str
    targeting: Mapping[str, Any]


class Definition:
    """One flag of a document.

    Args:
        key: of the flag.
        flag: its definition.

    Raises:
        Retryable: it is none, which somebody must repair.
    """

    def __init__(self, key: str, flag: object) -> None:
        if not isinstance(flag, dict) or not isinstance(flag.get("variants"), dict):
            raise Retryable(f"flag {key}: expected an object with variants")
        self.key = key
        self._flag: Mapping[str, Any] = flag

    @property
    def variants(self) -> Mapping[str, Any]:
        """The values by the name of their variant."""
        variants: Mapping[str, Any] = self._flag["variants"]
        return variants

    @property
    def served(self) -> Served:
        """What it does now."""
        flag = self._flag
        return Served(
            str(flag.get("state")), str(flag.get("defaultVariant")), flag.get("targeting") or {}
        )

    @property
    def is_marked(self) -> bool:
        """Whether a route of Aviary's was written."""
        return _GENERATION in self._metadata

    def route(self, service: str) -> Route:
        """The route that was written last; without one, all to the default variant.

        Raises:
            UnknownRoute: it has no default variant, so that nobody says what is stable.
            Terminal: its mark is no route.
        """
        if self.is_marked:
            return self._marked(service)
        default = self.served.default
        if default not in self.variants:
            raise UnknownRoute(
                f"{service}: flag {self.key} has defaultVariant {default}, expected one of "
                f"{', '.join(sorted(self.variants)) or 'its variants, of which it has none'}"
            )
        return Route.split(service, default)

    def with_route(self, route: Route) -> dict[str, Any]:
        """The definition with a route in it."""
        wanted = serving(route)
        kept = {name: value for name, value in self._metadata.items() if not name.startswith(_MARK)}
        return {
            **self._flag,
            "state": wanted.state,
            "defaultVariant": wanted.default,
            "targeting": dict(wanted.targeting),
            "metadata": {**kept, **_marks(route)},
        }

    @property
    def _metadata(self) -> Mapping[str, Any]:
        metadata = self._flag.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    def _marked(self, service: str) -> Route:
        marks = self._metadata
        try:
            return Route.split(
                service,
                marks.get(f"{_MARK}stable", ""),
                marks.get(f"{_MARK}canary"),
                marks.get(f"{_MARK}weight", 0.0),
                generation=marks[_GENERATION],
                owner=marks.get(f"{_MARK}owner", ""),
            )
        except ValidationError as error:
            wrong = ", ".join(str(one["loc"][-1]) for one in error.errors() if one["loc"])
            raise Terminal(
                f"{service}: flag {self.key} has metadata {_MARK}* that are no route of Aviary's "
                f"({wrong}); take them away, or put back what was there"
            ) from None


def flag_in(document: Mapping[str, Any], key: str) -> Definition | None:
    """The definition of a flag; None where there is none.

    Raises:
        Retryable: the document has no flags, or the flag is no definition.
    """
    flags = document.get("flags")
    if not isinstance(flags, dict):
        raise Retryable("flags: expected an object with a definition for each key")
    return Definition(key, flags[key]) if key in flags else None


def serving(route: Route) -> Served:
    """What a flag has to do for a route.

    Who has no targeting key gets the default variant, and so the canary only once it has all.
    """
    if route.canary is None or not route.weight:
        return Served(ENABLED, route.stable, {})
    if route.weight == _ALL:
        return Served(ENABLED, route.canary, {})
    parts = CAPABILITIES.weights.nearest(route.weight)
    fractions = [[route.canary, parts.canary], [route.stable, parts.stable]]
    return Served(ENABLED, route.stable, {"fractional": fractions})


def _marks(route: Route) -> dict[str, Any]:
    marks: dict[str, Any] = {
        _GENERATION: route.generation,
        f"{_MARK}owner": route.owner,
        f"{_MARK}stable": route.stable,
    }
    if route.canary is not None:
        marks |= {f"{_MARK}canary": route.canary, f"{_MARK}weight": route.weight}
    return marks
