"""What a kind of router can do, as data: its weights, whom it can tell apart, what it counts.

A weight is a share to 0.01 percent, since nothing else can be written in a catalog. A router can do
a weight if one of its own splits reads the same to 0.01 percent: 0.39 is one part of 256. Whatever
it can't do is an error that says what it can (`schemas.capability_check`), and never the next best
weight in silence.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from schemas.audience import Audience, AudienceBy, Condition, How
from schemas.base import Model, format_duration
from schemas.route import Mirror, Route
from schemas.sticky import StickyChoice

_HUNDREDTHS = 10_000
"""Steps of a weight in 100 percent."""
_MOST_PARTS = 1_000_000_000


class Parts(NamedTuple):
    """A split in a router's own numbers."""

    stable: int
    canary: int

    @property
    def weight(self) -> float:
        """The canary's share in percent, to 0.01."""
        return round(100 * self.canary / (self.stable + self.canary), 2)


class TotalGrid(Model):
    """Weights are parts of a fixed total, such as 10,000 or 256."""

    kind: Literal["total"] = "total"
    total: int = Field(ge=1, le=_MOST_PARTS, description="Parts of all requests.")

    def nearest(self, weight: float) -> Parts:
        """The split closest to a weight; of a weight that is neither 0 nor 100, neither is it.

        Args:
            weight: the canary's share in percent, 0 to 100.
        """
        canary = round(Fraction(_hundredths(weight) * self.total, _HUNDREDTHS))
        if 0 < weight < 100 and self.total > 1:  # noqa: PLR2004 - percent
            canary = min(max(canary, 1), self.total - 1)
        return Parts(self.total - canary, canary)

    @property
    def text(self) -> str:
        """For a person: `1/256 of all requests`."""
        return f"1/{self.total:,} of all requests"


class RelativeGrid(Model):
    """Each version has a weight of its own, from 0 to `most`; its share is of their sum."""

    kind: Literal["relative"] = "relative"
    most: int = Field(ge=1, le=_MOST_PARTS, description="Largest weight of one version.")

    def nearest(self, weight: float) -> Parts:
        """The split closest to a weight; of a weight that is neither 0 nor 100, neither is it.

        Args:
            weight: the canary's share in percent, 0 to 100.
        """
        wanted = _hundredths(weight)
        if wanted > _HUNDREDTHS // 2:
            canary, stable = self.nearest(100 - weight)
            return Parts(stable, canary)
        # The odds; their smaller side is below the line, so that both are at most `most`.
        odds = Fraction(wanted, _HUNDREDTHS - wanted).limit_denominator(self.most)
        if wanted and not odds:
            odds = Fraction(1, self.most)
        return Parts(odds.denominator, odds.numerator)

    @property
    def text(self) -> str:
        """For a person: `weights from 0 to 999 a version`."""
        return f"weights from 0 to {self.most:,} a version"


class CommonGrid(Model):
    """The weights that several grids can do: of routers that split one service together."""

    kind: Literal["common"] = "common"
    of: tuple[Annotated[TotalGrid | RelativeGrid, Field(discriminator="kind")], ...] = Field(
        min_length=2, description="Each has to do a weight."
    )

    def nearest(self, weight: float) -> Parts:
        """The split closest to a weight, in 1/10,000.

        Of a weight that is neither 0 nor 100, neither is it, unless there is no other.

        Args:
            weight: the canary's share in percent, 0 to 100.
        """
        wanted = _hundredths(weight)
        shares = _in_common(self.of)
        if 0 < wanted < _HUNDREDTHS:
            shares = shares[1:-1] or shares
        at = bisect_left(shares, wanted)
        canary = min(shares[max(at - 1, 0) : at + 1], key=lambda share: abs(share - wanted))
        return Parts(_HUNDREDTHS - canary, canary)

    @property
    def text(self) -> str:
        """For a person: `1/256 of all requests and weights from 0 to 999 a version`."""
        return " and ".join(grid.text for grid in self.of)


Grid = Annotated[TotalGrid | RelativeGrid | CommonGrid, Field(discriminator="kind")]
"""The weights that a router can do; `kind` says how they are counted."""


@lru_cache(maxsize=64)
def _shares(grid: TotalGrid | RelativeGrid) -> frozenset[int]:
    """Each weight that a grid can do, in 0.01 percent."""
    return frozenset(share for share in range(_HUNDREDTHS + 1) if can_do(grid, share / 100))


@lru_cache(maxsize=64)
def _in_common(grids: tuple[TotalGrid | RelativeGrid, ...]) -> tuple[int, ...]:
    """Each weight that all of them can do, from nothing to all, in 0.01 percent."""
    return tuple(sorted(frozenset.intersection(*map(_shares, grids))))


def _hundredths(weight: float) -> int:
    return round(weight * 100)


def smallest(grid: Grid) -> float:
    """The smallest weight above 0 that can be written in a catalog and done, in percent."""
    return next_weight(grid, 0.01)


