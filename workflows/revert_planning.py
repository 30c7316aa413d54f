"""What takes a release back that has ended: a release of its own, as a plan. Pure.

Its services go the other way round, dependents first, each to the version that it had before, with
all requests at once. A feature flag beside which its services were judged, and that a later release
turned on, is off before they move. What has the version up, who has the lock of a service, what is
fenced and how a fault is survived is as in every release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.admission import AdmissionPolicy
from schemas.alert_policy import SEVERITIES, AlertAction, AlertPolicy, DependentsAlerts
from schemas.audience_steps import Whom
from schemas.base import format_duration
from schemas.deploy_spec import DeploySpec, Prepare
from schemas.deployment import WantedVersion
from schemas.graph import levels
from schemas.outside import TEXT_MOST, cut
from schemas.phases import ReleasePhase
from schemas.release import ReleasePlan, ReleaseStatus, ServicePlan
from schemas.reverting import Obstacle, ObstacleKind, RevertPreview, WayBack
from schemas.stages import HookStage, stages_of
from schemas.strategy import Step, Strategy
from workflows.plan import dependents

STRATEGY: Final = "revert"
"""What the strategy of a revert is called."""


@dataclass(frozen=True)
class ContractState:
    """What became of a hook that takes away what only the version before needs."""

    hook: str
    done: bool
    """It was called, or may have been: there is no way back."""
    text: str


@dataclass(frozen=True)
class ServiceNow:
    """What is known of a service of a release that has ended."""

    newest: str = ""
    """The release whose canary was its last; empty: not known, and its route will tell."""
    moves: bool = False
    """That canary runs."""
    serves: str | None = None
    """The version that serves since its last canary; None: not known."""
    before: WantedVersion | None = None
    """By which the version before was up; None: not remembered."""
    contracts: tuple[ContractState, ...] = ()


@dataclass(frozen=True)
class LaterFlag:
    """A feature flag that a later release has taken from what the steps of this one asked for."""

    planned: ServicePlan
    """Of the later release."""
    variant: str
    """That everybody had while this release was judged."""
    release: str
    """The later one."""
    needs: frozenset[str]
    """The services of this release whose steps name it."""
    moves: bool = False
    """The later release runs."""


@dataclass(frozen=True)
class EndedRelease:
    """A release that is to be taken back, as Temporal remembers it."""

    plan: ReleasePlan
    status: ReleaseStatus
    now: Mapping[str, ServiceNow] = field(default_factory=dict)
    flags: tuple[LaterFlag, ...] = ()

    def of(self, service: str) -> ServiceNow:
        """What is known of a service."""
        return self.now.get(service, ServiceNow())


@dataclass(frozen=True)
class _Change:
    """One service that the release changed."""

    planned: ServicePlan
    before: str
    now: ServiceNow
    flag: LaterFlag | None = None
    """None: it is one of the release's own services."""


def preview(ended: EndedRelease, revert: str) -> RevertPreview:
    """What taking a release back would do, or what stands in its way.

    Args:
        ended: the release.
        revert: the id of the release that would do it.
    """
    changes, obstacles = _changes(ended)
    needs = _reversed(ended, changes)
    stages = tuple(
        tuple(_way_back(ended, changes[service]) for service in level) for level in levels(needs)
    )
    return RevertPreview(
        release=ended.plan.release, revert=revert, obstacles=tuple(obstacles), stages=stages
    )


def plan_revert(ended: EndedRelease, revert: str, because: str) -> ReleasePlan:
    """The plan of the release that takes another one back.

    Args:
        ended: the release; nothing stands in the way.
        revert: the id of the new one.
        because: why, for people.
    """
    changes, _ = _changes(ended)
    needs = _reversed(ended, changes)
    services = {name: _service_plan(one, needs[name], changes) for name, one in changes.items()}
    plan = ended.plan
    return ReleasePlan(
        release=revert,
        services=services,
        stages=tuple(tuple(level) for level in levels(needs)),
        max_parallel=max(plan.max_parallel, len(services)),
        admission=AdmissionPolicy(),
        environment=plan.environment,
        labels=plan.labels,
        source=cut(f"release {plan.release}, which this takes back: {because}", TEXT_MOST),
        reverts=plan.release,
    )


# --- what stands in the way ---


def _changes(ended: EndedRelease) -> tuple[dict[str, _Change], list[Obstacle]]:
    """The services that the release changed, and what stands in the way of taking it back."""
    if obstacle := _not_there(ended):
        return {}, [obstacle]
    changes: dict[str, _Change] = {}
    obstacles: list[Obstacle] = []
    for one in ended.status.services:
        planned, now = ended.plan.services[one.service], ended.of(one.service)
        if one.stable == planned.version:
            continue
        if one.stable is None:
            text = f"{one.service} had no version before {planned.version}"
            kind = ObstacleKind.NOTHING_BEFORE
            obstacles.append(Obstacle(kind=kind, service=one.service, text=text))
            continue
        changes[one.service] = change = _Change(planned, one.stable, now)
        obstacles += _in_the_way(ended.plan.release, change)
    if not changes and not obstacles:
        text = f"release {ended.plan.release} changed nothing: its versions were stable before"
        obstacles.append(Obstacle(kind=ObstacleKind.NOTHING_CHANGED, text=text))
    for flag in ended.flags:
        if flag.needs.isdisjoint(changes):
            continue
        name = flag.planned.service
        changes[name] = _Change(flag.planned, flag.variant, ServiceNow(), flag)
        if flag.moves:
            text = f"release {flag.release} has the flag {name} now, which has to be off before"
            obstacles.append(Obstacle(kind=ObstacleKind.NEWER, service=name, text=text))
    return changes, obstacles


