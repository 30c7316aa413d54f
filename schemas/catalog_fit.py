"""Whether the services of a catalog can be judged as it says: looked at before anything runs.

A judge and its metrics may stand in different sections (`defaults`, a service); what does not fit
is told where the more particular of the two stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from schemas.ab import ab_lacks
from schemas.audience_spec import EVERYBODY, MOST_NAMED, AudienceError
from schemas.base import format_duration
from schemas.capabilities import Capabilities
from schemas.capability_check import check_able, check_lane, unseen
from schemas.catalog import Catalog, ServiceSpec
from schemas.catalog_check import MISSING, Finding, Path, listed, nearest, way_round
from schemas.graph import components, find_cycles
from schemas.hooks import RUN, Hook, HookMoment
from schemas.judging import (
    HistogramMetric,
    JudgeSpec,
    MetricSpec,
    RatioMetric,
    is_acting_ratio,
    render,
)
from schemas.mirroring import SIDE_BY_SIDE, MirrorTerms
from schemas.needs import AFTERWARDS
from schemas.promql import SAMPLES, fault
from schemas.step_flags import unfit_flags, with_hint
from schemas.strategy import Strategy

Judged = Callable[[JudgeSpec, Sequence[MetricSpec]], Iterable[Finding]]
"""Looks at a judge and its metrics; its paths begin with `judge` or `metrics`."""

MOST_QUERIES: Final = 200_000
"""Characters of all own queries of a service, which go together to whoever judges it."""
NEEDS_RATIO: Final = (
    "a metric of kind ratio that is acted upon and compared with stable: this strategy is a ramp, "
    "which counts failed requests"
)


NEEDS_METRICS: Final = (
    "metrics, since a router of kind {kind} has none of its own; [] lets them pass by time alone"
)
NEEDS_ENDPOINTS: Final = (
    "none, or another router: one of kind {kind} can't be told where the instances of a version are"
)

_MOVE: Final = "they move in step, as one group (cycles: refuse makes this an error)"
_GROUPS_NAMED: Final = 20
"""Groups that notes name."""


def check_fit(catalog: Catalog) -> Iterator[Finding]:
    """Give what the services lack, as far as the catalog itself tells."""
    yield from check_judged(catalog, _unfit)
    unfit = list(_unfit_audiences(catalog))
    yield from unfit
    if unfit:
        return
    yield from _beyond_routers(catalog)
    yield from _without_lanes(catalog)
    yield from _side_by_side(catalog)
    yield from _unfit_flags(catalog)
    yield from _untold_routers(catalog)
    yield from _unfit_hooks(catalog)
    yield from _unmet_needs(catalog)
    unjudged: dict[str, list[str]] = {}
    for name, spec in catalog.services.items():
        strategy = spec.strategy or catalog.defaults.strategy
        found, metrics = catalog.strategy(strategy), catalog.metrics(spec)
        if found is None:
            continue
        if lacks := lacks_metrics(found, catalog.judge(spec), metrics):
            yield Finding(("services", name, "strategy"), strategy, lacks)
        elif metrics is None and found.bakes and (router := catalog.router(spec)):
            unjudged.setdefault(router.text, []).append(name)
    if catalog.has_kinds:
        yield from _without_metrics(catalog, unjudged)


def lacks_metrics(
    strategy: Strategy, judge: JudgeSpec, metrics: Sequence[MetricSpec] | None
) -> str:
    """What a strategy wants of the metrics of a service, and they are not; empty: nothing."""
    if strategy.ramp is not None and not any(map(is_acting_ratio, metrics or ())):
        return NEEDS_RATIO
    return "" if strategy.ab is None else "; ".join(ab_lacks(strategy.ab, judge, metrics))


def _unfit_audiences(catalog: Catalog) -> Iterator[Finding]:
    """Give the audiences that can't be told to a router, and the names of such as there are not."""
    for name in catalog.audiences:
        if name == EVERYBODY:
            yield Finding(("audiences", name), name, "another name: this one means all requests")
            continue
        try:
            catalog.audience(name)
        except AudienceError as error:
            yield Finding(("audiences", name, *error.path), error.value, error.expected)
    known = {EVERYBODY, *catalog.audiences}
    for strategy, found in catalog.strategies.items():
        path: Path = ("strategies", strategy)
        named = [((*path, "audience"), found.audience)]
        named += [
            ((*path, "steps", at, "audience"), step.audience) for at, step in enumerate(found.steps)
        ]
        for at, one in named:
            if one is not None and one not in known:
                expected = f"the name of an audience ({listed(known)}){nearest(one, known)}"
                yield Finding(at, one, expected)
        if len({one for _, one in named if one}) > MOST_NAMED:
            yield Finding((*path, "steps"), "audiences", f"at most {MOST_NAMED} of them")


