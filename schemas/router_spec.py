"""What a catalog chooses by kind, as it and a plan say it: of whatever kinds there are.

No concrete router is known here, nor a concrete kind of hook. What a kind is, `RouterKinds` says:
the registry of a process (`aviary.kinds`), given to a catalog as its validation context.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, Self

from pydantic import ConfigDict, Field, JsonValue, ValidationInfo, model_validator

from schemas.base import Model
from schemas.capabilities import Capabilities
from schemas.fitting import size_of
from schemas.judging import MetricSpec

MOST_OPTIONS: Final = 50_000
"""Bytes of the options of one router or hook, as JSON: each of its activities is told them."""

KINDS: Final = "kinds"
"""The key of a `RouterKinds` in the context of a validation."""

KindName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$",
        description="A kind: lower-case letters, digits, _ and -, at most 63.",
    ),
]
ConnectionName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$",
        description="A connection of the settings: lower-case letters, digits, _ and -, at most "
        "63.",
    ),
]


class OfKind(Model):
    """One thing of a kind: which, a named connection, and the kind's own options beside `kind`.

    Validated with kinds (`KINDS`), the options are held against the kind's model and written with
    its defaults filled in; without, as a plan is read again, they are only bounded.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    kind: KindName
    connection: ConnectionName | None = Field(default=None, exclude_if=lambda name: name is None)

    @model_validator(mode="before")
    @classmethod
    def _as_its_kind_says(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = kinds_of(info.context)
        if kinds is None or not isinstance(value, dict):
            return value
        return cls._checked(kinds, value)

    @classmethod
    def _checked(cls, kinds: RouterKinds, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        """What is written, held against its kind."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _small(self) -> Self:
        if size_of(self.options) > MOST_OPTIONS:
            raise ValueError(f"expected at most {MOST_OPTIONS:,} bytes of options as JSON")
        return self

    @property
    def options(self) -> dict[str, JsonValue]:
        """What the kind is told, by name."""
        return dict(self.__pydantic_extra__)

    def __hash__(self) -> int:
        """Equal specifications are one adapter; options may be lists and the like."""
        return hash((self.kind, self.connection, json.dumps(self.options, sort_keys=True)))


class RouterSpec(OfKind):
    """Which router carries a service."""

    @classmethod
    def _checked(cls, kinds: RouterKinds, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        return kinds.checked(written)


@dataclass(frozen=True)
class RouterFacts:
    """What a catalog must know of a router: of its kind, and of its options."""

    capabilities: Capabilities
    metrics: tuple[MetricSpec, ...] | None = None
    """Of a service whose catalog names none; None: the kind has none either."""
    pack: str | None = None
    """Metric pack of a judge that names none."""


class RouterKinds(Protocol):
    """The kinds of routers that there are, and those of hooks."""

    def checked(self, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        """A router as a catalog writes it, held against its kind.

        Raises:
            pydantic.ValidationError: there is no such kind or connection, or the options do not
                fit.
        """

    def checked_hook(self, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        """What a catalog says of a hook's call, likewise."""

    def facts(self, router: RouterSpec) -> RouterFacts:
        """What a catalog must know of a router that `checked` has taken."""

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of a catalog, with the options of every kind."""


def kinds_of(context: Any) -> RouterKinds | None:
    """The kinds in the context of a validation; None if it has none."""
    return context.get(KINDS) if isinstance(context, dict) else None