def _not_there(ended: EndedRelease) -> Obstacle | None:
    release, phase = ended.plan.release, ended.status.phase
    if not phase.closed:
        text = f"release {release} is {phase.words}"
        if phase.forward:
            text += f": `aviary release rollback {release}` takes it back"
        return Obstacle(kind=ObstacleKind.NOT_ENDED, text=text)
    if phase is not ReleasePhase.FINALIZED:
        return Obstacle(kind=ObstacleKind.WENT_BACK, text=f"release {release} has gone back")
    return None


def _in_the_way(release: str, change: _Change) -> Iterator[Obstacle]:
    service, version, now = change.planned.service, change.planned.version, change.now
    newer = ""
    if now.newest not in {"", release}:
        if now.moves:
            newer = f"release {now.newest} has {service} now"
        elif now.serves != version:
            newer = f"{now.serves} serves since release {now.newest}"
    if newer:
        text = f"{service} {version} is not the newest: {newer}"
        yield Obstacle(kind=ObstacleKind.NEWER, service=service, text=text)
    for contract in now.contracts:
        if contract.done:
            text = f"{service} can't go back to {change.before}: {contract.text}"
            yield Obstacle(kind=ObstacleKind.CONTRACTED, service=service, text=text)


def _way_back(ended: EndedRelease, change: _Change) -> WayBack:
    planned = change.planned
    return WayBack(
        service=planned.service,
        version=planned.version,
        to=change.before,
        notes=tuple(_notes(ended.plan.release, change)),
    )


def _notes(release: str, change: _Change) -> Iterator[str]:
    """What a person is to know before."""
    planned, before = change.planned, change.before
    deploy = planned.deploy
    if change.flag is not None:
        yield f"a flag that release {change.flag.release} gave: {before} before its version goes"
    elif deploy is None:
        yield f"its pipeline has to have {before} up"
    else:
        within = format_duration(deploy.progress_deadline)
        yield f"where {before} is not up any more it is put up first, for at most {within}"
        if change.now.before is None:
            yield f"how {before} was put up is not remembered: it is by the recipe of {release}"
    called = {one.hook.name for one in planned.stages if isinstance(one, HookStage)}
    if called:
        yield f"what these hooks have done is not undone: {', '.join(sorted(called))}"
    for contract in change.now.contracts:
        if not contract.done:
            yield f"hook {contract.hook} ({contract.text}) is not called once {before} serves"


# --- the plan ---


def _reversed(ended: EndedRelease, changes: Mapping[str, _Change]) -> dict[str, set[str]]:
    """For each service those that go back before it: all that depend on it.

    What depends on a service through one that is left alone goes back before it as well.
    """
    forward = {name: set(one.depends_on) for name, one in ended.plan.services.items()}
    forward |= {flag.planned.service: set(flag.needs) for flag in ended.flags}
    reverse = dependents(forward)
    for name in forward.keys() - changes.keys():
        needs, users = forward.pop(name), reverse.pop(name)
        for user in users:
            forward[user] = (forward[user] | needs) - {name}
        for need in needs:
            reverse[need] = (reverse[need] | users) - {name}
    return reverse


def _service_plan(change: _Change, needs: set[str], changes: Mapping[str, _Change]) -> ServicePlan:
    planned = change.planned
    members = tuple(one for one in planned.group if one in changes)
    group = members if len(members) > 1 else ()
    strategy = Strategy(steps=(Step(weight=100),), sticky=planned.strategy.sticky)
    return planned.model_copy(
        update={
            "version": change.before,
            "takes_back": planned.version,
            "depends_on": tuple(sorted(needs)),
            "group": group,
            "strategy_name": STRATEGY,
            "strategy": strategy,
            "stages": stages_of(
                strategy,
                1 if group else 0,
                deploys=planned.deploy is not None,
                whom=Whom(),
            ),
            "hooks": (),
            "lane": None,
            "needs": {},
            "metrics": (),
            "alerts": _unmoved_by_alerts(planned.alerts),
            **_made_of(change),
        }
    )


def _unmoved_by_alerts(policy: AlertPolicy) -> AlertPolicy:
    """Alerts are recorded: what fires may be the reason for the revert."""
    return policy.model_copy(
        update={
            "severities": dict.fromkeys({*SEVERITIES, *policy.severities}, AlertAction.RECORD),
            "otherwise": AlertAction.RECORD,
            "not_canary": AlertAction.RECORD,
            "dependents_alerts": DependentsAlerts.IGNORE,
        }
    )


def _made_of(change: _Change) -> dict[str, object]:
    """By what the version before is put up again, at once and not in its turn."""
    deploy, order = change.planned.deploy, change.now.before
    if deploy is None:
        return {}
    terms = deploy.model_dump(include={*DeploySpec.model_fields})
    recipe = deploy.recipe if order is None else order.recipe
    again = DeploySpec.model_validate({**recipe, **terms, "prepare": Prepare.AHEAD})
    return {
        "deploy": again,
        "image": None if order is None else order.image,
        "config": {} if order is None else order.config,
    }
