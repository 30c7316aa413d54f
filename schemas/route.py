"""The route of one service: which versions have its traffic, and in what share."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from schemas.base import Model, Percent, ServiceName, Version


class Route(Model):
    """What a router does, or shall do, with the requests for one service.

    The route names versions, not roles, so that finalizing is one write like any other: the
    canary's version becomes `stable` and `canary` becomes None.
    """

    service: ServiceName
    stable: Version
    canary: Version | None = None
    weight: Percent = Field(default=0.0, description="Share of requests for the canary, percent.")
    generation: int = Field(
        default=0,
        ge=0,
        description="Grows with every write; a router refuses a smaller one (fencing).",
    )
    owner: str = Field(default="", description="Release id of the last writer; empty if none.")

    @model_validator(mode="after")
    def _weight_needs_canary(self) -> Self:
        if self.canary is None and self.weight != 0:
            raise ValueError("weight: expected 0 without a canary")
        if self.canary == self.stable:
            raise ValueError("canary: expected a version other than stable")
        return self


class Health(Model):
    """The instances of one version, as the router sees them."""

    known: int = Field(ge=0)
    healthy: int = Field(ge=0, description="Those that it sends requests to.")


class Confirmation(Model):
    """A router's word that a route is applied: what it now serves, and its own mark for that."""

    route: Route
    mark: str = Field(description="The router's version of the configuration that carries it.")
