"""Whom each step of a strategy is for, and who keeps the canary from the steps before it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.audience import Audience, AudienceShare
from schemas.audience_spec import NamedAudience

_FULL = 100.0


@dataclass(frozen=True)
class Whom:
    """The audiences of a strategy, as a service can tell them."""

    audiences: Mapping[str, NamedAudience] = field(default_factory=dict)
    unlike: str = ""
    """Why its metrics can't tell an audience; empty: they can."""


@dataclass(frozen=True)
class Reach:
    """Whom a step is for."""

    name: str
    """Of their audience; empty: everybody."""
    audience: Audience | None
    weight: float
    """The canary's share of their requests, percent, as a router is told it."""
    kept: tuple[AudienceShare, ...]
    """Whom the canary is for besides, since an earlier step."""
    adds: str
    """Whom the step adds, for a person."""

    @property
    def all_of_it(self) -> bool:
        """Whether nobody of an audience is on stable."""
        return self.audience is not None and self.weight >= _FULL


def reaches(
    steps: Sequence[tuple[str | None, float]], audiences: Mapping[str, NamedAudience]
) -> tuple[Reach, ...]:
    """Whom each step is for.

    Args:
        steps: name of the audience (None: everybody), and the share of it, in percent.
        audiences: those of the catalog, by name.

    Raises:
        KeyError: there is no such audience.
    """
    found: list[Reach] = []
    had: dict[str | None, float] = {}
    for name, share in steps:
        weight = told_weight(share, audiences[name].percent if name is not None else _FULL)
        everybody = max(had.get(None, 0.0), weight if name is None else 0.0)
        kept = {one: of for one, of in had.items() if one != name and of > everybody}
        if name is not None and everybody:
            kept[None] = everybody
        found.append(
            Reach(
                name=name or "",
                audience=None if name is None else audiences[name].audience,
                weight=weight,
                kept=tuple(
                    AudienceShare(
                        audience=None if one is None else audiences[one].audience, weight=of
                    )
                    for one, of in kept.items()
                ),
                adds=_adds(name, weight, had.get(name, 0.0), kept),
            )
        )
        had[name] = weight
    return tuple(found)


def told_weight(share: float, percent: float) -> float:
    """What a router is told of a share of so many percent of an audience."""
    return round(share * percent / _FULL, 2)


def _adds(name: str | None, weight: float, before: float, kept: Mapping[str | None, float]) -> str:
    """`20 % of benelux; staff keeps 100 %`."""
    grown = f" (from {before:g} %)" if before else ""
    others = [f"{one or 'everybody else'} keeps {of:g} %" for one, of in kept.items()]
    return "; ".join([f"{weight:g} % of {name or 'everybody'}{grown}", *others])