def _unfit_hooks(catalog: Catalog) -> Iterator[Finding]:
    """Give the hooks that have the name of another, or that would never be called."""
    plain: set[str] = set()
    for name, spec in catalog.services.items():
        strategy = spec.strategy or catalog.defaults.strategy
        found = catalog.strategy(strategy)
        if found is None or (strategy in plain and not spec.hooks and spec.deploy is None):
            continue
        plain.add(strategy)
        sections: tuple[tuple[Path, tuple[Hook, ...]], ...] = (
            (("hooks",), catalog.hooks),
            (("strategies", strategy, "hooks"), found.hooks),
            (("services", name, "hooks"), spec.hooks),
        )
        known: set[str] = set()
        for path, hooks in sections:
            for at, hook in enumerate(hooks):
                if hook.name in known:
                    expected = f"each name of a hook once among those of {name}"
                    yield Finding((*path, at, "name"), hook.name, expected)
                known.add(hook.name)
                if hook.call.kind == RUN and catalog.deploy(spec) is None:
                    expected = f"a deployer of {name}, which the command runs with"
                    yield Finding((*path, at, "call"), RUN, expected)
                if HookMoment.DURING_BAKE in hook.when and not found.bakes:
                    expected = f"other moments: strategy {strategy!r} of {name} has no bake"
                    yield Finding((*path, at, "when"), HookMoment.DURING_BAKE.value, expected)


def _unmet_needs(catalog: Catalog) -> Iterator[Finding]:
    """Give what a service needs and no hook is asked for, before the canary and afterwards."""
    afterwards = " or ".join(moment.value for moment in HookMoment if moment in AFTERWARDS)
    for name, spec in catalog.services.items():
        found = catalog.strategy(spec.strategy or catalog.defaults.strategy)
        hooks = (*catalog.hooks, *(found.hooks if found else ()), *spec.hooks)
        for need, bounds in spec.needs.items():
            when = {moment for hook in hooks if hook.name == need for moment in hook.when}
            if HookMoment.BEFORE_CANARY not in when or AFTERWARDS.isdisjoint(when):
                expected = f"a hook {need} of {name}, asked before_canary and {afterwards}"
                yield Finding(("services", name, "needs", need), bounds, expected)


def _beyond_routers(catalog: Catalog) -> Iterator[Finding]:
    """Give what strategies ask for and routers can't do, each pair once, where the strategy is."""
    seen: set[tuple[str, str, Capabilities, MirrorTerms, bool]] = set()
    for name, spec in catalog.services.items():
        strategy = spec.strategy or catalog.defaults.strategy
        found, router, facts = catalog.strategy(strategy), catalog.router(spec), catalog.facts(spec)
        if found is None or router is None or facts is None:
            continue
        lane = catalog.lane(spec) is not None
        if (case := (strategy, router.text, facts.capabilities, spec.mirror, lane)) in seen:
            continue
        seen.add(case)
        own: Path = ("strategies", strategy) if strategy in catalog.strategies else ()
        can, kind, copies = facts.capabilities, router.text, spec.mirror
        audiences = catalog.audiences_of(found, of_flag=can.flags)
        for lacks in check_able(found, can, kind, own, copies, audiences=audiences, lane=lane):
            yield (
                lacks if own else Finding(("services", name, "strategy"), strategy, built_in(lacks))
            )


