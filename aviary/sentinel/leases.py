"""When a lease is over, and what goes back with it, in which order. Pure: no clock, no I/O.

A lease is over when nothing of it has changed for its length, seen on one clock that only grows:
the sentinel's own. No time of another machine is compared (docs/decisions/0040-leases.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from adapters.ports import Leased
from schemas.base import format_duration
from schemas.graph import components
from schemas.route import Route


class Key(NamedTuple):
    """Whose lease it is."""

    service: str
    router: int
    """Which of the sentinel's routers has the route: several may serve one service."""


@dataclass(frozen=True)
class Watched:
    """A lease, since it was last seen to change."""

    leased: Leased
    since: float
    """Seconds of the sentinel's clock, when the last sign of life was seen."""

    @property
    def route(self) -> Route:
        """The route that has it."""
        return self.leased.route

    def silent(self, now: float) -> float:
        """Seconds without a sign of life."""
        return now - self.since

    def is_over(self, now: float) -> bool:
        """Whether the lease is over."""
        lease = self.route.lease
        return lease is not None and self.silent(now) >= lease.total_seconds()


class Due(NamedTuple):
    """A canary that is to be taken back."""

    key: Key
    route: Route
    why: str
    """A sentence for people, and for the release."""


Watch = Mapping[Key, Watched]


def looked(before: Watch, found: Mapping[Key, Leased], now: float) -> dict[Key, Watched]:
    """What is watched after a look.

    Any change is a sign of life: another renewal, and another write of the route as well, since
    only who has the lease may make either. A lease that is seen for the first time begins then.

    Args:
        before: what was watched.
        found: all leases that there are now.
        now: when the look ended: a sign counts for too long rather than for too short.
    """
    return {
        key: before[key] if key in before and before[key].leased == leased else Watched(leased, now)
        for key, leased in found.items()
    }


def due(watch: Watch, now: float, needs: Mapping[str, Iterable[str]]) -> list[list[Due]]:
    """What is to be taken back: waves, one after the other, each of canaries that may go at once.

    With a lease that is over goes whatever the same release has that needs the service, directly
    or not, and before it: a new version must not be left without what it was released with.

    Args:
        watch: all leases, as they were seen just now.
        now: when that look began.
        needs: of each service of the catalog, those that it depends on.
    """
    over = {key for key, one in watch.items() if one.is_over(now)}
    if not over:
        return []
    dependents = _turned(needs)
    found: dict[Key, Due] = {}
    for key in sorted(over):
        one = watch[key]
        silent = _about(one.silent(now))
        why = f"the sentinel took it back: no sign of life for {silent}"
        found[key] = Due(key, one.route, why)
    for key in sorted(over):
        one, reached = watch[key], _reached(key.service, dependents)
        for other in sorted(watch.keys() - found.keys()):
            route = watch[other].route
            if other.service in reached and route.owner == one.route.owner:
                silent = _about(one.silent(now))
                why = f"the sentinel took it back: {key.service}, which it needs, gave no sign of "
                found[other] = Due(other, route, f"{why}life for {silent}")
    return _waves(found, needs)


def _about(seconds: float) -> str:
    return format_duration(timedelta(seconds=int(seconds)))


def _turned(needs: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Of each service, those that depend on it."""
    found: dict[str, list[str]] = {}
    for service, each in needs.items():
        for need in each:
            found.setdefault(need, []).append(service)
    return found


def _reached(service: str, dependents: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """All that depend on a service, directly or not; itself not, unless it is in a cycle."""
    found: set[str] = set()
    ahead = [service]
    while ahead:
        for one in dependents.get(ahead.pop(), ()):
            if one not in found:
                found.add(one)
                ahead.append(one)
    return frozenset(found)


def _waves(found: Mapping[Key, Due], needs: Mapping[str, Iterable[str]]) -> list[list[Due]]:
    """Dependents first; those that need each other at once."""
    height: dict[str, int] = {}
    services = {key.service for key in found}
    # What a component depends on comes before it.
    for component in components(needs):
        inside = set(component)
        below = (height[need] for one in component for need in _outside(needs[one], inside, height))
        own = max(below, default=0) + (1 if inside & services else 0)
        height |= dict.fromkeys(component, own)
    waves: dict[int, list[Due]] = {}
    for key in sorted(found):
        waves.setdefault(height.get(key.service, 0), []).append(found[key])
    return [waves[one] for one in sorted(waves, reverse=True)]


def _outside(each: Iterable[str], inside: set[str], known: Mapping[str, int]) -> Iterator[str]:
    return (need for need in each if need not in inside and need in known)