def next_weight(grid: Grid, weight: float) -> float:
    """The weight nearest to this one that can be written in a catalog and done, in percent.

    Args:
        grid: what the router can do.
        weight: what is wanted, 0 to 100.
    """
    return grid.nearest(weight).weight


def can_do(grid: Grid, weight: float) -> bool:
    """Whether a split of the router is this weight, to 0.01 percent."""
    return _hundredths(grid.nearest(weight).weight) == _hundredths(weight)


def at_most(grid: Grid, weight: float) -> float:
    """The largest weight that is not above this one and can be done, in percent; 0 if none.

    For weights that are computed and not written: a ramp's, which must keep to its budget.
    """
    wanted = _hundredths(weight)
    while wanted > 0 and not can_do(grid, wanted / 100):
        below = _hundredths(grid.nearest(wanted / 100).weight)
        wanted = below if below < wanted else wanted - 1
    return wanted / 100


class StickyBy(StrEnum):
    """By what a router keeps a user on a version."""

    HEADER = "header"
    COOKIE = "cookie"
    ADDRESS = "address"
    TARGETING_KEY = "targeting_key"
    """Of a feature flag: what the application says of its user."""


class Counting(StrEnum):
    """Who counts the requests of each version, for `adapters.ports.RequestCounts`."""

    NONE = "none"
    """Nobody: whether the router obeys is not seen, and no ramp can be run."""
    ROUTER = "router"
    """The router itself, exactly and at once."""
    METRICS = "metrics"
    """A metrics source, late by as long as it takes to gather them."""


class Fence(StrEnum):
    """What keeps a late write from undoing a newer one."""

    COMPARE = "compare"
    """The platform compares and writes in one step (resourceVersion, ETag, a transaction)."""
    LOCK = "lock"
    """Writers hold a lock; who writes without it is found afterwards."""
    READ_BACK = "read_back"
    """Nothing but reading before and after: between them there is a race."""


class PlatformError(Model):
    """An answer that the router makes up itself, when no instance gave one."""

    status: int = Field(ge=400, le=599)
    when: str = Field(max_length=200, description="What it means.")
    counted: bool = Field(description="Whether the router's metrics blame the version for it.")


class AudienceTerms(Model):
    """How a router can tell an audience, beyond one equal value."""

    prefixes: tuple[AudienceBy, ...] = Field(default=(), description="What it can compare so.")
    regexes: tuple[AudienceBy, ...] = Field(default=(), description="What it can compare so.")
    negated: tuple[AudienceBy, ...] = Field(
        default=(), description="What a request may be asked not to have."
    )
    all_of: bool = Field(default=False, description="Whether several conditions may have to fit.")
    kept: bool = Field(
        default=False,
        description="Whether several audiences may have a weight each, at the same time.",
    )
    mixed: bool = Field(
        default=True,
        description="Whether its matches may be about different things; else each has to be a "
        "value of the same fields, in every combination.",
    )
    beside: str = Field(
        default="",
        description="The only version that may be beside a canary that is for an audience; empty: "
        "any.",
    )
    matches: int = Field(
        default=20, ge=1, description="Most matches of one audience, of which one has to fit."
    )


class Capabilities(Model):
    """What a kind of router can do. What it can't do is refused, and never left out in silence."""

    weights: Grid = Field(description="The splits that it can do.")
    sticky: tuple[StickyBy, ...] = Field(
        default=(),
        description="By what a user stays with a version while the weight grows, in the order in "
        "which they are looked at; empty: each request is drawn anew.",
    )
    sticky_choices: tuple[StickyChoice, ...] = Field(
        default=(), description="By what a strategy can have users stay instead."
    )
    pinned: bool = Field(
        default=False,
        description="Whether a user stays with the version that was given first until that has "
        "weight 0: a weight is a share of new users only, and the share of requests lags it.",
    )
    forced: tuple[AudienceBy, ...] = Field(
        default=(), description="By what a caller can ask for a version, weights aside."
    )
    audiences: tuple[AudienceBy, ...] = Field(
        default=(), description="By what a canary can be for some requests only."
    )
    audience_terms: AudienceTerms = AudienceTerms()
    apart: bool = Field(
        default=False,
        description="Whether the requests of those whom a weight is not for are counted apart, in "
        "the metrics of its kind as well: only then are canary and stable compared in the same "
        "audience.",
    )
    lanes: bool = Field(
        default=False,
        description="Whether it can give requests to the canary the lane of a release, and send "
        "those that have it there.",
    )
    mirroring: bool = Field(default=False, description="Whether it can copy requests.")
    mirror_reads: bool = Field(
        default=False,
        description="Whether it can copy GET, HEAD and OPTIONS alone; else it copies every method.",
    )
    mirror_mark: bool = Field(
        default=False, description="Whether copies have the header that marks them."
    )
    counts: Counting = Field(default=Counting.NONE, description="Who counts requests.")
    users: bool = Field(
        default=False, description="Whether requests, or a sample, are counted by user."
    )
    counters: tuple[str, ...] = Field(
        default=(),
        description="Names of the raw counters that it shows itself, at once, as its metrics have "
        "them: a canary is judged by them as well as by the metrics source.",
    )
    instances: bool = Field(default=False, description="Whether it knows healthy instances.")
    registers: bool = Field(
        default=False, description="Whether it can give a service its first route."
    )
    endpoints: bool = Field(
        default=False, description="Whether it can be told where the instances of a version are."
    )
    leases: bool = Field(
        default=False,
        description="Whether a route with a canary can carry a lease, which its release renews and "
        "a sentinel reads.",
    )
    fence: Fence = Fence.READ_BACK
    flags: bool = Field(
        default=False,
        exclude_if=lambda flags: not flags,
        description="Whether it is a provider of feature flags: variants are its versions.",
    )
    platform_errors: tuple[PlatformError, ...] = ()

    @property
    def smallest(self) -> float:
        """The smallest weight above 0, in percent."""
        return smallest(self.weights)


