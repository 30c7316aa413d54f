"""Turns a catalog and a deploy request into the plan of a release. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

from schemas.capability_check import check_able
from schemas.catalog import BUILT_IN, Catalog, ServiceSpec
from schemas.catalog_check import listed, nearest
from schemas.catalog_fit import NEEDS_METRICS, NEEDS_RATIO, built_in
from schemas.deploy import DeployRequested
from schemas.graph import levels
from schemas.judging import is_acting_ratio
from schemas.release import ReleasePlan, ServicePlan
from schemas.stages import stages_of

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
    TOO_LARGE = "too_large"


class PlanError(ValueError):
    """A deploy request can't be planned with this catalog."""

    def __init__(self, reason: PlanReason, text: str) -> None:
        """Keep the reason apart from the text, so that it can be counted."""
        super().__init__(text)
        self.reason = reason
        self.text = text


def plan_release(
    catalog: Catalog, deploy: DeployRequested, *, source: str = "", environment: str | None = None
) -> ReleasePlan:
    """Plan a release: what depends on what, what may go at once, and how each service goes.

    A service waits for those services of the release that it depends on, directly or through
    services outside the release. The soak is the longest of all strategies in the release.

    Args:
        catalog: the services and strategies; the plan keeps a copy of what it needs.
        deploy: what shall be released.
        source: the deploy event's identity, kept for the record.
        environment: the one that the event is meant for, where it says so.

    Raises:
        PlanError: a service or the strategy is not in the catalog, a service is there twice, the
            event is meant for another environment, or the plan is more than Temporal takes.
    """
    _check_environment(catalog, environment)
    versions = _versions(catalog, deploy)
    _known_strategy(catalog, deploy.strategy)
    needs = _needs_within(catalog.services, versions)
    services = {
        name: _service_plan(catalog, name, version, needs[name], deploy.strategy)
        for name, version in sorted(versions.items())
    }
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


def _versions(catalog: Catalog, deploy: DeployRequested) -> dict[str, str]:
    versions = {item.service: item.version for item in deploy.services}
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


def _needs_within(
    services: Mapping[str, ServiceSpec], chosen: Iterable[str]
) -> dict[str, frozenset[str]]:
    """For each chosen service: the chosen ones it depends on, directly or through others.

    The way ends at the first chosen service: what lies beyond is that one's own dependency.
    Without recursion, each service is looked at once. A set is the bits of a number: of thousands
    of services with thousands of dependencies each, nothing else is small.
    """
    wanted = {name: 1 << at for at, name in enumerate(sorted(chosen))}
    needs: dict[str, int] = {}
    for start in wanted:
        stack = [start]
        while stack:
            name = stack[-1]
            direct = services[name].depends_on
            # Chosen ones need no look inside: they count as themselves.
            ahead = [n for n in direct if n not in wanted and n not in needs]
            if name in needs:
                stack.pop()
            elif ahead:
                stack.extend(ahead)
            else:
                found = 0
                for one in direct:
                    found |= wanted[one] if one in wanted else needs[one]
                needs[name] = found
                stack.pop()
    total = sum(needs[name].bit_count() for name in wanted)
    if total > _MOST_NEEDS:
        text = (
            f"services: got {total:,} dependencies among {len(wanted):,} services, "
            f"expected at most {_MOST_NEEDS:,}: release fewer services at a time"
        )
        raise PlanError(PlanReason.TOO_LARGE, text)
    names = list(wanted)
    return {name: frozenset(_named(needs[name], names)) for name in wanted}


def _named(bits: int, names: Sequence[str]) -> Iterator[str]:
    while bits:
        lowest = bits & -bits
        yield names[lowest.bit_length() - 1]
        bits ^= lowest


def _service_plan(
    catalog: Catalog, name: str, version: str, needs: Iterable[str], strategy: str | None
) -> ServicePlan:
    resolved = catalog.resolve(name, strategy)
    metrics = resolved.metrics
    lacks = ""
    if resolved.strategy.ramp is not None and not any(map(is_acting_ratio, metrics or ())):
        lacks = NEEDS_RATIO
    elif metrics is None and resolved.strategy.bakes:
        lacks = NEEDS_METRICS.format(kind=resolved.router.kind)
    else:
        can, kind = resolved.capabilities, resolved.router.kind
        lacks = "; ".join(map(built_in, check_able(resolved.strategy, can, kind)))
    if lacks:
        text = f"services.{name}: got strategy {resolved.strategy_name!r}, expected {lacks}"
        raise PlanError(PlanReason.UNFIT_STRATEGY, text)
    return ServicePlan(
        service=name,
        version=version,
        depends_on=tuple(sorted(needs)),
        router=resolved.router,
        capabilities=resolved.capabilities,
        strategy_name=resolved.strategy_name,
        strategy=resolved.strategy,
        stages=stages_of(resolved.strategy),
        judge=resolved.judge,
        metrics=metrics or (),
        alerts=resolved.alerts,
        service_labels=catalog.alert_labels.service,
    )
