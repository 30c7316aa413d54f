"""Who puts the versions of a service up, as a catalog and a plan say it, of any kind.

No concrete deployer is known here; as with routers (`schemas.router_spec`), the kinds of a process
are in the context of a validation. Without a deployer (`deploy: none`) the pipeline does it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Protocol, Self

from pydantic import (
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.base import Duration, Model, SomeDuration
from schemas.catalog_check import Finding
from schemas.deployment import INSTANCES_MOST, WantedVersion
from schemas.fitting import size_of
from schemas.router_spec import KINDS, ConnectionName, KindName

NONE: Final = "none"
"""The word for "no deployer": the pipeline puts versions up."""
MOST_RECIPE: Final = 50_000
"""Bytes of the recipe of one service, as JSON: it goes with every order."""


class Scale(StrEnum):
    """How many instances a canary has; a closed set."""

    MATCH = "match"
    """As many of `instances` as its weight needs, ready before the weight moves."""
    FIXED = "fixed"
    """`instances`, whatever its weight is."""
    FULL = "full"
    """As many as stable has as the canary begins, and at least `instances`."""


class Prepare(StrEnum):
    """When a version is put up; a closed set."""

    IN_TURN = "in_turn"
    """As its canary begins."""
    AHEAD = "ahead"
    """As its release begins, so that no canary waits for it."""


class DeployTerms(Model):
    """What a catalog says of putting up, whatever does it; the recipe stands beside it."""

    instances: int = Field(
        default=1, ge=1, le=INSTANCES_MOST, description="Instances that take all requests."
    )
    scale: Scale = Field(default=Scale.MATCH, description="How many a canary has.")
    progress_deadline: SomeDuration = Field(
        default=timedelta(minutes=10),
        description="A canary whose version is not ready by then has failed.",
    )
    keep_old: Duration = Field(
        default=timedelta(minutes=10),
        description="How long the version before stays up after finalize.",
    )
    keep_failed: Duration = Field(
        default=timedelta(0), description="How long a canary stays up after it went back."
    )
    prepare: Prepare = Field(default=Prepare.IN_TURN, description="When a version is put up.")

    def size(self, weight: float, stable: int | None = None) -> int:
        """The instances that a canary needs before it gets so many of the requests.

        Args:
            weight: its share in percent, 0 to 100.
            stable: instances that stable had as the canary began, where that is known.
        """
        if self.scale is Scale.FULL:
            return max(self.instances, stable or 0)
        if self.scale is Scale.FIXED:
            return self.instances
        return needed(self.instances, weight)


def needed(instances: int, weight: float) -> int:
    """How many of so many instances a share of the requests needs; one at least.

    Args:
        instances: those that take all requests.
        weight: the share in percent, 0 to 100.
    """
    # To 0.0001 of an instance: 7 % of 100 is 7 of them, and not 8.
    return max(1, math.ceil(round(instances * weight / 100, 4)))


class DeploySpec(DeployTerms):
    """Who puts the versions of a service up, and how: `none`, or a kind with its recipe.

    The recipe is the kind's own options, beside the terms. Validated with kinds, they are held
    against the kind's model and written with its defaults filled in; without, as a plan is read
    again, they are only bounded.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    kind: KindName
    connection: ConnectionName | None = Field(default=None, exclude_if=lambda name: name is None)

    @model_validator(mode="before")
    @classmethod
    def _as_its_kind_says(cls, value: Any, info: ValidationInfo) -> Any:
        if value == NONE:
            return {"kind": NONE}
        kinds = deployer_kinds_of(info.context)
        if kinds is None or not isinstance(value, dict):
            return value
        return kinds.checked_deployer(value)

    @model_serializer(mode="wrap")
    def _write_short(self, handler: SerializerFunctionWrapHandler) -> Any:
        return NONE if self.is_none else handler(self)

    @model_validator(mode="after")
    def _small(self) -> Self:
        if size_of(self.recipe) > MOST_RECIPE:
            raise ValueError(f"expected at most {MOST_RECIPE:,} bytes of a recipe as JSON")
        return self

    @property
    def recipe(self) -> dict[str, JsonValue]:
        """What the kind is told of each version, by name."""
        return dict(self.__pydantic_extra__)

    @property
    def is_none(self) -> bool:
        """Whether the pipeline puts versions up."""
        return self.kind == NONE

    def __hash__(self) -> int:
        """Equal specifications are one; recipes may be lists and the like."""
        return hash((self.kind, self.connection, json.dumps(self.recipe, sort_keys=True)))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Allow the short form."""
        return {"anyOf": [{"const": NONE}, handler(core_schema)]}


def _nothing(_: WantedVersion) -> Iterable[Finding]:
    return ()


@dataclass(frozen=True)
class DeployerFacts:
    """What a catalog and a plan must know of a kind of deployer."""

    image: bool = False
    """Whether a version is an image, which a deploy event may name."""
    endpoints: bool = True
    """Whether the router has to be told where the instances are."""
    lacks: Callable[[WantedVersion], Iterable[Finding]] = _nothing
    """What can't be done of one version, as far as it is known; paths begin at the deployer."""


class DeployerKinds(Protocol):
    """The kinds of deployers that there are."""

    def checked_deployer(self, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        """A deployer as a catalog writes it, held against its kind.

        Raises:
            pydantic.ValidationError: there is no such kind or connection, or the recipe does not
                fit.
        """

    def deployer_facts(self, kind: str) -> DeployerFacts:
        """What must be known of a kind that `checked_deployer` has taken."""


def deployer_kinds_of(context: Any) -> DeployerKinds | None:
    """The kinds in the context of a validation; None if it has none."""
    return context.get(KINDS) if isinstance(context, dict) else None
