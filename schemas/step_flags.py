"""Feature flags that have a named variant for everybody while a step of a version is judged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, RootModel, TypeAdapter, WithJsonSchema

from schemas.base import Model, ServiceName, Version
from schemas.catalog_check import Finding, Path, nearest
from schemas.router_spec import RouterSpec

MOST_FLAGS: Final = 20
"""Of one step: each is looked at before it and after it."""


def _spelled(value: Any) -> Any:
    """YAML reads a bare `off` as false."""
    return ("on" if value else "off") if isinstance(value, bool) else value


StepVariant = Annotated[
    Version,
    BeforeValidator(_spelled),
    WithJsonSchema({"anyOf": [TypeAdapter(Version).json_schema(), {"type": "boolean"}]}),
]


class StepFlags(RootModel[Annotated[dict[ServiceName, StepVariant], Field(max_length=MOST_FLAGS)]]):
    """By the name of a flag, the variant that everybody is to have; `new-checkout: off`."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"additionalProperties": False})

    @property
    def text(self) -> str:
        """For a person: `new-checkout off, new-cart off`; empty without flags."""
        return ", ".join(f"{name} {variant}" for name, variant in self.root.items())

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.root)

    def __hash__(self) -> int:
        """Strategies that are equal are kept once."""
        return hash(frozenset(self.root.items()))


NO_FLAGS: Final = StepFlags({})


class WantedFlag(Model):
    """A flag, and the variant that everybody is to have of it."""

    flag: ServiceName = Field(description="Its entry in the catalog.")
    variant: Version
    router: RouterSpec

    @property
    def text(self) -> str:
        """For a person: `new-checkout off`."""
        return f"{self.flag} {self.variant}"


def unfit_flags(
    service: str,
    steps: Collection[StepFlags],
    needs: Callable[[str], Collection[str]],
    is_flag: Callable[[str], bool],
    path: Path = (),
) -> Iterator[Finding]:
    """Give the flags of a strategy's steps that are none, or that are not of the service.

    Args:
        service: that has the strategy.
        steps: the flags of each step.
        needs: what an entry of the catalog depends on, by its name; raises KeyError for one that
            is not there.
        is_flag: whether an entry is a flag.
        path: of the strategy.
    """
    told: set[str] = set()
    for index, flags in enumerate(steps):
        for name in flags.root:
            if name not in told and (expected := _unfit(service, name, needs, is_flag)):
                told.add(name)
                yield Finding((*path, "steps", index, "flags", name), name, expected)


def _unfit(
    service: str,
    name: str,
    needs: Callable[[str], Collection[str]],
    is_flag: Callable[[str], bool],
) -> str:
    """What was expected in place of a flag; empty: it is one of the service."""
    try:
        found = _reached(name, needs)
    except KeyError:
        return "a feature flag of this catalog"
    if not is_flag(name):
        return "a feature flag: an entry whose router is a provider of flags"
    if service not in found:
        return f"a flag that depends on {service}, which has this strategy"
    if name in _reached(service, needs):
        return f"a flag that {service} does not depend on: they would move in step"
    return ""


def _reached(start: str, needs: Callable[[str], Collection[str]]) -> set[str]:
    """All that an entry depends on, directly or not."""
    found: set[str] = set()
    ahead = list(needs(start))
    while ahead:
        if (name := ahead.pop()) not in found:
            found.add(name)
            ahead += needs(name)
    return found


def with_hint(found: Finding, known: Collection[str]) -> Finding:
    """The finding, with the name that was perhaps meant where there is no such entry."""
    if found.value in known:
        return found
    return Finding(found.path, found.value, found.expected + nearest(str(found.value), known))