def _without_lanes(catalog: Catalog) -> Iterator[Finding]:
    """Give the services that are part of lanes, and whose router can't be."""
    for name, spec in catalog.services.items():
        router, facts = catalog.router(spec), catalog.facts(spec)
        if catalog.lane(spec) is not None and router is not None and facts is not None:
            yield from check_lane(facts.capabilities, router.text, ("services", name))


def _side_by_side(catalog: Catalog) -> Iterator[Finding]:
    """Give the services whose users can't be on two versions at once, and would be."""
    for name, spec in catalog.services.items():
        strategy = spec.strategy or catalog.defaults.strategy
        found = catalog.strategy(strategy)
        if not spec.side_by_side and found is not None and (what := found.mixes_users):
            expected = SIDE_BY_SIDE.format(what=what)
            yield Finding(("services", name, "strategy"), strategy, expected)


def _unfit_flags(catalog: Catalog) -> Iterator[Finding]:
    """Give the flags of steps that are none, or not of the service, and what only flags have."""
    for name, spec in catalog.services.items():
        facts = catalog.facts(spec)
        if spec.stale_after is not None and facts is not None and not facts.capabilities.flags:
            at, value = ("services", name, "stale_after"), format_duration(spec.stale_after)
            yield Finding(at, value, f"none: {name} is no feature flag")
        strategy = spec.strategy or catalog.defaults.strategy
        if (found := catalog.strategies.get(strategy)) is not None:
            yield from check_flags(catalog, name, found, ("strategies", strategy))


def check_flags(
    catalog: Catalog, service: str, strategy: Strategy, path: Path = ()
) -> Iterator[Finding]:
    """Give the flags of a strategy's steps that are none, or not of a service.

    Args:
        catalog: that has both.
        service: its name.
        strategy: that it is released with.
        path: of the strategy.
    """
    steps = [step.flags for step in strategy.steps]
    if not any(steps) or not catalog.has_kinds:
        return

    def needs(name: str) -> tuple[str, ...]:
        return catalog.services[name].depends_on

    def is_flag(name: str) -> bool:
        facts = catalog.facts(catalog.services[name])
        return facts is not None and facts.capabilities.flags

    for found in unfit_flags(service, steps, needs, is_flag, path):
        yield with_hint(found, catalog.services)


def _untold_routers(catalog: Catalog) -> Iterator[Finding]:
    """Give the services whose router can't be told where the instances of their deployer are."""
    for name, spec in catalog.services.items():
        deploy, router = catalog.deploy(spec), catalog.router(spec)
        if deploy is None or router is None or (facts := catalog.facts(spec)) is None:
            continue
        deployer = catalog.deployer_facts(deploy)
        if deployer is None or not deployer.endpoints or facts.capabilities.endpoints:
            continue
        own: Path = ("services", name) if spec.deploy or spec.router else ("defaults",)
        yield Finding((*own, "deploy"), deploy.kind, NEEDS_ENDPOINTS.format(kind=router.text))
        if own == ("defaults",):
            return


def built_in(lacks: Finding) -> str:
    """What a service is told whose router can't do a strategy that is in no document."""
    where = ".".join(map(str, lacks.path))
    return f"one whose steps its router can do; {where} is {lacks.value}, expected {lacks.expected}"