def lacking(route: Route, can: Capabilities) -> list[str]:
    """What of a route a router can't do, each as field, value and what it can do; empty if all."""
    found = []
    if not can_do(can.weights, route.weight):
        near = next_weight(can.weights, route.weight)
        found.append(
            f"weight {route.weight:g} %: expected one that is {can.weights.text}, "
            f"the nearest is {near:g} %"
        )
    if route.sticky is not None and route.sticky.by not in can.sticky_choices:
        able = ", ".join(can.sticky_choices) or "what the router is set up for"
        found.append(f"sticky by {route.sticky.by}: expected {able}")
    if route.lane is not None and not can.lanes:
        found.append(f"lane {route.lane.name}: expected none")
    for audience in (route.audience, *(one.audience for one in route.kept)):
        if audience is not None:
            found += untellable(audience, can)
    if beside := lacks_beside(route, can):
        found.append(beside)
    if route.kept and not can.audience_terms.kept:
        found.append(f"{len(route.kept) + 1} audiences at once: expected one")
    if route.lease is not None and not can.leases:
        found.append(f"lease of {format_duration(route.lease)}: expected none, it can carry none")
    if route.mirror is not None:
        found += (
            f"mirror to {route.mirror.version}: {one}" for one in _no_mirror(route.mirror, can)
        )
    return found


def lacks_beside(route: Route, can: Capabilities) -> str:
    """Why the stable version of a route can't be beside a canary for an audience; empty: it can."""
    only = can.audience_terms.beside
    if route.audience is None or not only or route.stable == only:
        return ""
    return f"audience beside {route.stable}: expected {only} for everybody else"


def _no_mirror(mirror: Mirror, can: Capabilities) -> Iterator[str]:
    if not can.mirroring:
        yield "expected none, it can't copy requests"
        return
    if not can.mirror_reads and not mirror.writes:
        yield "expected one with writes, it can't copy GET, HEAD and OPTIONS alone"
    if not can.mirror_mark and not mirror.unmarked:
        yield "expected one that may be unmarked, it gives copies no header"


def untellable(audience: Audience, can: Capabilities) -> list[str]:
    """What of an audience a router can't tell, each as field, value and what it can; empty if all.

    Args:
        audience: whom a canary is for.
        can: what the router can do.
    """
    terms = can.audience_terms
    found = dict.fromkeys(text for one in audience.conditions for text in _untellable(one, can))
    if not terms.all_of and (several := [one for one in audience.any_of if one.also]):
        found[f"audience by {several[0].all_text}: expected one condition at a time"] = None
    if not terms.mixed and audience.terms is None:
        text = f"audience by {audience.text}: expected values of the same fields, and no other way"
        found[text] = None
    if len(audience.any_of) > terms.matches:
        text = f"audience of {len(audience.any_of)} matches: expected at most {terms.matches}"
        found[text] = None
    return list(found)


def _untellable(one: Condition, can: Capabilities) -> Iterator[str]:
    """Why a router can't tell one condition."""
    terms = can.audience_terms
    able = {How.EQUAL: can.audiences, How.PREFIX: terms.prefixes, How.REGEX: terms.regexes}
    what = " ".join(filter(None, (one.by.value, one.name)))
    if one.by not in can.audiences:
        yield f"audience by {what}: expected by {_listed(can.audiences)}"
    elif one.by not in able[one.how]:
        kind = "a prefix" if one.how is How.PREFIX else "a regular expression"
        yield f"audience by {kind} of {what}: expected {kind} of {_listed(able[one.how])}"
    if one.negated and one.by not in terms.negated:
        yield f"audience by not {what}: expected not of {_listed(terms.negated)}"


def _listed(each: tuple[AudienceBy, ...]) -> str:
    return ", ".join(each) or "nothing of a request"
