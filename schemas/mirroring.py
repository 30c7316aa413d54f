"""What versions that users don't see yet may be sent, and in which order a strategy may say so.

A strategy's steps are looked at by their weights: None is a step that gives users nothing, such as
a mirror or a preview.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import Field

from schemas.base import Model
from schemas.catalog_check import Finding

_FULL: Final = 100.0
SIDE_BY_SIDE: Final = (
    "a strategy of shape blue_green: with {what} some users are on the new version and some on "
    "the old, and side_by_side: false says that it can't be so"
)


class MirrorTerms(Model):
    """Which copies may be sent to a new version of a service that users don't see yet."""

    writes: bool = Field(
        default=False,
        description="Copies of every method: the service can take a POST or DELETE twice. Else "
        "those of GET, HEAD and OPTIONS alone.",
    )
    unmarked: bool = Field(
        default=False,
        description="Copies without the header x-aviary-mirror, where the router can't set it.",
    )


NO_TERMS: Final = MirrorTerms()
"""Of a service whose catalog says nothing of it."""


def check_unseen_first(weights: Sequence[float | None]) -> Iterator[Finding]:
    """Give the steps without users that come after one with some."""
    seen = False
    for index, weight in enumerate(weights):
        if weight is None and seen:
            expected = "mirror and preview before the first weight: no user sees the version then"
            yield Finding(("steps", index), "a step without a weight", expected)
        seen = seen or weight is not None


def check_switch(
    weights: Sequence[float | None],
    audiences: Sequence[str | None],
    *,
    ramps: bool,
    shrinks: bool,
) -> Iterator[Finding]:
    """Give what does not go with one switch of all users.

    Args:
        weights: of the steps.
        audiences: of the steps; None: everybody.
        ramps: whether there is a ramp.
        shrinks: whether stable's instances are taken away as the weight grows.
    """
    for index, weight in enumerate(weights):
        if weight is not None and weight < _FULL:
            expected = "100, mirror or preview: shape blue_green switches all users at once"
            yield Finding(("steps", index, "weight"), weight, expected)
    for index, audience in enumerate(audiences):
        if audience is not None:
            expected = "none with shape blue_green, which switches all users at once"
            yield Finding(("steps", index, "audience"), audience, expected)
    if ramps:
        expected = "none with shape blue_green, which switches all users at once"
        yield Finding(("ramp",), "a ramp", expected)
    if shrinks:
        expected = "false with shape blue_green, which keeps the old version ready"
        yield Finding(("shrink_stable",), True, expected)


def mixes_users(
    weights: Sequence[float | None], audiences: Sequence[str | None], *, ramps: bool
) -> str:
    """What puts some users on the new version while others are on the old; empty: nothing does."""
    if ramps:
        return "a ramp"
    steps = zip(weights, audiences, strict=True)
    found = [
        f"{weight:g} %{f' of {audience}' if audience else ''}"
        for weight, audience in steps
        if weight is not None and (weight < _FULL or audience is not None)
    ]
    return f"{'a step' if len(found) == 1 else 'steps'} of {', '.join(found)}" if found else ""
