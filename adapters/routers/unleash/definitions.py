"""Routes in the strategy of a flag, and the other way round. Pure.

In an environment, one strategy of the flag is Aviary's: that with Aviary's mark among its
parameters, or, before a first release, one that is titled `aviary`. All others are the team's. The
mark is a parameter that Unleash hands out to applications and evaluates nothing of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.errors import Terminal, UnknownRoute
from schemas.audience import TARGETING_KEY, Audience, How, Term
from schemas.base import Model, ReleaseId, Version
from schemas.route import Route

OFF: Final = "off"
ON: Final = "on"
MARK: Final = "aviary"
"""Name of the parameter, and the title of a strategy that Aviary may take over."""
STRATEGY: Final = "flexibleRollout"
"""Unleash's name of a gradual rollout."""
_ALL: Final = 1000
"""Parts of all users, in the weights of variants."""
_LONGEST: Final = 100
"""Characters of a variant's name."""
_KEPT: Final = 83
_NAMED: Final = 3
_USER: Final = "userId"


class _Answer(BaseModel):
    """What Unleash says; versions of it say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Variant(_Answer):
    """One variant of a strategy."""

    name: str
    weight: int
    payload: dict[str, Any] | None = None


class Strategy(_Answer):
    """One strategy of a flag in an environment."""

    id: str = Field(max_length=200)
    name: str
    title: str | None = None
    disabled: bool | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    constraints: list[dict[str, Any]] = Field(default_factory=list)
    segments: list[int] = Field(default_factory=list)
    variants: list[Variant] = Field(default_factory=list)

    @property
    def is_ours(self) -> bool:
        """Whether Aviary writes it."""
        return MARK in self.parameters or (self.title or "").strip().lower() == MARK

    @property
    def text(self) -> str:
        """For a person."""
        return self.title or f"{self.name} {self.id}"


class Environment(_Answer):
    """A flag in one environment."""

    name: str
    enabled: bool
    strategies: list[Strategy] = Field(default_factory=list)


class Feature(_Answer):
    """A flag."""

    name: str
    archived: bool = False
    environments: list[Environment]
    dependencies: list[dict[str, Any]] = Field(default_factory=list)


class _Mark(Model):
    """What Aviary wrote last."""

    generation: int = Field(ge=0)
    owner: ReleaseId | str = Field(default="", max_length=200)
    stable: Version
    canary: Version | None = None
    weight: int = Field(default=0, ge=0, le=100)
    audience: Audience | None = None


class Constraint(NamedTuple):
    """What Unleash compares a field of the context with, so that equal ones are equal."""

    field: str
    operator: str
    values: tuple[str, ...]
    inverted: bool = False
    any_case: bool = False

    @property
    def text(self) -> str:
        """For a person."""
        first, more = self.values[:_NAMED], len(self.values) - _NAMED
        listed = ", ".join([*first, *([f"{more} more"] if more > 0 else [])])
        return f"{self.field} {'not ' if self.inverted else ''}{self.operator} {listed}"


class Served(NamedTuple):
    """What Aviary's strategy does, as far as users can see it."""

    rollout: str
    weights: tuple[tuple[str, int], ...]
    """Of the variants that somebody gets, by name, in parts of 1,000."""
    kept_by: tuple[str, str]
    """Stickiness and group; empty where all users get the same."""
    constraints: tuple[Constraint, ...] = ()
    """Whom it is for, all of which have to fit; none where nobody gets it."""
    limits: tuple[str, ...] = ()
    """What somebody else has put on it: segments, or that it is disabled."""

    @property
    def text(self) -> str:
        """For a person."""
        variants = ", ".join(f"{name} {weight / 10:g} %" for name, weight in self.weights)
        kept = f"by {' in group '.join(self.kept_by)}" if any(self.kept_by) else ""
        whom = " and ".join(one.text for one in self.constraints)
        parts = (f"rollout {self.rollout} %", variants, kept, whom, *self.limits)
        return ", ".join(filter(None, parts))


