"""The route of one service: which versions have its traffic, in what share, and for whom."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.base import Model, Percent, ServiceName, SomePercent, Version

MIRROR_HEADER: Final = "x-aviary-mirror"
"""A copied request has it, with the value `true`; what it causes downstream should have it, too."""

_ALL = 100.0
_MOST_MATCHES = 20


class AudienceBy(StrEnum):
    """By what of a request a router can tell whom a canary is for."""

    HEADER = "header"
    COOKIE = "cookie"


class Match(Model):
    """A header or cookie with exactly this value."""

    by: AudienceBy
    name: str = Field(
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$",
        description="Of the header (in any case) or cookie: a token of RFC 9110.",
    )
    value: Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,254}[!-~])?$")] = Field(
        description="Printable ASCII, at most 256 characters, no blank at either end."
    )


class Audience(Model):
    """The requests that the canary is for: the weights split these, all others go to stable."""

    any_of: tuple[Match, ...] = Field(
        min_length=1, max_length=_MOST_MATCHES, description="One that fits is enough."
    )


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


class Route(Model):
    """What a router does, or shall do, with the requests for one service.

    The route names versions, not roles, so that finalizing is one write like any other: the
    canary's version becomes the only arm. The first arm is what serves beside the canary, and has
    the requests of everybody outside of the audience.
    """

    service: ServiceName
    arms: tuple[Arm, ...] = Field(
        min_length=1,
        max_length=2,
        description="Stable, then the canary if there is one; the weights add up to 100.",
    )
    audience: Audience | None = Field(
        default=None, description="Whom the canary is for; None: everybody."
    )
    mirror: Mirror | None = None
    generation: int = Field(
        default=0,
        ge=0,
        description="Grows with every write; a router refuses a smaller one (fencing).",
    )
    owner: str = Field(default="", description="Release id of the last writer; empty if none.")

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
        mirror: Mirror | None = None,
    ) -> Self:
        """A route from its canary's point of view.

        Args:
            service: whose it is.
            stable: the version that has what the canary has not.
            canary: the other version, if any; it may have nothing yet, and be asked for by name.
            weight: its share in percent, 0 to 100, in steps of 0.01.
            generation: of this write.
            owner: release id of the writer.
            audience: whom the canary is for; None: everybody.
            mirror: a version that gets copies.

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
            mirror=mirror,
            generation=generation,
            owner=owner,
        )

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
        return f"{arms} (generation {self.generation} of {self.owner or 'nobody'})"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = round(sum(arm.weight for arm in self.arms), 2)
        if total != _ALL:
            raise ValueError(f"arms: expected weights that add up to 100, got {total:g}")
        if self.canary == self.stable:
            raise ValueError("arms: expected two versions, not one twice")
        if self.audience is not None and self.canary is None:
            raise ValueError("audience: expected none without a canary")
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
