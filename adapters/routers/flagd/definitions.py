"""Routes in a flag's definition, and the other way round. Pure.

Of a flag, Aviary writes `state`, `defaultVariant`, `targeting` and the metadata that begin with
`aviary.`; variants and other metadata are the team's. flagd hands the metadata out with every
evaluation, so that an application can log which generation it acts upon.

Weights are parts of 10,000: flagd takes whole numbers only (0.5 would be none). The canary comes
first among the fractions, so that who has it keeps it while its part grows. Users fall into the
same part whichever rule asks for it, so that this is so across audiences as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from adapters.errors import Retryable, Terminal, UnknownRoute
from adapters.routers.flagd.capabilities import CAPABILITIES
from schemas.audience import Audience, How, Term
from schemas.route import AudienceShare, Route

ENABLED: Final = "ENABLED"
_MARK: Final = "aviary."
_GENERATION: Final = f"{_MARK}generation"
_AUDIENCE: Final = f"{_MARK}audience"
_KEPT: Final = f"{_MARK}kept"
_SHARES: Final = TypeAdapter(tuple[AudienceShare, ...])
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
                **_audiences(marks),
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
    if route.canary is None or not any(tier.weight for tier in route.tiers):
        return Served(ENABLED, route.stable, {})
    *some, everybody = route.tiers
    rest = _split(route, everybody.weight)
    rules: list[Any] = []
    for tier in some:
        if tier.audience is not None:
            rules += [_rule(tier.audience), _split(route, tier.weight)]
    if rules:
        return Served(ENABLED, route.stable, {"if": [*rules, rest]})
    if isinstance(rest, str):
        return Served(ENABLED, rest, {})
    return Served(ENABLED, route.stable, rest)


def _split(route: Route, weight: float) -> str | dict[str, Any]:
    """Who gets what: one variant, or the rule that splits users."""
    if route.canary is None or not weight:
        return route.stable
    if weight == _ALL:
        return route.canary
    parts = CAPABILITIES.weights.nearest(weight)
    return {"fractional": [[route.canary, parts.canary], [route.stable, parts.stable]]}


def _rule(audience: Audience) -> dict[str, Any]:
    """Whether a user is of an audience, in JsonLogic."""
    if (terms := audience.terms) is not None:
        return _every(terms)
    matches = [
        _every(
            [Term(one.by, one.name, one.how, one.negated, (one.value,)) for one in match.conditions]
        )
        for match in audience.any_of
    ]
    return {"or": matches}


def _every(terms: Sequence[Term]) -> dict[str, Any]:
    rules = [_term(one) for one in terms]
    return rules[0] if len(rules) == 1 else {"and": rules}


def _term(term: Term) -> dict[str, Any]:
    field = {"var": term.name}
    if term.how is How.PREFIX:
        each = [{"starts_with": [field, value]} for value in term.values]
        rule: dict[str, Any] = each[0] if len(each) == 1 else {"or": each}
    else:
        rule = {"in": [field, list(term.values)]}
    return {"!": [rule]} if term.negated else rule


def _marks(route: Route) -> dict[str, Any]:
    marks: dict[str, Any] = {
        _GENERATION: route.generation,
        f"{_MARK}owner": route.owner,
        f"{_MARK}stable": route.stable,
    }
    if route.canary is not None:
        marks |= {f"{_MARK}canary": route.canary, f"{_MARK}weight": route.weight}
    if route.audience is not None:
        marks[_AUDIENCE] = route.audience.model_dump_json()
    if route.kept:
        marks[_KEPT] = json.dumps([one.model_dump(mode="json") for one in route.kept])
    return marks


def _audiences(marks: Mapping[str, Any]) -> dict[str, Any]:
    """Whom the route is for, as it was written.

    Raises:
        pydantic.ValidationError: it was not.
    """
    found: dict[str, Any] = {}
    if _AUDIENCE in marks:
        found["audience"] = Audience.model_validate_json(marks[_AUDIENCE])
    if _KEPT in marks:
        found["kept"] = _SHARES.validate_json(marks[_KEPT])
    return found
