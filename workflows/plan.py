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
class Begin:
    """Tell a canary that was begun ahead that its turn has come."""

    service: str


@dataclass(frozen=True)
class GoOn:
    """Tell a canary that all of its group have come to the point where it waits."""

    service: str
    point: int


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


Action = Start | Begin | GoOn | Skip | RollBack | Soak | BeginFinalize | Finalize | Finish


@dataclass(frozen=True)
class View:
    """All that the next action depends on."""

    depends_on: Mapping[str, Iterable[str]]
    """Per service, the services of this release that must hold first; closed transitively. A graph
    without cycles: those that need each other are a group, and depend on what that needs."""
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
    """Services a person sent back out of order; each takes its group along."""
    away: frozenset[str] = field(default_factory=frozenset)
    """Services whose canaries have no traffic, whatever else they wait for."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Per service, those that move in step, itself among them; one that is missing moves alone."""
    points: Mapping[str, int] = field(default_factory=dict)
    """Per service, the last point of its group that its canary has come to; none is 0."""
    told: Mapping[str, int] = field(default_factory=dict)
    """Per service, the last point that its canary was told to go on from."""
    pausing: frozenset[str] = field(default_factory=frozenset)
    """Services whose canaries go no further than they are."""
    ahead: frozenset[str] = field(default_factory=frozenset)
    """Services whose versions are put up at the release's beginning; their turn comes later."""
    told_begin: frozenset[str] = field(default_factory=frozenset)
    """Those of them that were told that their turn has come."""

    @property
    def early(self) -> frozenset[str]:
        """Services that are put up and have not had their turn: what moves does not count them."""
        return self.ahead - self.told_begin

    def group(self, service: str) -> tuple[str, ...]:
        """All that move in step with a service, and itself."""
        return self.groups.get(service) or (service,)


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
    going = _go_on(view)
    return going if view.paused else (*going, *_begin_ahead(view), *_start(view))


def _begin_ahead(view: View) -> tuple[Action, ...]:
    """Have all versions that are to be up early put up, whatever else moves."""
    waiting = (one for one, phase in view.phases.items() if phase is CanaryPhase.WAITING)
    return tuple(Start(service) for service in waiting if service in view.early)


def _go_on(view: View) -> tuple[Action, ...]:
    """Let those on that wait at a point to which all of their group have come.

    While one of a group pauses none of it goes on, whatever else of the release pauses.
    """
    return tuple(
        GoOn(service, point)
        for service, phase in view.phases.items()
        if phase is CanaryPhase.IN_STEP
        and (point := view.points.get(service, 0)) > view.told.get(service, 0)
        and view.pausing.isdisjoint(view.group(service))
        and all(_has_come(view, one, point) for one in view.group(service))
    )


def _has_come(view: View, service: str, point: int) -> bool:
    """Whether it came to the point, or will come to none any more."""
    phase = view.phases[service]
    holds = phase is CanaryPhase.HOLDING or phase.final or phase.closed
    return holds or view.points.get(service, 0) >= point


def _start(view: View) -> tuple[Action, ...]:
    """Start groups as wholes: those of which one has begun, then as many as there is room for.

    A group with more services than may move at once has its turn when nothing else moves. The
    first for which there is no room keeps its place, so that small ones don't pass it for ever.
    """
    begun: list[str] = []
    fresh: list[list[str]] = []
    for members in _ready(view):
        whole = len(members) == len(view.group(members[0]))
        if whole:
            fresh.append(members)
        else:
            begun += members
    moving = sum(_moves(view, one) for one in view.phases) + len(begun)
    starting = begun
    for members in fresh:
        if moving and moving + len(members) > view.max_parallel:
            break
        moving += len(members)
        starting += members
    return tuple(Begin(one) if one in view.early else Start(one) for one in starting)


def _moves(view: View, service: str) -> bool:
    """Whether it takes the place of another that could move; told to, it does so soon."""
    if service in view.early:
        return False
    phase = view.phases[service]
    return phase.about.takes_slot or phase is CanaryPhase.PREPARED


def _waits(view: View, service: str) -> bool:
    """Whether it waits for its turn and for nothing else of its own."""
    early = service in view.early
    return view.phases[service] is (CanaryPhase.PREPARED if early else CanaryPhase.WAITING)


def _ready(view: View) -> list[list[str]]:
    """Services that wait for no other any more, each with those of its group."""
    phases = view.phases
    ready: dict[str, list[str]] = {}
    for service, needs in view.depends_on.items():
        if not _waits(view, service) or any(
            one in view.early and not _waits(view, one) for one in view.group(service)
        ):
            continue
        if all(phases[need] is CanaryPhase.HOLDING for need in needs):
            ready.setdefault(view.group(service)[0], []).append(service)
    return list(ready.values())


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
        elif not view.forced.isdisjoint(view.group(service)) or all(
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
