"""Turns a catalog and a deploy request into the plan of a release. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final

from schemas.ab import compared
from schemas.audience_judging import unlike
from schemas.audience_steps import Whom
from schemas.capability_check import check_able
from schemas.catalog import Catalog, ResolvedService, ServiceSpec
from schemas.catalog_check import listed, nearest
from schemas.catalog_fit import NEEDS_METRICS, built_in, check_flags, lacks_metrics
from schemas.deploy import DeployRequested, Images, NamedFlag, ServiceVersion
from schemas.graph import components, levels
from schemas.mirroring import SIDE_BY_SIDE
from schemas.release import ReleasePlan, ServicePlan
from schemas.router_spec import RouterSpec
from schemas.stages import stages_of
from schemas.strategy import BUILT_IN, Strategy
from workflows.deploy_planning import unfit_version, with_version

ANY_ENVIRONMENT: Final = "default"
"""A catalog of this environment takes the events of every other."""
ENVIRONMENT_FIELD: Final = "data.subject.content.environment.id"
"""Where an event says what environment it is meant for."""
MOST_BYTES: Final = 1_800_000
"""Of a plan; Temporal takes 2 MB in one piece, and there is more beside the plan."""
_MOST_NEEDS: Final = 200_000
"""Dependencies of all services of a plan together."""
_NAMED = 5
"""Most names that an error spells out."""


class PlanReason(StrEnum):
    """Why there is no plan; a closed set, the same in dead letters and metrics."""

    UNKNOWN_SERVICE = "unknown_service"
    DUPLICATE_SERVICE = "duplicate_service"
    UNKNOWN_STRATEGY = "unknown_strategy"
    UNFIT_STRATEGY = "unfit_strategy"
    OTHER_ENVIRONMENT = "other_environment"
    UNFIT_DEPLOYER = "unfit_deployer"
    TOO_LARGE = "too_large"


class PlanError(ValueError):
    """A deploy request can't be planned with this catalog."""

    def __init__(self, reason: PlanReason, text: str) -> None:
        """Keep the reason apart from the text, so that it can be counted."""
        super().__init__(text)
        self.reason = reason
        self.text = text


def plan_release(
    catalog: Catalog,
    deploy: DeployRequested,
    *,
    source: str = "",
    environment: str | None = None,
    images: Images = Images.ORDERED,
) -> ReleasePlan:
    """Plan a release: what depends on what, what may go at once, and how each service goes.

    A service waits for those services of the release that it depends on, directly or through
    services outside the release. Those that wait for each other are a group, which waits as one and
    moves in step. The soak is the longest of all strategies in the release.

    Args:
        catalog: the services and strategies; the plan keeps a copy of what it needs.
        deploy: what shall be released.
        source: the deploy event's identity, kept for the record.
        environment: the one that the event is meant for, where it says so.
        images: how the images of the event are meant.

    Raises:
        PlanError: a service or the strategy is not in the catalog, a service is there twice, the
            event is meant for another environment, a version can't be put up, or the plan is more
            than Temporal takes.
    """
    _check_environment(catalog, environment)
    versions = _versions(catalog, deploy)
    _known_strategy(catalog, deploy.strategy)
    places = _places(catalog.services, versions)
    places = _with_points(places, catalog, deploy.strategy)
    services = {
        name: _service_plan(catalog, asked, places[name], deploy.strategy)
        for name, asked in sorted(versions.items())
    }
    for name, asked in versions.items():
        if unfit := unfit_version(catalog, services[name], asked, deploy.release, images):
            raise PlanError(PlanReason.UNFIT_DEPLOYER, f"services.{name}: {unfit}")
    needs = {name: place.needs for name, place in places.items()}
    plan = ReleasePlan(
        release=deploy.release,
        services=services,
        stages=tuple(tuple(level) for level in levels(needs)),
        soak=max((plan.strategy.soak for plan in services.values()), default=timedelta(0)),
        max_parallel=catalog.max_parallel,
        admission=catalog.admission,
        labels=deploy.labels,
        environment=catalog.environment,
        source=source,
    )
    _check_size(plan)
    return plan


def _check_environment(catalog: Catalog, asked: str | None) -> None:
    ours = catalog.environment
    if asked is not None and ours not in {ANY_ENVIRONMENT, asked}:
        text = f"{ENVIRONMENT_FIELD}: got {asked!r}, expected the catalog's environment {ours!r}"
        raise PlanError(PlanReason.OTHER_ENVIRONMENT, text)


