"""An Application Load Balancer as a router: weighted target groups of the rules of its listeners.

Its API has no compare-and-set. A write is: look, tag the rule with the route, change its action,
look again. Tags of each generation are there beside each other (`tags`), so a late write that got
past the first look finds the newer one at the second, puts that back and says so. What remains is
a late writer that dies between its change and its second look.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from adapters.errors import ForeignChange, Retryable, UnknownRoute
from adapters.routers.alb.actions import Split, split_in, wanted, with_split
from adapters.routers.alb.client import Elb
from adapters.routers.alb.groups import TargetGroups
from adapters.routers.alb.tags import ASKS, SERVICE, keys_of, older_than, route_in, tags_of
from adapters.routers.fence import check_able, check_generation, check_over, known, overtaken
from schemas.capabilities import Capabilities
from schemas.route import Confirmation, Health, Route

_PAGE: Final = 400
_AT_ONCE: Final = 10
"""Target groups whose health is asked for at the same time."""
_UP: Final = frozenset({"healthy", "unused", "unavailable"})
"""States of targets that get requests, or would: the groups of no rule are not checked."""
_LEAVING: Final = frozenset({"draining", "unhealthy.draining"})


@dataclass(frozen=True)
class Pace:
    """How long the router waits, in seconds."""

    confirm_within: float = 2.0
    """For the API to show what was written; below the time-out of the calling activity."""
    poll_every: float = 0.2
    """Between two looks."""
    fresh_for: float = 2.0
    """Which rules and target groups are whose is not asked for again for so long."""


class Rule(NamedTuple):
    """A listener rule of a service."""

    arn: str
    actions: Sequence[Mapping[str, Any]]
    tags: Mapping[str, str]

    @property
    def asks(self) -> str:
        """Which version its requests ask for: `always` or `never` the canary; empty: none."""
        return self.tags.get(ASKS, "")

    def route(self, service: str) -> Route | None:
        """The newest route in its tags."""
        return route_in(service, self.tags)


class AlbRouter:
    """A `Router` over rules that people made and tagged; only their last action is Aviary's.

    Args:
        elb: the API; closed with it.
        listeners: whose rules these are, as ARNs.
        can: what it can do.
        sticky: seconds for which a cookie keeps a user with a target group; 0: it does not.
        prefix: what the names of target groups begin with.
        pace: waiting times.
        clock: seconds that only grow.
        sleep: waits for seconds.
    """

    def __init__(  # noqa: PLR0913 - two are seams for time
        self,
        elb: Elb,
        listeners: Sequence[str],
        *,
        can: Capabilities,
        sticky: int = 0,
        prefix: str = "",
        pace: Pace = Pace(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._elb = elb
        self._listeners = tuple(listeners)
        self._can = can
        self._sticky = sticky
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self.groups = TargetGroups(elb, prefix, pace.fresh_for, clock)
        self._whose: dict[str, list[str]] = {}
        """Rules of each service."""
        self._looked_at: float | None = None
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def locate(self, service: str, version: str) -> str:
        """The target group, as CloudWatch has it: `targetgroup/payments-2/73e2d6bc24d8a067`."""
        groups = await self.groups.of_versions(service, [version])
        return groups[version].rpartition(":")[2]

    async def exists(self, service: str, version: str) -> bool:
        """Whether a version has a target group."""
        try:
            return version in await self.groups.of_versions(service, [version])
        except UnknownRoute:
            return False

    async def read(self, service: str) -> Route:
        """The newest route in the tags of the rules of a service.

        Where there is none, and all rules forward to the target group of one version, all is on
        that.
        """
        return await self._applied(service, await self._rules(service))

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Changes nothing for a service that has a route.
        """
        async with self._locks[service]:
            rules = await self._rules(service)
            try:
                return await self._applied(service, rules)
            except UnknownRoute:
                pass
            route = Route.split(service, stable)
            groups = await self.groups.of_versions(service, [stable])
            for rule in rules:
                await self._write(rule, route, self._wanted(rule, route, groups))
            return route

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Write the route to each rule, and return once the API shows it (see the port)."""
        check_able(route, self._can)
        async with self._locks[route.service]:
            deadline = self._clock() + self._pace.confirm_within
            rules = await self._rules(route.service)
            await self._check(rules, route, over)
            groups = await self.groups.of_versions(route.service, route.versions)
            for rule in rules:
                await self._write(rule, route, self._wanted(rule, route, groups))
            await self._confirm(route, groups, deadline)
        return Confirmation(route=route, mark=f"{len(rules)} rules/{route.generation}")

    async def changed(self, route: Route) -> str:
        """What somebody else has changed: in the tags, or of what the rules do."""
        rules = await self._rules(route.service)
        try:
            applied = await self._applied(route.service, rules)
            if applied.generation > route.generation:
                return ""
            check_over(route, applied, route)
            await self._check_unchanged(rules, applied)
        except ForeignChange as found:
            return str(found)
        return ""

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """The targets of each version, as the load balancer finds them.

        Those of a group that no rule forwards to are not checked, and count as healthy; those that
        are draining do not count.
        """
        groups = await self.groups.of(service)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(arn: str) -> Health:
            async with limit:
                answer = await self._elb.call("describe_target_health", TargetGroupArn=arn)
            states = [
                str(target.get("TargetHealth", {}).get("State", ""))
                for target in answer.get("TargetHealthDescriptions", ())
            ]
            staying = [state for state in states if state not in _LEAVING]
            return Health(known=len(staying), healthy=sum(state in _UP for state in staying))

        seen = await asyncio.gather(*map(one, groups.values()))
        return dict(zip(groups, seen, strict=True))

    async def aclose(self) -> None:
        """Close the connections to the API."""
        await self._elb.aclose()

    async def _rules(self, service: str) -> list[Rule]:
        """The rules of a service, as they are now.

        Raises:
            UnknownRoute: there is none.
            Retryable: the API did not answer, or one has just gone.
        """
        now = self._clock()
        fresh = self._looked_at is not None and now - self._looked_at < self._pace.fresh_for
        if not fresh or service not in self._whose:
            await self._find_rules()
        arns = self._whose.get(service, [])
        if not arns:
            raise UnknownRoute(
                f"{service}: the router has no such service; expected a rule, other than the "
                f"default, with the tag {SERVICE}={service}"
            )
        try:
            rules = await self._elb.every("describe_rules", "Rules", RuleArns=arns)
            tags = await self._elb.tags(arns)
        except UnknownRoute as error:
            self._looked_at = None
            raise Retryable(f"{service}: a rule has gone: {error}") from error
        return [
            Rule(one["RuleArn"], one.get("Actions", ()), tags.get(one["RuleArn"], {}))
            for one in rules
        ]

    async def _find_rules(self) -> None:
        """Ask which rules are whose."""
        whose: dict[str, list[str]] = {}
        for listener in self._listeners:
            rules = await self._elb.every(
                "describe_rules", "Rules", ListenerArn=listener, PageSize=_PAGE
            )
            arns = [str(one["RuleArn"]) for one in rules if not one.get("IsDefault")]
            for arn, tags in (await self._elb.tags(arns)).items():
                if SERVICE in tags:
                    whose.setdefault(tags[SERVICE], []).append(arn)
        self._whose = whose
        self._looked_at = self._clock()

    async def _applied(self, service: str, rules: Sequence[Rule]) -> Route:
        """The route that was applied last: of several rules the newest."""
        routes = [found for rule in rules if (found := rule.route(service)) is not None]
        if routes:
            return max(routes, key=lambda one: one.generation)
        groups = await self.groups.of(service)
        versions = {arn: version for version, arn in groups.items()}
        there = {
            versions[arn]
            for rule in rules
            for arn in split_in(rule.actions).weights
            if arn in versions and not rule.asks
        }
        if len(there) > 1:
            text = f"rules forward to {', '.join(sorted(there))}, expected their tags of a route"
            raise ForeignChange(service, text)
        return known(Route.split(service, there.pop()) if there else None, service)

    async def _check(self, rules: Sequence[Rule], route: Route, over: Route | None) -> None:
        """Raise if a route may not be written."""
        try:
            applied = await self._applied(route.service, rules)
        except ForeignChange:
            if over is None:  # its tags were taken away, and that is overruled
                return
            raise
        check_generation(route, applied)
        check_over(route, applied, over)
        if over is not None and applied != route:
            await self._check_unchanged(rules, applied)

    async def _check_unchanged(self, rules: Sequence[Rule], applied: Route) -> None:
        """Check that the rules do what their tags say.

        Raises:
            ForeignChange: one does not.
        """
        groups = await self.groups.of(applied.service)
        names = {arn: version for version, arn in groups.items()}
        for version in (arm.version for arm in applied.arms):
            if version not in groups:
                text = f"the target group of {version} has gone or lost its tags"
                raise ForeignChange(applied.service, text)
        for rule in rules:
            found, split = split_in(rule.actions), self._wanted(rule, applied, groups)
            route = rule.route(applied.service)
            # One that is new gets its route with the next write; others may do so already.
            said = route == applied or (route is None and not rule.asks)
            if said and found != split:
                text = f"{_short(rule)}: found {found.text(names)}, expected {split.text(names)}"
                raise ForeignChange(applied.service, text)

    async def _write(self, rule: Rule, route: Route, split: Split) -> None:
        """Tag a rule with its route, then have it do that; what is so already is left."""
        tags = tags_of(route)
        newest = rule.route(route.service)
        if newest is not None and (old := older_than(newest.generation, rule.tags)):
            # Of a write that died before it could: a resource has room for 50 tags.
            await self._elb.call("remove_tags", ResourceArns=[rule.arn], TagKeys=old)
        if any(rule.tags.get(key) != value for key, value in tags.items()):
            given = [{"Key": key, "Value": value} for key, value in tags.items()]
            await self._elb.call("add_tags", ResourceArns=[rule.arn], Tags=given)
        if split_in(rule.actions) != split:
            actions = with_split(rule.actions, split)
            await self._elb.call("modify_rule", RuleArn=rule.arn, Actions=actions)

    def _wanted(self, rule: Rule, route: Route, groups: Mapping[str, str]) -> Split:
        """What a rule does by a route."""
        return wanted(route, groups, self._sticky, rule.asks)

    async def _confirm(self, route: Route, groups: Mapping[str, str], deadline: float) -> None:
        """Look again until every rule does it, and nobody newer has written.

        Raises:
            StaleGeneration: somebody newer has; what was written is put back.
            Retryable: the API does not show it in time.
        """
        while True:
            rules = await self._rules(route.service)
            newest = await self._applied(route.service, rules)
            if newest.generation > route.generation:
                await self._yield_to(newest, rules, route)
                raise overtaken(route, newest)
            behind = [
                rule
                for rule in rules
                if rule.route(route.service) != route
                or split_in(rule.actions) != self._wanted(rule, route, groups)
            ]
            if not behind:
                break
            if self._clock() >= deadline:
                raise Retryable(
                    f"{route.service}: generation {route.generation} was written but is not shown "
                    f"by {', '.join(map(_short, behind))}"
                )
            await self._sleep(self._pace.poll_every)
        for rule in rules:
            if old := older_than(route.generation, rule.tags):
                await self._elb.call("remove_tags", ResourceArns=[rule.arn], TagKeys=old)

    async def _yield_to(self, newest: Route, rules: Sequence[Rule], late: Route) -> None:
        """Have the rules do again what a newer route says, and forget the late one."""
        groups = await self.groups.of_versions(newest.service, newest.versions)
        for rule in rules:
            split = self._wanted(rule, newest, groups)
            if split_in(rule.actions) != split:
                actions = with_split(rule.actions, split)
                await self._elb.call("modify_rule", RuleArn=rule.arn, Actions=actions)
            if keys := keys_of(late.generation, rule.tags):
                await self._elb.call("remove_tags", ResourceArns=[rule.arn], TagKeys=keys)


def _short(rule: Rule) -> str:
    """A rule, for a person: the end of its ARN, which tells it apart."""
    return "rule " + rule.arn.rpartition("/")[2]
