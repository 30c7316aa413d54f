"""What a strategy and a judge ask of a router, held against what it can do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from schemas.audience_spec import NamedAudience
from schemas.audience_steps import told_weight
from schemas.base import format_duration
from schemas.capabilities import (
    Capabilities,
    Counting,
    at_most,
    can_do,
    next_weight,
    untellable,
)
from schemas.catalog_check import Finding, Path
from schemas.judging import JudgeSpec, RampSpec
from schemas.mirroring import NO_TERMS, MirrorTerms
from schemas.route import MIRROR_HEADER
from schemas.strategy import Strategy

NO_RAMP: Final = (
    "steps, or lane: false of the service: what a lane sends to the canary comes on top of its "
    "weight, so that a ramp could not keep to its budget"
)
_NO_AUDIENCES: Final[Mapping[str, NamedAudience]] = MappingProxyType({})


def check_able(  # noqa: PLR0913 - what it may ask for
    strategy: Strategy,
    can: Capabilities,
    router: str,
    path: Path = (),
    terms: MirrorTerms = NO_TERMS,
    *,
    audiences: Mapping[str, NamedAudience] = _NO_AUDIENCES,
    lane: bool = False,
) -> Iterator[Finding]:
    """Give each thing that a strategy asks for and its router can't do.

    Args:
        strategy: of a service.
        can: what the router of that service can do.
        router: its name, for a person: its kind.
        path: where the strategy stands in its document.
        terms: which copies the service can take.
        audiences: those that it names.
        lane: whether the service is part of a lane.
    """
    if lane and strategy.ramp is not None:
        yield Finding((*path, "ramp"), "a ramp", NO_RAMP)
    yield from _check_sticky(strategy, can, router, path)
    if "lease" in strategy.model_fields_set and strategy.lease and not can.leases:
        expected = f"off: with the router {router} a canary can have no lease"
        yield Finding((*path, "lease"), format_duration(strategy.lease), expected)
    yield from _check_audiences(strategy, can, router, path, audiences)
    yield from _check_ab(strategy, can, router, path)
    for index, step in enumerate(strategy.given_steps):
        at = (*path, "steps", index)
        if step.weight is not None:
            whom = audiences.get(strategy.whom(step) or "")
            yield from _check_weight(step.weight, whom, can, router, (*at, "weight"))
        if step.mirror is not None:
            for expected in _check_mirror(can, router, terms):
                yield Finding((*at, "mirror"), step.mirror, expected)
        if step.preview and not can.forced:
            expected = f"no preview: the router {router} can't be asked for a version"
            yield Finding((*at, "preview"), step.preview, expected)
    if strategy.ramp is not None:
        yield from _check_ramp(strategy.ramp, can, router, (*path, "ramp"))


def check_lane(can: Capabilities, router: str, path: Path) -> Iterator[Finding]:
    """Give the router that can't be part of a lane.

    Args:
        can: what it can do.
        router: its name, for a person: its kind.
        path: where it is said that the service is part of one.
    """
    if not can.lanes:
        expected = f"lane: false of the service: the router {router} can't give requests a lane"
        yield Finding(path, "a lane", expected)


def unseen(judge: JudgeSpec, can: Capabilities, router: str) -> Iterator[str]:
    """Say what can't be seen with a router, or is not looked at: for a person, and no error.

    Args:
        judge: of a service.
        can: what the router of that service can do.
        router: its name, for a person: its kind.
    """
    if can.counts is Counting.NONE:
        yield (
            f"the router {router} counts no requests: whether the canary gets its share, and "
            "whether requests stop after a rollback, is not seen"
        )
    if can.counts is Counting.METRICS:
        yield (
            f"requests of the router {router} are counted by the metrics source, and late: the "
            "canary's share is looked at that much later, and whether requests stop after a "
            "rollback is not"
        )
    if can.pinned:
        yield (
            f"the router {router} keeps a user on the version that was given first: a weight is a "
            "share of new users, and a smaller one takes nobody back before it is 0"
        )
    if not can.leases:
        yield (
            f"with the router {router} a canary has no lease: while Aviary is down it keeps its "
            "requests, and the sentinel takes nothing back"
        )
    if judge.largest_user is not None and not can.sticky:
        yield (
            f"judge.largest_user is not looked at: the router {router} keeps no user on a version, "
            "it draws each request anew"
        )


def _check_sticky(
    strategy: Strategy, can: Capabilities, router: str, path: Path
) -> Iterator[Finding]:
    if strategy.sticky is None or strategy.sticky.by in can.sticky_choices:
        return
    able = ", ".join(can.sticky_choices)
    expected = f"one that the router {router} can do: {able}" if able else "none"
    if not able:
        expected += f": with the router {router} users stay by what it is set up for"
    yield Finding((*path, "sticky"), strategy.sticky.by.value, expected)


def _check_ab(strategy: Strategy, can: Capabilities, router: str, path: Path) -> Iterator[Finding]:
    """Give an A/B test on a router that draws each request anew: no user has one version then."""
    if strategy.ab is not None and strategy.sticky is None and not can.sticky:
        expected = f"steps: the router {router} keeps no user on a version"
        if can.sticky_choices:
            expected = f"sticky ({', '.join(can.sticky_choices)}), so that a user has one version"
        yield Finding((*path, "ab"), "an A/B test", expected)


def _check_weight(
    written: float, whom: NamedAudience | None, can: Capabilities, router: str, path: Path
) -> Iterator[Finding]:
    percent = 100.0 if whom is None else whom.percent
    weight = told_weight(written, percent)
    if not weight or not can_do(can.weights, weight):
        expected = _nearest(weight, can, router)
        if percent < 100.0:  # noqa: PLR2004 - percent
            expected = f"with {percent:g} % of the audience, {expected}"
        yield Finding(path, written, expected)


def _check_mirror(can: Capabilities, router: str, terms: MirrorTerms) -> Iterator[str]:
    if not can.mirroring:
        yield f"no mirror: the router {router} can't copy requests"
        return
    if not can.mirror_reads and not terms.writes:
        yield (
            f"mirror.writes of the service: the router {router} can't keep POST and what else "
            "changes something out of the copies"
        )
    if not can.mirror_mark and not terms.unmarked:
        yield (
            f"mirror.unmarked of the service: the router {router} can't give copies the header "
            f"{MIRROR_HEADER}"
        )


def _check_ramp(ramp: RampSpec, can: Capabilities, router: str, path: Path) -> Iterator[Finding]:
    if can.counts is not Counting.ROUTER:
        yield Finding(path, "a ramp", f"steps: the router {router} counts no requests")
    if at_most(can.weights, ramp.cap) == 0:
        yield Finding((*path, "cap"), ramp.cap, _nearest(ramp.cap, can, router))
    elif at_most(can.weights, max(ramp.cap, ramp.full_weight)) < ramp.full_weight:
        # Its weights are rounded down to what the router can do, and none would ever be enough.
        expected = _nearest(ramp.full_weight, can, router)
        yield Finding((*path, "full_weight"), ramp.full_weight, expected)


def _check_audiences(
    strategy: Strategy,
    can: Capabilities,
    router: str,
    path: Path,
    audiences: Mapping[str, NamedAudience],
) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, step in enumerate(strategy.given_steps):
        name = strategy.whom(step)
        if name is None or name not in audiences or name in seen:
            continue
        seen.add(name)
        at: Path = (*path, "steps", index, "audience") if step.audience else (*path, "audience")
        for lacks in untellable(audiences[name].audience, can):
            yield Finding(at, name, f"one that the router {router} can tell: {lacks}")
    if can.audience_terms.kept or not audiences:
        return
    for index, reach in enumerate(strategy.reaches(audiences)[: len(strategy.given_steps)]):
        if reach.kept:
            expected = (
                f"steps of one audience, and then 100 for everybody: the router {router} can't "
                f"have several weights at a time ({reach.adds})"
            )
            yield Finding((*path, "steps", index), reach.name or "everybody", expected)
            return


def _nearest(weight: float, can: Capabilities, router: str) -> str:
    return (
        f"a weight that the router {router} can do: {can.weights.text}, {can.smallest:g} % or "
        f"more; the nearest is {next_weight(can.weights, weight):g} %"
    )
