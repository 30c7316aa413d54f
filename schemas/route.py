"""The route of one service: which versions have its traffic, in what share, and for whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple, Self

from pydantic import Field, model_validator

from schemas.audience import Audience as Audience  # noqa: PLC0414 - part of what a route says
from schemas.audience import AudienceBy as AudienceBy  # noqa: PLC0414
from schemas.audience import AudienceShare as AudienceShare  # noqa: PLC0414
from schemas.audience import Condition as Condition  # noqa: PLC0414
from schemas.audience import How as How  # noqa: PLC0414
from schemas.audience import Match as Match  # noqa: PLC0414
from schemas.base import Model, Percent, ServiceName, SomeDuration, SomePercent, Version
from schemas.lane import Lane
from schemas.outside import cut
from schemas.sticky import Sticky

MIRROR_HEADER: Final = "x-aviary-mirror"
"""A copied request has it, with the value `true`; what it causes downstream should have it, too."""

_ALL = 100.0
_MOST_KEPT = 20
_SAID_MOST = 300


class Arm(Model):
    """One version and its share of the requests."""

    version: Version
    weight: Percent


class Mirror(Model):
    """Requests that are sent to another version as well; its answers go to nobody."""

    version: Version
    share: SomePercent = Field(description="Share of requests that are copied, percent.")
    writes: bool = Field(
        default=False,
        description="Whether requests of every method are copied; else those of GET, HEAD and "
        "OPTIONS alone, which change nothing.",
    )
    unmarked: bool = Field(
        default=False, description="Whether copies may go without the header that marks them."
    )


class Tier(NamedTuple):
    """What a router does with the requests of one audience, unless an earlier tier has them."""

    audience: Audience | None
    """None: everybody else, always the last."""
    weight: float
    """The canary's share of their requests, percent."""
    counted: bool
    """Whether it is they whom the weight is for: requests of the others are counted apart."""