def _without_metrics(catalog: Catalog, by_kind: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Name the services that nothing would be measured of, where their router stands."""
    for kind, names in by_kind.items():
        expected = NEEDS_METRICS.format(kind=kind)
        common = [name for name in names if catalog.services[name].router is None]
        if common:
            yield Finding(("defaults", "metrics"), MISSING, f"{expected} (for {listed(common)})")
        for name in names:
            if catalog.services[name].router is not None:
                yield Finding(("services", name, "metrics"), MISSING, expected)


def by_time_alone(catalog: Catalog) -> tuple[str, ...]:
    """The services whose bakes pass by time alone, as their catalog says itself."""
    return tuple(
        name
        for name, spec in catalog.services.items()
        if catalog.metrics(spec) == ()
        and (found := catalog.strategy(spec.strategy or catalog.defaults.strategy))
        and found.bakes
    )


def notes(catalog: Catalog) -> tuple[str, ...]:
    """What a person should know, and is no error: groups, and what routers can't show."""
    found = dict.fromkeys(_groups(catalog))
    for spec in catalog.services.values():
        router = catalog.router(spec)
        for one in () if router is None else router.each:
            if (facts := catalog.router_facts(one)) is not None:
                found |= dict.fromkeys(unseen(catalog.judge(spec), facts.capabilities, one.kind))
    return tuple(found)


def _groups(catalog: Catalog) -> Iterator[str]:
    """Name the services that need each other, and a cycle through them."""
    graph = {name: spec.depends_on for name, spec in catalog.services.items()}
    groups = sorted(sorted(one) for one in components(graph) if len(one) > 1)
    for group in groups[:_GROUPS_NAMED]:
        cycle = find_cycles({name: graph[name] for name in group})[0]
        yield f"{listed(group)} need each other ({way_round(cycle)}): released together, {_MOVE}"
    more = len(groups) - _GROUPS_NAMED
    if more > 0:
        yield f"{more:,} more groups of services need each other: {_MOVE}"


def check_judged(catalog: Catalog, look: Judged) -> Iterator[Finding]:
    """Look at every judge with the metrics it gets, each pair once, and place what is found.

    The defaults by themselves are no pair where each service has something of its own.
    """
    common = ServiceSpec()
    both = (id(catalog.judge(common)), id(catalog.metrics(common)))
    seen: set[tuple[int, int]] = set()
    told: set[tuple[Path, str]] = set()
    for name, spec in catalog.services.items() or (("", common),):
        judge, metrics = catalog.judge(spec), catalog.metrics(spec)
        pair = (id(judge), id(metrics))
        if pair in seen:
            continue
        seen.add(pair)
        place = ("", common) if pair == both else (name, spec)
        for found in look(judge, metrics or ()):
            path = _place(found.path, *place)
            if (path, found.expected) not in told:
                told.add((path, found.expected))
                yield Finding(path, found.value, found.expected)


def _place(path: Path, name: str, spec: ServiceSpec) -> Path:
    own = {"judge": spec.judge is not None, "metrics": spec.metrics is not None}
    if path[0] == "metrics" and own["judge"] and not own["metrics"]:
        return ("services", name, "judge")
    if name and (own[str(path[0])] or not any(own.values())):
        return ("services", name, *path)
    return ("defaults", *path)


def _unfit(judge: JudgeSpec, metrics: Sequence[MetricSpec]) -> Iterator[Finding]:
    length = sum(len(text) for metric in metrics for text in metric.templates.values())
    if length > MOST_QUERIES:
        expected = f"queries of at most {MOST_QUERIES:,} characters together, got {length:,}"
        yield Finding(("metrics",), f"{len(metrics)} metrics", expected)
    names = Counter(metric.name for metric in metrics)
    for at, metric in enumerate(metrics):
        if names[metric.name] > 1:
            yield Finding(("metrics", at, "name"), metric.name, "each name of a metric once")
        if judge.language == "promql":
            yield from _wrong_queries(at, metric)
    for name in sorted(judge.kayenta.critical - names.keys()):
        expected = f"a metric of the service ({listed(names) or 'it has none'})"
        expected += nearest(name, names)
        yield Finding(("judge", "kayenta", "critical"), name, expected)


def _wrong_queries(at: int, metric: MetricSpec) -> Iterator[Finding]:
    counted = isinstance(metric, RatioMetric | HistogramMetric)
    for part, template in metric.templates.items():
        raw = counted and part != "shown_by"
        query = render(template, SAMPLES)
        expected = fault(query, raw=raw) if "{{" not in query else "}} after each {{"
        if expected:
            yield Finding(("metrics", at, part), template, expected)
