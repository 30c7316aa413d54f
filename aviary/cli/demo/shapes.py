"""Demos of their own: one release that goes out in another shape, with requests sent on the way.

What a look sent counts only if the release was in the same state before and after it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.routers.envoy.names import apart_name
from aviary.cli.demo.scenarios import Scenario, ScenarioResult
from aviary.cli.demo.viewer import ReleaseViewer
from aviary.local import evidence
from aviary.local.stack import Stack
from aviary.local.tally import parse_calls
from schemas.release import ReleasePhase, ReleaseStatus

OLD: Final = "1.0.0"
NEW: Final = "1.1.0"
_USERS: Final = 12
"""Requests of a look."""


@dataclass(frozen=True)
class Seen:
    """One request on the way: what the services had then, and the versions that it met."""

    gets: Mapping[str, str]
    user: str
    asked: bool
    """Whether it asked for the new version."""
    met: Mapping[str, str]
    """Version by service, of those that it came to."""


@dataclass
class Looks:
    """Sends some requests each time that the release is looked at.

    Args:
        stack: running.
        service: that users call.
        asks: whether half of them ask for the new version.
    """

    stack: Stack
    service: str
    asks: bool = False
    seen: list[Seen] = field(default_factory=list)
    _dice: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - a demo
    _before: dict[str, str] = field(default_factory=dict)
    _pending: list[Seen] = field(default_factory=list)

    async def look(self, status: ReleaseStatus) -> None:
        """Take the requests of the last look over, and send others."""
        gets = {one.service: one.gets for one in status.services}
        if gets == self._before:
            self.seen += self._pending
        self._before = gets
        users = [f"user-{self._dice.randrange(1000, 5000)}" for _ in range(_USERS)]
        sent = (self._send(gets, user, at % 2 == 1) for at, user in enumerate(users))
        self._pending = [one for one in await asyncio.gather(*sent) if one is not None]

    async def _send(self, gets: Mapping[str, str], user: str, asked: bool) -> Seen | None:
        asked = asked and self.asks
        headers = {"x-user-id": user, **({"x-canary": "always"} if asked else {})}
        try:
            answer = await self.stack.visit(self.service, headers)
            who = answer.headers.get("x-served-by", "")
            calls = parse_calls(who, answer.status, 0, answer.headers.get("x-calls", ""))
        except (OSError, TimeoutError, ValueError):
            return None
        return Seen(gets, user, asked, {one.service: one.version for one in calls})

    def met(self, gets: str, *, asked: bool = False) -> dict[str, set[str]]:
        """The versions that each user met of the service while it had this."""
        found: dict[str, set[str]] = {}
        for one in self.seen:
            if one.gets[self.service] == gets and one.asked is asked and self.service in one.met:
                found.setdefault(one.user, set()).add(one.met[self.service])
        return found


Check = Callable[[Looks, ScenarioResult], Awaitable[None]]


def _release(
    title: str, services: tuple[str, ...], check: Check, *, asks: bool = False
) -> Scenario:
    """A release of these services, the last of which users call, that is finalized."""

    async def run(stack: Stack, viewer: ReleaseViewer) -> ScenarioResult:
        result, looks = ScenarioResult(title), Looks(stack, services[-1], asks)
        await stack.reset_load()
        await viewer.watch("shop-1", dict.fromkeys(services, NEW), looks.look)
        status = await evidence.status(viewer.temporal, "shop-1")
        result.check(
            "Temporal: the release is finalized", ok=status.phase is ReleasePhase.FINALIZED
        )
        for service in services:
            routed = await evidence.clusters_routed(stack, service)
            ok = evidence.serves_only(routed, service, NEW)
            result.check(f"Envoy: {service} is served by {NEW} alone", ok=ok)
        await check(looks, result)
        users = (await stack.load())["users"]
        result.facts["users' requests"] = f"{users['sent']} sent, {users['failed']} failed"
        result.check("no user's request failed", ok=not users["failed"])
        return result

    return run


async def _audiences(looks: Looks, result: ScenarioResult) -> None:
    found = looks.met("100 % of testers")
    testers = [met for user, met in found.items() if user.startswith("user-1")]
    others = [met for user, met in found.items() if not user.startswith("user-1")]
    on_new = sum(met == {NEW} for met in testers)
    on_old = sum(met == {OLD} for met in others)
    text = f"in the first step {on_new} of {len(testers)} testers met {NEW}"
    result.check(text, ok=0 < on_new == len(testers))
    text = f"and {on_old} of {len(others)} others met {OLD}"
    result.check(text, ok=0 < on_old == len(others))
    kept = {user: met for user, met in looks.met("20 %").items() if user.startswith("user-1")}
    ok = all(met == {NEW} for met in kept.values())
    result.check(f"all of {len(kept)} testers kept it in the next", ok=ok)


async def _copies(looks: Looks, result: ScenarioResult) -> None:
    found = looks.met("copies of 50 %")
    old = sum(met == {OLD} for met in found.values())
    text = f"while {NEW} got copies, {old} of {len(found)} users met {OLD}"
    result.check(text, ok=0 < old == len(found))
    pool = apart_name(looks.service, NEW)
    count = (await evidence.pool_counts(looks.stack))[pool].completed
    result.check(f"Envoy: {looks.service} {NEW} answered {count} copies", ok=count > 0)


async def _switch(looks: Looks, result: ScenarioResult) -> None:
    await _copies(looks, result)
    asked = looks.met("copies of 50 %", asked=True)
    new = sum(met == {NEW} for met in asked.values())
    text = f"{new} of {len(asked)} who asked for {NEW} by x-canary met it before the switch"
    result.check(text, ok=0 < new == len(asked))
    after = looks.met("100 %")
    ok = bool(after) and all(met == {NEW} for met in after.values())
    result.check(f"all of {len(after)} users met it after the switch", ok=ok)


async def _lanes(looks: Looks, result: ScenarioResult) -> None:
    way = ("checkout", "payments", "ledger")
    mixed = [
        [one.met[name] for name in way]
        for one in looks.seen
        if all(name in one.met and one.gets[name] in _SOME for name in way)
    ]
    lane = [met for met in mixed if met[0] == NEW]
    crossed = sum(_crosses(met) for met in mixed)
    result.facts["requests"] = f"{len(mixed)} while all three had canaries, {len(lane)} in the lane"
    result.check(f"{crossed} of {len(mixed)} requests crossed", ok=not crossed and bool(lane))


_SOME: Final = frozenset({"20 %", "50 %", "100 %"})


def _crosses(met: list[str]) -> bool:
    """Whether a request was on a canary and then on stable."""
    return any(one == NEW and OLD in met[at:] for at, one in enumerate(met))


AUDIENCES: Final = "Testers first, then more and more of everybody"
MIRROR: Final = "Copies first: a version is judged before a user sees it"
BLUEGREEN: Final = "Blue-green: copies and testers first, then one switch of all users"
LANES: Final = "Lanes: who meets one canary of a release meets the others"
SHAPES: Final[Mapping[str, tuple[str, Scenario]]] = {
    "audiences": (AUDIENCES, _release(AUDIENCES, ("recommendations",), _audiences)),
    "mirror": (MIRROR, _release(MIRROR, ("recommendations",), _copies)),
    "bluegreen": (BLUEGREEN, _release(BLUEGREEN, ("recommendations",), _switch, asks=True)),
    "lanes": (LANES, _release(LANES, ("ledger", "payments", "checkout"), _lanes)),
}
"""By what `make demo DEMO=…` calls it: its title, and what it does."""