class Flag:
    """A flag in one environment.

    Args:
        feature: the flag.
        environment: name of the environment.

    Raises:
        UnknownRoute: it is archived, or has no such environment.
    """

    def __init__(self, feature: Feature, environment: str) -> None:
        found = {one.name: one for one in feature.environments}
        if feature.archived or environment not in found:
            names = ", ".join(sorted(found)) or "none"
            why = "is archived" if feature.archived else f"has environments {names}"
            raise UnknownRoute(f"flag {feature.name} {why}, expected it in {environment}")
        self.name = feature.name
        self.has_parents = bool(feature.dependencies)
        self._environment = found[environment]
        ours = [one for one in self._environment.strategies if one.is_ours]
        ours.sort(key=lambda one: MARK not in one.parameters)
        self.ours: Strategy | None = ours[0] if ours else None
        self.surplus = tuple(ours[1:])
        """More of Aviary's: an attempt whose answer was lost has made the strategy as well."""

    @property
    def enabled(self) -> bool:
        """Whether its environment is switched on."""
        return self._environment.enabled

    @property
    def others(self) -> tuple[Strategy, ...]:
        """The team's strategies that are evaluated."""
        every = self._environment.strategies
        return tuple(one for one in every if not one.is_ours and not one.disabled)

    @property
    def variants(self) -> Mapping[str, Variant]:
        """Those of Aviary's strategy, by name."""
        return {} if self.ours is None else {one.name: one for one in self.ours.variants}

    @property
    def versions(self) -> tuple[str, ...]:
        """The names of what can be released, as Unleash has them."""
        return (OFF, *(sorted(self.variants) or (ON,)))

    @property
    def is_marked(self) -> bool:
        """Whether a route of Aviary's was written."""
        return self.ours is not None and MARK in self.ours.parameters

    def marked(self, service: str) -> Route:
        """The route that was written last.

        Raises:
            Terminal: its mark is no route.
        """
        text = self.ours.parameters[MARK] if self.ours is not None else ""
        try:
            mark = _Mark.model_validate_json(str(text))
            return Route.split(
                service,
                mark.stable,
                mark.canary,
                mark.weight,
                generation=mark.generation,
                owner=mark.owner,
                audience=mark.audience,
            )
        except ValidationError as error:
            wrong = ", ".join(str(one["loc"][-1]) for one in error.errors() if one["loc"])
            raise Terminal(
                f"{service}: flag {self.name} has a parameter {MARK} that is no route of Aviary's"
                f"{f' ({wrong})' if wrong else ''}; take it away, or put back what was there"
            ) from None

    @property
    def served(self) -> Served:
        """What Aviary's strategy does now."""
        if self.ours is None:
            return Served("0", (), ("", ""))
        parameters, rollout = self.ours.parameters, str(self.ours.parameters.get("rollout"))
        shown = self.ours.variants if rollout != "0" else []
        weights = tuple(sorted((one.name, one.weight) for one in shown if one.weight))
        kept = (str(parameters.get("stickiness")), str(parameters.get("groupId")))
        constraints = _constraints(self.ours) if rollout != "0" else ()
        kept_by = _kept(rollout, weights, kept)
        return Served(rollout, weights, kept_by, constraints, _limits(self.ours))

    def definition(self, strategies: Sequence[Strategy]) -> dict[str, Any]:
        """What applications are sent of it, if it had these strategies."""
        return {
            "name": self.name,
            "enabled": self.enabled,
            "strategies": [_sent(one) for one in strategies],
        }

    @property
    def evaluated(self) -> tuple[Strategy, ...]:
        """All strategies that are evaluated, in their order."""
        return tuple(one for one in self._environment.strategies if not one.disabled)


def variant_name(version: str) -> str:
    """The name of a version in Unleash, which takes at most 100 characters, and no `+` and `:`."""
    name = version.replace("+", "~2B").replace(":", "~3A")
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_KEPT]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def version_named(name: str) -> str:
    """The version that a name in Unleash stands for."""
    return name.replace("~2B", "+").replace("~3A", ":")