class Route(Model):
    """What a router does, or shall do, with the requests for one service.

    The route names versions, not roles, so that finalizing is one write like any other: the
    canary's version becomes the only arm. The first arm is what serves beside the canary, and has
    the requests of everybody outside of the audience.

    Who is in several audiences gets the largest of their weights. So nobody who is on the canary
    leaves it while audiences are added and weights grow.
    """

    service: ServiceName
    arms: tuple[Arm, ...] = Field(
        min_length=1,
        max_length=2,
        description="Stable, then the canary if there is one; the weights add up to 100.",
    )
    audience: Audience | None = Field(
        default=None, description="Whom the weights are for; None: everybody."
    )
    kept: tuple[AudienceShare, ...] = Field(
        default=(),
        max_length=_MOST_KEPT,
        exclude_if=lambda kept: not kept,
        description="Whom the canary is for besides, each with a weight of their own: those who "
        "were let in before. They are counted apart.",
    )
    mirror: Mirror | None = None
    sticky: Sticky | None = Field(
        default=None,
        exclude_if=lambda one: one is None,
        description="By what users stay with a version; None: as the router is set up.",
    )
    lane: Lane | None = Field(
        default=None,
        exclude_if=lambda one: one is None,
        description="Requests that have it get the canary, at any weight above 0, and what the "
        "canary gets is given it.",
    )
    generation: int = Field(
        default=0,
        ge=0,
        description="Grows with every write; a router refuses a smaller one (fencing).",
    )
    owner: str = Field(default="", description="Release id of the last writer; empty if none.")
    lease: SomeDuration | None = Field(
        default=None,
        exclude_if=lambda one: one is None,
        description="How long the canary may go without a sign of life of its release; then a "
        "sentinel gives stable everything. None: for ever.",
    )
    taken_back: str = Field(
        default="",
        max_length=_SAID_MOST,
        exclude_if=lambda said: not said,
        description="Why the canary was taken back by another than its release, which still is "
        "the owner; empty: it was not.",
    )

    @classmethod
    def split(  # noqa: PLR0913 - what a route is
        cls,
        service: str,
        stable: str,
        canary: str | None = None,
        weight: float = 0.0,
        *,
        generation: int = 0,
        owner: str = "",
        audience: Audience | None = None,
        kept: tuple[AudienceShare, ...] = (),
        mirror: Mirror | None = None,
        sticky: Sticky | None = None,
        lane: Lane | None = None,
        lease: timedelta | None = None,
    ) -> Self:
        """A route from its canary's point of view.

        Args:
            service: whose it is.
            stable: the version that has what the canary has not.
            canary: the other version, if any; it may have nothing yet, and be asked for by name.
            weight: its share in percent, 0 to 100, in steps of 0.01.
            generation: of this write.
            owner: release id of the writer.
            audience: whom the weight is for; None: everybody.
            kept: whom the canary is for besides.
            mirror: a version that gets copies.
            sticky: by what users stay with a version; None: as the router is set up.
            lane: of the release; None: it has none.
            lease: how long the canary may go without a sign of life of its release.

        Raises:
            pydantic.ValidationError: a weight without a canary, or a value out of range.
        """
        if canary is None and weight:
            arms = [Arm(version=stable, weight=weight)]  # does not add up, and is refused
        elif canary is None:
            arms = [Arm(version=stable, weight=_ALL)]
        else:
            second = Arm(version=canary, weight=weight)
            first = Arm(version=stable, weight=round(_ALL - second.weight, 2))
            arms = [first, second]
        return cls(
            service=service,
            arms=tuple(arms),
            audience=audience,
            kept=kept,
            mirror=mirror,
            sticky=sticky,
            lane=lane,
            generation=generation,
            owner=owner,
            lease=lease,
        )

    def given_back(self, why: str) -> Route:
        """The next route, in which stable has everything again: written by a sentinel.

        Args:
            why: for a person and for the release, which stays the owner.
        """
        back = Route.split(
            self.service, self.stable, generation=self.generation + 1, owner=self.owner
        )
        return back.model_copy(update={"taken_back": cut(why, _SAID_MOST)})

    @property
    def stable(self) -> str:
        """The version that serves beside the canary."""
        return self.arms[0].version

    @property
    def canary(self) -> str | None:
        """The version that is being released, if any."""
        return self.arms[1].version if len(self.arms) > 1 else None

    @property
    def weight(self) -> float:
        """The canary's share of the requests of its audience, percent; 0 without a canary."""
        return self.arms[1].weight if len(self.arms) > 1 else 0.0

    @property
    def open_lane(self) -> Lane | None:
        """The lane, while anybody gets the canary; None: requests that have it are as any other."""
        return self.lane if any(tier.weight for tier in self.tiers) else None

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Whom the canary is for, in the order in which a router looks: the first that fits counts.

        The last is everybody else: on stable, unless a share of theirs is on the canary as well.
        """
        every = [Tier(one.audience, one.weight, counted=False) for one in self.kept]
        every.append(Tier(self.audience, self.weight, counted=True))
        # Of the same weight, those whom it is for come first.
        every.sort(key=lambda tier: (-tier.weight, not tier.counted))
        ends = [at for at, tier in enumerate(every) if tier.audience is None]
        return tuple(every[: ends[0] + 1] if ends else [*every, Tier(None, 0.0, counted=False)])

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version that gets requests or copies of them, each once."""
        mirrored = () if self.mirror is None else (self.mirror.version,)
        return tuple(dict.fromkeys((*(arm.version for arm in self.arms), *mirrored)))

    @property
    def text(self) -> str:
        """For a person: `1.4.1 95 %, 1.4.2 5 % (generation 3 of shop-1)`."""
        arms = ", ".join(f"{arm.version} {arm.weight:g} %" for arm in self.arms)
        if self.mirror is not None:
            arms += f", copies of {self.mirror.share:g} % to {self.mirror.version}"
        said = f": {self.taken_back}" if self.taken_back else ""
        return f"{arms} (generation {self.generation} of {self.owner or 'nobody'}{said})"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = round(sum(arm.weight for arm in self.arms), 2)
        if total != _ALL:
            raise ValueError(f"arms: expected weights that add up to 100, got {total:g}")
        if self.canary == self.stable:
            raise ValueError("arms: expected two versions, not one twice")
        if self.audience is not None and self.canary is None:
            raise ValueError("audience: expected none without a canary")
        if self.kept and self.canary is None:
            raise ValueError("kept: expected none without a canary")
        if self.lane is not None and self.canary is None:
            raise ValueError("lane: expected none without a canary")
        whom = [self.audience, *(one.audience for one in self.kept)]
        if len(set(whom)) < len(whom):
            raise ValueError("kept: expected each audience once, and not that of the weight")
        if self.lease is not None and self.canary is None:
            raise ValueError("lease: expected none without a canary")
        if self.taken_back and self.canary is not None:
            raise ValueError("taken_back: expected none with a canary")
        if self.mirror is not None and self.mirror.version == self.stable:
            raise ValueError("mirror: expected a version other than stable")
        return self


class Health(Model):
    """The instances of one version, as the router sees them."""

    known: int = Field(ge=0)
    healthy: int = Field(ge=0, description="Those that it sends requests to.")


class Confirmation(Model):
    """A router's word that a route is applied: what it now serves, and its own mark for that."""

    route: Route
    mark: str = Field(description="The router's version of the configuration that carries it.")
