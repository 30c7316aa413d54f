"""What a release does next: pure, so that every order of events can be tested.

`next_actions` looks at where the services are and says what may be done now; `workflows.release`
carries it out. Nothing here knows Temporal, time or a router.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from schemas.release import CanaryPhase


@dataclass(frozen=True)
class Start:
    """Start the canary of a service."""

    service: str


@dataclass(frozen=True)
class Skip:
    """Never start it: the release goes back."""

    service: str


@dataclass(frozen=True)
class RollBack:
    """Order a touched service back."""

    service: str


@dataclass(frozen=True)
class Soak:
    """All hold: watch them together for the soak time."""


@dataclass(frozen=True)
class BeginFinalize:
    """The point of no return."""


@dataclass(frozen=True)
class Finalize:
    """Make a service's canary its stable version."""

    service: str


@dataclass(frozen=True)
class Finish:
    """The release has ended."""

    rolled_back: bool


Action = Start | Skip | RollBack | Soak | BeginFinalize | Finalize | Finish


@dataclass(frozen=True)
class View:
    """All that the next action depends on."""

    depends_on: Mapping[str, Iterable[str]]
    """Per service, the services of this release that must hold first; closed transitively."""
    phases: Mapping[str, CanaryPhase]
    max_parallel: int = 10
    paused: bool = False
    aborting: bool = False
    """The release goes back; never true once finalizing."""
    soaked: bool = False
    finalizing: bool = False
    ordered: frozenset[str] = field(default_factory=frozenset)
    """Services already ordered to roll back or to finalize."""
    forced: frozenset[str] = field(default_factory=frozenset)
    """Services a person sent back out of order."""
    away: frozenset[str] = field(default_factory=frozenset)
    """Services whose canaries have no traffic, whatever else they wait for."""


def next_actions(view: View) -> tuple[Action, ...]:
    """What may be done now, in a fixed order; empty when there is only waiting."""
    if view.finalizing:
        return _finalize(view)
    if view.aborting:
        return _roll_back(view)
    return _advance(view)


def dependents(depends_on: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """The reverse of `depends_on`: who depends on each service."""
    reverse: dict[str, set[str]] = {service: set() for service in depends_on}
    for service, needs in depends_on.items():
        for need in needs:
            reverse[need].add(service)
    return reverse


def _advance(view: View) -> tuple[Action, ...]:
    phases = view.phases
    if all(phase is CanaryPhase.HOLDING for phase in phases.values()):
        if view.paused:
            return ()
        return (BeginFinalize(),) if view.soaked else (Soak(),)
    if view.paused:
        return ()
    moving = sum(phase.about.takes_slot for phase in phases.values())
    ready = [
        service
        for service, needs in view.depends_on.items()
        if phases[service] is CanaryPhase.WAITING
        and all(phases[need] is CanaryPhase.HOLDING for need in needs)
    ]
    return tuple(Start(service) for service in ready[: max(view.max_parallel - moving, 0)])


def _roll_back(view: View) -> tuple[Action, ...]:
    phases = view.phases
    if all(phase.closed for phase in phases.values()):
        return (Finish(rolled_back=True),)
    reverse = dependents(view.depends_on)
    actions: list[Action] = []
    for service, phase in phases.items():
        if phase is CanaryPhase.WAITING:
            actions.append(Skip(service))
        elif phase.closed or service in view.ordered:
            continue
        elif service in view.forced or all(
            phases[user].back or phases[user].untouched or user in view.away
            for user in reverse[service]
        ):
            actions.append(RollBack(service))
    return tuple(actions)


def _finalize(view: View) -> tuple[Action, ...]:
    phases = view.phases
    if all(phase.closed for phase in phases.values()):
        return (Finish(rolled_back=False),)
    return tuple(
        Finalize(service)
        for service, needs in view.depends_on.items()
        if not phases[service].closed
        and service not in view.ordered
        and all(phases[need].closed for need in needs)
    )