def serving(route: Route, kept: tuple[str, str]) -> Served:
    """What Aviary's strategy has to do for a route.

    Args:
        route: whose weights are whole percent; of an audience, stable is off.
        kept: stickiness and group.
    """
    shares = {variant_name(arm.version): round(arm.weight) for arm in route.arms}
    on = 100 - shares.pop(OFF, 0)
    named = {name: share for name, share in shares.items() if name != ON and share}
    weights = tuple(sorted((name, share * _ALL // on) for name, share in named.items()))
    whom = route.audience.terms if on and route.audience is not None else None
    constraints = tuple(sorted(_constraint(one) for one in whom or ()))
    return Served(str(on), weights, _kept(str(on), weights, kept), constraints)


def _constraint(term: Term) -> Constraint:
    """A term of an audience; who has nothing of a field fits what is negated, as in Unleash."""
    field = _USER if term.name == TARGETING_KEY else term.name
    values = tuple(sorted(term.values))
    if term.how is How.PREFIX:
        return Constraint(field, "STR_STARTS_WITH", values, inverted=term.negated)
    return Constraint(field, "NOT_IN" if term.negated else "IN", values)


def strategy_for(
    route: Route, kept: tuple[str, str], variants: Mapping[str, Variant]
) -> dict[str, Any]:
    """Aviary's strategy with a route in it, as Unleash takes it.

    Args:
        route: what shall be.
        kept: stickiness and group.
        variants: of the strategy that is there, whose payloads are kept.
    """
    body = _body(serving(route, kept), kept, variants)
    mark = _Mark(
        generation=route.generation,
        owner=route.owner,
        stable=route.stable,
        canary=route.canary,
        weight=round(route.weight),
        audience=route.audience,
    )
    body["parameters"][MARK] = mark.model_dump_json(exclude_none=True)
    return {**body, "title": f"aviary: {route.text}"}


def nothing_yet(kept: tuple[str, str], strategy: Strategy | None) -> dict[str, Any]:
    """Aviary's strategy as it was, but for nobody."""
    variants = {} if strategy is None else {one.name: one for one in strategy.variants}
    body = _body(Served("0", (), ("", "")), kept, variants)
    if strategy is not None and MARK in strategy.parameters:
        body["parameters"][MARK] = strategy.parameters[MARK]
    return {**body, "title": MARK}


def _body(served: Served, kept: tuple[str, str], variants: Mapping[str, Variant]) -> dict[str, Any]:
    stickiness, group = kept
    weights = dict(served.weights) or dict.fromkeys(list(variants)[:1], _ALL)
    last = next(reversed(weights), None)  # it takes what is left, which Unleash wants of one
    return {
        "name": STRATEGY,
        "disabled": False,
        "constraints": [
            {
                "contextName": one.field,
                "operator": one.operator,
                "values": list(one.values),
                "inverted": one.inverted,
                "caseInsensitive": one.any_case,
            }
            for one in served.constraints
        ],
        "segments": [],
        "parameters": {"rollout": served.rollout, "stickiness": stickiness, "groupId": group},
        "variants": [
            {
                "name": name,
                "weight": weights.get(name, 0),
                "weightType": "variable" if name == last else "fix",
                "stickiness": stickiness,
                **({} if one.payload is None else {"payload": one.payload}),
            }
            for name, one in variants.items()
        ],
    }


def _kept(
    rollout: str, weights: tuple[tuple[str, int], ...], kept: tuple[str, str]
) -> tuple[str, str]:
    """By what users are kept, where that makes a difference."""
    return kept if rollout not in {"0", "100"} or len(weights) > 1 else ("", "")


def _constraints(strategy: Strategy) -> tuple[Constraint, ...]:
    return tuple(sorted(_read(one) for one in strategy.constraints))


def _read(said: Mapping[str, Any]) -> Constraint:
    """A constraint as Unleash hands it out; one of numbers or dates has a value and no list."""
    values = said.get("values")
    listed = values if isinstance(values, list) and values else [said.get("value", "")]
    return Constraint(
        str(said.get("contextName")),
        str(said.get("operator")),
        tuple(sorted(map(str, listed))),
        inverted=bool(said.get("inverted")),
        any_case=bool(said.get("caseInsensitive")),
    )


def _limits(strategy: Strategy) -> tuple[str, ...]:
    found = {
        "disabled": bool(strategy.disabled),
        f"strategy {strategy.name}": strategy.name != STRATEGY,
        f"{len(strategy.segments)} segments": bool(strategy.segments),
    }
    return tuple(text for text, is_so in found.items() if is_so)


def _sent(strategy: Strategy) -> dict[str, Any]:
    """As applications are sent it."""
    kept = str(strategy.parameters.get("stickiness", "default"))
    return {
        "name": strategy.name,
        "parameters": {key: str(value) for key, value in strategy.parameters.items()},
        "constraints": strategy.constraints,
        "segments": strategy.segments,
        "variants": [
            {"name": one.name, "weight": one.weight, "stickiness": kept}
            for one in strategy.variants
        ],
    }