def _check_size(plan: ReleasePlan) -> None:
    size = len(plan.model_dump_json().encode())
    if size > MOST_BYTES:
        text = (
            f"services: got {len(plan.services):,} of them, whose plan takes {size:,} bytes as "
            f"Temporal would keep it, expected at most {MOST_BYTES:,}: write the metrics that they "
            "have in common once, in defaults, with {{service}} in their queries, or release fewer "
            "services at a time"
        )
        raise PlanError(PlanReason.TOO_LARGE, text)


def _versions(catalog: Catalog, deploy: DeployRequested) -> dict[str, ServiceVersion]:
    versions = {item.service: item for item in deploy.services}
    if len(versions) < len(deploy.services):
        counts = Counter(item.service for item in deploy.services)
        twice = sorted(name for name, count in counts.items() if count > 1)
        text = f"services: got {_listed(twice)} more than once, expected each service once"
        raise PlanError(PlanReason.DUPLICATE_SERVICE, text)
    unknown = [name for name in versions if name not in catalog.services]
    if unknown:
        hint = nearest(unknown[0], catalog.services)
        text = f"services: got {_listed(unknown)}, expected services of the catalog{hint}"
        raise PlanError(PlanReason.UNKNOWN_SERVICE, text)
    for name, item in versions.items():
        facts = catalog.facts(catalog.services[name])
        if isinstance(item, NamedFlag) and facts is not None and not facts.capabilities.flags:
            text = (
                f"services.{name}: got a flag, expected a service and its version: the router of "
                f"{name} is no provider of feature flags"
            )
            raise PlanError(PlanReason.UNKNOWN_SERVICE, text)
    return versions


def _known_strategy(catalog: Catalog, name: str | None) -> None:
    if name is None or catalog.strategy(name) is not None:
        return
    known = {*BUILT_IN, *catalog.strategies}
    text = f"strategy: got '{name}', expected one of {listed(known)}{nearest(name, known)}"
    raise PlanError(PlanReason.UNKNOWN_STRATEGY, text)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True)
class _Place:
    """Where a service of a release is among the others."""

    needs: frozenset[str]
    """Those that it depends on, directly or through services outside the release; of a group,
    all that any of it depends on outside of it."""
    group: tuple[str, ...]
    """Those that need each other, itself among them; empty for one that is in no cycle."""
    last_point: int = 0
    """Where the group comes together before it holds: behind the last step of each of them,
    whatever their strategies. 0 without one."""


def _places(services: Mapping[str, ServiceSpec], chosen: Iterable[str]) -> dict[str, _Place]:
    """For each chosen service: the chosen ones it depends on, and those that need it as well.

    The way ends at the first chosen service: what lies beyond is that one's own dependency. A cycle
    counts that leads through services outside the release. Without recursion, each service is
    looked at once. A set is the bits of a number: of thousands of services with thousands of
    dependencies each, nothing else is small.
    """
    wanted = {name: 1 << at for at, name in enumerate(sorted(chosen))}
    names = list(wanted)
    graph = _reached(services, wanted)
    stands_for: dict[str, int] = {}
    needs: dict[str, int] = {}
    groups: dict[str, tuple[str, ...]] = {}
    for component in components(graph):  # what it depends on comes first
        inside = set(component)
        members = tuple(sorted(inside & wanted.keys()))
        found = 0
        for name in component:
            for need in graph[name]:
                found |= 0 if need in inside else stands_for[need]
        # Chosen ones count as themselves, and all of a group as one.
        whole = sum(wanted[name] for name in members) or found
        stands_for |= dict.fromkeys(component, whole)
        needs |= dict.fromkeys(members, found)
        groups |= dict.fromkeys(members, members if len(members) > 1 else ())
    _check_needs(sum(needs[name].bit_count() + len(groups[name]) for name in wanted), len(wanted))
    return {name: _Place(frozenset(_named(needs[name], names)), groups[name]) for name in wanted}


