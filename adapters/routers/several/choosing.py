"""Of what several routers say, what counts: routes that differ, and errors. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from adapters.errors import (
    AdapterError,
    ForeignChange,
    HalfWritten,
    Retryable,
    StaleGeneration,
    UnknownRoute,
)
from adapters.ports import Part
from schemas.route import Route

T = TypeVar("T")
E = TypeVar("E", bound=AdapterError)

_URGENT: Final = (StaleGeneration, ForeignChange, Retryable, UnknownRoute, AdapterError)
"""Which of several errors counts: one that a newer route explains, then one that will pass."""


def furthest(routes: Sequence[Route]) -> Route | None:
    """The route that stands for all: one with a canary before one without, then the newest.

    Its generation is the largest of all, so that whatever is written next is newer everywhere.
    """
    if not routes:
        return None
    found = max(routes, key=lambda one: (one.canary is not None, one.generation, one.weight))
    newest = max(one.generation for one in routes)
    return found.model_copy(update={"generation": newest})


def is_same_split(applied: Route, believed: Route) -> bool:
    """Whether a router does with requests what is believed, perhaps since an earlier write."""
    told = {"generation": believed.generation, "owner": believed.owner}
    older = applied.generation <= believed.generation
    return older and applied.model_copy(update=told) == believed


def in_all(port: T | None) -> T:
    """A port that each of the routers has, since what they can do together says so."""
    if port is None:
        raise TypeError("one of several routers lacks a port that all of them claim")
    return port


def named(error: E, part: Part) -> E:
    """The same error, which says of which router it is."""
    return _with_text(error, part.said(str(error)))


def half_way(error: ForeignChange) -> HalfWritten:
    """For a change by somebody else that is found when another router has the route already."""
    return HalfWritten.of_text(f"{error}; another router of the service has the new route already")


def first_of(problems: Sequence[BaseException]) -> BaseException:
    """The error that counts, of several."""
    for problem in problems:
        if not isinstance(problem, AdapterError):
            return problem
    for kind in _URGENT:
        for problem in problems:
            if isinstance(problem, kind):
                return problem
    return problems[0]


def worst(problems: Sequence[BaseException], done: Sequence[str]) -> BaseException:
    """The error that counts, with the text of all, and with who has done it."""
    first = found = first_of(problems)
    if not isinstance(found, AdapterError):
        return found
    if isinstance(found, ForeignChange) and done:
        found = half_way(found)
    texts = [str(found), *(str(one) for one in problems if one is not first)]
    if done:
        texts.append(f"done by {', '.join(done)}")
    return _with_text(found, "; ".join(texts))


def _with_text(error: E, text: str) -> E:
    """An error like this one; its class may take more than a text."""
    made = type(error).__new__(type(error), text)
    made.__dict__.update(error.__dict__)
    made.args = (text,)
    return made
