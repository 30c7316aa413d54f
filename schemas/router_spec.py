"""What a catalog chooses by kind, as it and a plan say it: of whatever kinds there are.

No concrete router is known here, nor a concrete kind of hook. What a kind is, `RouterKinds` says:
the registry of a process (`aviary.kinds`), given to a catalog as its validation context.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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

SEVERAL: Final = "several"
"""The kind of a list of routers, which no description may have."""
MOST_ROUTERS: Final = 5
"""Of one service: each is read and written with every change of its route."""

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
    """Which router carries a service, or which several do.

    These are written as a list, in the order in which they get a weight.
    """

    @model_validator(mode="before")
    @classmethod
    def _read_list(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, list | tuple):
            return value
        kinds = kinds_of(info.context)
        each = list(value) if kinds is None else kinds.checked_each(value)
        return {"kind": SEVERAL, "routers": each}

    @classmethod
    def _checked(cls, kinds: RouterKinds, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        return kinds.checked(written)

    @model_validator(mode="after")
    def _several_are_some(self) -> Self:
        if self.kind == SEVERAL:
            Several.model_validate(self.options)
        return self

    @property
    def several(self) -> Several | None:
        """The routers of a list; None for a single one."""
        return Several.model_validate(self.options) if self.kind == SEVERAL else None

    @property
    def each(self) -> tuple[RouterSpec, ...]:
        """The routers of a list, in its order; of a single one, itself."""
        found = self.several
        return (self,) if found is None else found.routers

    @property
    def text(self) -> str:
        """For a person: its kind, or `haproxy with envoy`."""
        return " with ".join(one.kind for one in self.each)


class Several(Model):
    """Routers that split one service together, each the requests that it gets."""

    routers: tuple[RouterSpec, ...] = Field(
        min_length=2,
        max_length=MOST_ROUTERS,
        description="In the order in which they get a weight; going back is the other way round.",
    )
    judged_by: int | None = Field(
        default=None,
        ge=1,
        description="Whose metrics judge, as its place in the list, from 1; left out: the first "
        "that has some of its own.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if any(one.kind == SEVERAL for one in self.routers):
            raise ValueError("expected routers, and no list in a list")
        if len(set(self.routers)) < len(self.routers):
            raise ValueError("routers: expected each router once")
        if self.judged_by is not None and self.judged_by > len(self.routers):
            raise ValueError(f"judged_by: expected a place in the list, 1 to {len(self.routers)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """What a person tells them apart by.

        The kind; of a kind that is there twice also the connection, and where that is the same
        the place in the list.
        """
        kinds = [one.kind for one in self.routers]
        reached = [(one.kind, one.connection) for one in self.routers]
        names = []
        for place, one in enumerate(self.routers, 1):
            also = [one.connection] if one.connection else []
            if reached.count((one.kind, one.connection)) > 1 or not also:
                also.append(f"{place} of {len(kinds)}")
            is_alone = kinds.count(one.kind) == 1
            names.append(one.kind if is_alone else f"{one.kind} ({', '.join(also)})")
        return tuple(names)


@dataclass(frozen=True)
class RouterFacts:
    """What a catalog must know of a router: of its kind, and of its options.

    Of several it is what all of them can do, and the metrics of the one that judges.
    """

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

    def checked_each(self, written: Sequence[Any]) -> list[dict[str, JsonValue]]:
        """A list of routers, likewise."""

    def checked_hook(self, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        """What a catalog says of a hook's call, likewise."""

    def facts(self, router: RouterSpec) -> RouterFacts:
        """What a catalog must know of a router that `checked` has taken."""

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of a catalog, with the options of every kind."""


def kinds_of(context: Any) -> RouterKinds | None:
    """The kinds in the context of a validation; None if it has none."""
    return context.get(KINDS) if isinstance(context, dict) else None
