"""A flag as a router: a route is written into Aviary's strategy of it.

Unleash has no fence: it compares nothing as it writes. So a write is: read, compare the mark, write
the strategy as a whole, and read again. Who writes between the first two is overwritten; who writes
after that is found, here or by the next step. One workflow a flag keeps Aviary from doing that to
itself.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from adapters.errors import ForeignChange, Retryable, StaleGeneration, Terminal, UnknownRoute
from adapters.routers.fence import check_able, check_generation, check_over, known
from adapters.routers.flag_people import People
from adapters.routers.flag_shares import USERS, check_kept, looked_at
from adapters.routers.unleash.api import UnleashApi
from adapters.routers.unleash.capabilities import CAPABILITIES
from adapters.routers.unleash.definitions import (
    MARK,
    OFF,
    Flag,
    nothing_yet,
    serving,
    strategy_for,
    variant_name,
    version_named,
)
from adapters.routers.unleash.evaluation import NAMES, Evaluation, sticky_field
from schemas.route import Confirmation, Route

# An attempt to write has 5 s in all; another one after it finds the write done, and goes on.
_SERVED_WITHIN: Final = 2.5
_ASK_EVERY: Final = 0.1
_FEW: Final = 1000
"""Users who are enough where all of them shall get the same."""


class UnleashRouter:
    """A `Router` over the flags of one environment.

    Args:
        api: of the environment; closed with the router.
        flag: name of the flag; None: each service is the flag of its name.
        stickiness: field of the context by which a user stays in.
        group: of flags that are on for the same users; None: the flag's name.
        users: made-up users who are evaluated after a write.
        served_within: seconds until applications must be sent what was written.
    """

    def __init__(  # noqa: PLR0913 - what a flag has
        self,
        api: UnleashApi,
        flag: str | None = None,
        *,
        stickiness: str = "default",
        group: str | None = None,
        users: int = USERS,
        served_within: float = _SERVED_WITHIN,
    ) -> None:
        self._api = api
        self._flag = flag
        self._stickiness = stickiness
        self._group = group
        self._users = users
        self._few = min(users, _FEW)
        self._served_within = served_within

    async def locate(self, service: str, version: str) -> str:  # noqa: ARG002 - flags have names
        """The variant: `feature_flag.result.variant` of OpenTelemetry's semantic conventions."""
        return variant_name(version)

    async def exists(self, service: str, version: str) -> bool:
        """Whether the flag has such a variant."""
        flag = await self._api.flag(self._name(service))
        return flag is not None and variant_name(version) in flag.versions

    async def read(self, service: str) -> Route:
        """The route in the mark; of a flag without one, all to what everybody gets."""
        flag = await self._known(service)
        if flag.is_marked:
            return flag.marked(service)
        return await asyncio.to_thread(self._unmarked, flag, service)

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Write the route, read it back, and evaluate made-up users (see the port).

        Raises:
            Terminal: besides, strategies that are not Aviary's turn the flag on by themselves, and
                the write is no rollback.
        """
        check_able(route, CAPABILITIES)
        flag = await self._known(route.service)
        await self._check(flag, route, over)
        self._check_variants(flag, route)
        if not self._is_written(flag, route):
            await self._write(flag, route)
        await self._confirm(route, flag)
        return Confirmation(route=route, mark=f"{flag.name}/{route.generation}")

    async def changed(self, route: Route) -> str:
        """What the flag does otherwise than the route, where somebody else has written in it."""
        flag = await self._known(route.service)
        try:
            await self._check(flag, route, route)
        except ForeignChange as found:
            return str(found)
        except StaleGeneration:
            pass
        return ""

    async def aclose(self) -> None:
        """Close the connections to Unleash."""
        await self._api.aclose()

    def _name(self, service: str) -> str:
        return self._flag or service

    def _kept(self, flag: Flag) -> tuple[str, str]:
        return self._stickiness, self._group or flag.name

    async def _known(self, service: str) -> Flag:
        flag = await self._api.flag(self._name(service))
        if flag is None:
            known(None, service)
            raise AssertionError
        return flag

    def _unmarked(self, flag: Flag, service: str) -> Route:
        found = self._evaluated(flag).found(flag.name, self._few)
        if len(found) != 1:
            counts = ", ".join(f"{name} {count}" for name, count in sorted(found.items()))
            raise UnknownRoute(
                f"{service}: of {self._few} made-up users, flag {flag.name} gives {counts}; "
                "expected one for all of them, which is stable"
            )
        return Route.split(service, version_named(*found))

    def _evaluated(self, flag: Flag) -> Evaluation:
        definition = flag.definition(flag.evaluated)
        return Evaluation([definition], stickiness=self._stickiness)

    async def _check(self, flag: Flag, route: Route, over: Route | None) -> None:
        """Raise if a route may not be written."""
        if flag.is_marked:
            await self._check_marked(flag, route, over)
        elif over is not None and over.generation:
            what = f"found no mark of Aviary's in flag {flag.name}, expected {over.text}"
            raise await self._foreign(flag, route, what)
        elif over is not None:
            self._check_limits(flag, route)
            check_over(route, await self.read(route.service), over)
        if over is None or not flag.others:
            return
        if extra := await asyncio.to_thread(self._given_by_others, flag):
            what = f"found strategies that turn the flag on for others than the release: {extra}"
            if flag.is_marked:
                raise await self._foreign(flag, route, what)
            raise Terminal(
                f"{route.service}: flag {flag.name}: {what}; Aviary leaves them alone, and its own "
                "would add nothing. Take them away, limit them, or title one of them aviary"
            )

    async def _check_marked(self, flag: Flag, route: Route, over: Route | None) -> None:
        try:
            applied = flag.marked(route.service)
        except Terminal:
            if over is not None:
                raise
            return  # a mark that somebody has spoilt does not stop a rollback
        check_generation(route, applied)
        if over is None:
            return
        wanted = serving(applied, self._kept(flag))
        if flag.served != wanted:
            what = f"found {flag.served.text}, expected {wanted.text}"
            raise await self._foreign(flag, route, what)
        if not flag.enabled and wanted.rollout != "0":
            what = f"found flag {flag.name} switched off in {self._api.environment}"
            raise await self._foreign(flag, route, what)
        check_over(route, applied, over)

    def _check_limits(self, flag: Flag, route: Route) -> None:
        limits = flag.served.limits
        if flag.ours is not None and flag.ours.constraints:
            limits = (f"{len(flag.ours.constraints)} constraints", *limits)
        if limits:
            raise Terminal(
                f"{route.service}: flag {flag.name} has a strategy titled {MARK} with "
                f"{', '.join(limits)}, expected a gradual rollout to everybody"
            )

    async def _foreign(self, flag: Flag, route: Route, what: str) -> ForeignChange:
        return ForeignChange(route.service, what, await self._api.who(flag.name))

    def _given_by_others(self, flag: Flag) -> str:
        """The strategies of others that turn the flag on for made-up users; empty: none does."""
        on = []
        for one in flag.others:
            definition = {**flag.definition([one]), "enabled": True}
            evaluation = Evaluation([definition], stickiness=self._stickiness)
            found = evaluation.found(flag.name, self._few)
            if count := self._few - found.get(OFF, 0):
                on.append(f"{one.text} ({count} of {self._few} made-up users)")
        return ", ".join(on)

    def _check_variants(self, flag: Flag, route: Route) -> None:
        for version in route.versions:
            if variant_name(version) not in flag.versions:
                raise UnknownRoute(
                    f"{route.service}: flag {flag.name} has no variant {version}; expected one of: "
                    f"{', '.join(map(version_named, flag.versions))}"
                )

    def _is_written(self, flag: Flag, route: Route) -> bool:
        """Whether an attempt that was not heard of has done it."""
        wanted = serving(route, self._kept(flag))
        is_on = flag.enabled or wanted.rollout == "0"
        return is_on and _applied(flag, route.service) == route and flag.served == wanted

    async def _write(self, flag: Flag, route: Route) -> None:
        """One write of the strategy, which changes what users get, and before it what it needs.

        The environment is switched on while the strategy is for nobody, so that an attempt that
        dies between two writes has given the flag to nobody.
        """
        kept = self._kept(flag)
        if not flag.enabled and serving(route, kept).rollout != "0":
            if flag.ours is None or flag.served.rollout != "0":
                await self._api.put(flag, nothing_yet(kept, flag.ours))
            await self._api.switch_on(flag)
            flag = await self._known(route.service)
        await self._api.put(flag, strategy_for(route, kept, flag.variants))

    async def _confirm(self, route: Route, before: Flag) -> None:
        """Read what is there now, and evaluate what applications are sent."""
        there = await self._known(route.service)
        if not there.is_marked or there.marked(route.service) != route:
            raise Retryable(f"{route.service}: another writer was in flag {there.name} meanwhile")
        if self._api.serves:
            now = await self._sent(there)
        else:
            now = self._evaluated(there)
        await asyncio.to_thread(self._check_users, route, before, now)

    def _check_users(self, route: Route, before: Flag, now: Evaluation) -> None:
        version, _ = looked_at(route)
        name = variant_name(version)
        earlier, sticky = _applied(before, route.service), sticky_field(self._stickiness)
        people = People(route, earlier, sticky=sticky, names=NAMES)
        chosen, looked = now.sample(before.name, name, self._users, people)
        people.check(chosen, looked)
        if others := people.kept(chosen, looked):
            had = self._evaluated(before).with_variant(before.name, name, others, people)
            check_kept(route, had, chosen)

    async def _sent(self, flag: Flag) -> Evaluation:
        """What applications are sent, once it has the mark that was written.

        Raises:
            Retryable: it has not in time.
        """
        wanted = flag.ours.parameters.get(MARK) if flag.ours is not None else None
        until = time.monotonic() + self._served_within
        while True:
            found = await self._api.served(flag)
            if any(_has(one, flag, wanted) for one in found["features"]):
                segments = found.get("segments") or []
                return Evaluation(found["features"], segments, self._stickiness)
            if time.monotonic() > until:
                raise Retryable(
                    f"flag {flag.name}: applications are not sent what was written within "
                    f"{self._served_within:g} s"
                )
            await asyncio.sleep(_ASK_EVERY)


def _has(feature: object, flag: Flag, mark: object) -> bool:
    """Whether what applications are sent of a flag is what was written."""
    if not isinstance(feature, dict) or feature.get("name") != flag.name:
        return False
    if not flag.enabled:
        return feature.get("enabled") is False
    parameters = [
        strategy.get("parameters")
        for strategy in feature.get("strategies") or []
        if isinstance(strategy, dict)
    ]
    return any(isinstance(one, dict) and one.get(MARK) == mark for one in parameters)


def _applied(flag: Flag, service: str) -> Route | None:
    """What was applied last; None without a mark, or with one that somebody has spoilt."""
    try:
        return flag.marked(service) if flag.is_marked else None
    except Terminal:
        return None