def _reached(
    services: Mapping[str, ServiceSpec], chosen: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """The part of the catalog's graph that the chosen services depend on, themselves included."""
    found: dict[str, tuple[str, ...]] = {}
    ahead = list(chosen)
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = services[name].depends_on
            ahead += found[name]
    return found


def _check_needs(total: int, count: int) -> None:
    if total > _MOST_NEEDS:
        text = (
            f"services: got {total:,} dependencies among {count:,} services, "
            f"expected at most {_MOST_NEEDS:,}: release fewer services at a time"
        )
        raise PlanError(PlanReason.TOO_LARGE, text)


def _named(bits: int, names: Sequence[str]) -> Iterator[str]:
    while bits:
        lowest = bits & -bits
        yield names[lowest.bit_length() - 1]
        bits ^= lowest


def _with_points(
    places: Mapping[str, _Place], catalog: Catalog, strategy: str | None
) -> dict[str, _Place]:
    last: dict[tuple[str, ...], int] = {}
    for group in {place.group for place in places.values()}:
        steps = (len(catalog.resolve(one, strategy).strategy.full_steps) for one in group)
        last[group] = max(steps, default=0)
    return {name: replace(place, last_point=last[place.group]) for name, place in places.items()}


def _lacks(catalog: Catalog, name: str, resolved: ResolvedService) -> str:
    """What a strategy asks for and its service does not have; empty: nothing."""
    strategy, metrics = resolved.strategy, resolved.metrics
    if lacks := lacks_metrics(strategy, resolved.judge, metrics):
        return lacks
    if metrics is None and strategy.bakes:
        return NEEDS_METRICS.format(kind=resolved.router.text)
    if not resolved.side_by_side and (what := strategy.mixes_users):
        return SIDE_BY_SIDE.format(what=what)
    beyond = check_able(
        strategy,
        resolved.capabilities,
        resolved.router.text,
        terms=resolved.mirror,
        audiences=resolved.audiences,
        lane=resolved.lane is not None,
    )
    unfit = check_flags(catalog, name, strategy)
    return "; ".join(map(built_in, (*beyond, *unfit)))


def _lacks_off(resolved: ResolvedService, version: str) -> str:
    """Why a version can't go to an audience first; empty: it can, or it goes to everybody."""
    if version != resolved.capabilities.audience_terms.beside or not resolved.audiences:
        return ""
    return (
        f"one for everybody: the router {resolved.router.text} can give an audience anything but "
        f"{version}, which is what everybody else has"
    )


def _service_plan(
    catalog: Catalog, asked: ServiceVersion, place: _Place, strategy: str | None
) -> ServicePlan:
    name = asked.service
    resolved = catalog.resolve(name, strategy)
    metrics = resolved.metrics
    lacks = _lacks(catalog, name, resolved) or _lacks_off(resolved, asked.version)
    if lacks:
        text = f"services.{name}: got strategy {resolved.strategy_name!r}, expected {lacks}"
        raise PlanError(PlanReason.UNFIT_STRATEGY, text)
    plan = ServicePlan(
        service=name,
        version=asked.version,
        depends_on=tuple(sorted(place.needs)),
        group=place.group,
        router=resolved.router,
        capabilities=resolved.capabilities,
        strategy_name=resolved.strategy_name,
        strategy=resolved.strategy,
        hooks=tuple(hook for hook in resolved.hooks if not all(one.asks for one in hook.when)),
        stages=stages_of(
            resolved.strategy,
            place.last_point,
            resolved.hooks,
            deploys=resolved.deploy is not None,
            mirror=resolved.mirror,
            whom=Whom(resolved.audiences, unlike(resolved)),
            flags=_flag_routers(catalog, resolved.strategy),
            revert_within=resolved.alerts.revert_within,
            stale_after=resolved.stale_after,
        ),
        judge=resolved.judge,
        metrics=compared(resolved.strategy.ab, metrics or ()),
        alerts=resolved.alerts,
        service_labels=catalog.alert_labels.service,
        deploy=resolved.deploy,
        needs=resolved.needs,
        lane=resolved.lane,
        has_neighbours=bool(resolved.depends_on) or name in catalog.called,
    )
    return with_version(plan, asked)


def _flag_routers(catalog: Catalog, strategy: Strategy) -> dict[str, RouterSpec]:
    """The router of each flag that the steps name."""
    names = dict.fromkeys(name for step in strategy.steps for name in step.flags.root)
    found = {name: catalog.router(catalog.services[name]) for name in names}
    return {name: router for name, router in found.items() if router is not None}
