"""From a change of weight to the first request on the new split, and to the last on the old (8)."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import testbed
from bench.figures import Figure, Goal, Spec
from bench.floor import BareRoutes
from bench.seen import Call
from bench.testbed import FLOOR, TARGET, Routed
from schemas.route import Route

FIRST: Final = Spec("weight change → first request on the new split", "ms", "bare rename")
LAST: Final = Spec("weight change → last request on the old split", "ms", "bare rename")
CONFIRMED: Final = Spec("weight change → confirmed by the router", "ms")
FAILED: Final = Spec("requests failed while shifting", "requests", goal=Goal(median_at_most=0))
SPECS: Final = (FIRST, LAST, CONFIRMED, FAILED)
QUICK: Final = 30
LONG: Final = 200
TO, BACK = "to the canary", "back to stable"
WANTED: Final = 100_000
"""Requests in long mode."""
_STEADY_S: Final = 0.1


class Shifting:
    """Moves all traffic of a service from one version to the other and back."""

    def __init__(self, envoy: Routed) -> None:
        self._envoy = envoy
        self._bare = BareRoutes(envoy.fleet)
        self._dice = random.Random(8)
        self.ours: defaultdict[Spec, list[float]] = defaultdict(list)
        self.floor: defaultdict[Spec, list[float]] = defaultdict(list)
        self.ways: defaultdict[str, list[float]] = defaultdict(list)
        """The last request on the old split, by the way that the traffic went."""
        self.sent = self.failed = 0

    async def aviary(self, runs: int) -> None:
        """So many changes through the router."""
        envoy = self._envoy
        await envoy.traffic.start(envoy.port, TARGET)
        for number in range(runs):
            weight = 0 if number % 2 else 100
            now = await envoy.router.read(TARGET)
            route = Route.split(
                service=TARGET,
                stable="a",
                canary="b",
                weight=weight,
                generation=now.generation + 1,
            )
            await self._steady()
            at = time.time()
            await envoy.router.apply(route)
            self.ours[CONFIRMED].append(1000 * (time.time() - at))
            self._note(self.ours, await envoy.seen.settled(), at, "b" if weight else "a")
        await self._count()

    async def bare(self, runs: int) -> None:
        """So many changes by nothing but a rename."""
        envoy = self._envoy
        await envoy.traffic.start(envoy.port, FLOOR)
        for number in range(runs):
            weight = 0 if number % 2 else 100
            source, target = self._bare.prepare(weight)
            await self._steady()
            at = time.time()
            source.rename(target)
            await envoy.seen.until(lambda call, to="b" if weight else "a": call.version == to)  # type: ignore[misc]
            self._note(self.floor, await envoy.seen.settled(), at, "b" if weight else "a")
        await self._count()

    async def _steady(self) -> None:
        await asyncio.sleep(_STEADY_S + self._dice.random() / 20)
        self._envoy.seen.forget()

    async def _count(self) -> None:
        sent, failed = await self._envoy.traffic.stop()
        self.sent, self.failed = self.sent + sent, self.failed + failed

    def _note(
        self, found: dict[Spec, list[float]], calls: Sequence[Call], at: float, to: str
    ) -> None:
        new = [call.started for call in calls if call.version == to and call.started >= at]
        old = [call.started for call in calls if call.version != to]
        found[FIRST].append(1000 * (min(new) - at))
        found[LAST].append(1000 * (max([*old, at]) - at))
        if found is self.ours:
            self.ways[TO if to == "b" else BACK].append(found[LAST][-1])


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Both in turn, ten changes at a time; in long mode until enough requests were sent."""
    runs = LONG if long else QUICK
    described = testbed.catalog({TARGET: ()}, {"steps": [50]})
    async with testbed.started(folder, lambda _: described) as here, testbed.routed(here) as envoy:
        shifting = Shifting(envoy)
        await shifting.aviary(2)
        shifting.ours.clear()
        shifting.ways.clear()
        while len(shifting.ours[LAST]) < runs or (long and shifting.sent < WANTED):
            await shifting.aviary(10)
            await shifting.bare(10)
    ours, floor = shifting.ours, shifting.floor
    return [
        FIRST.figure(ours[FIRST], floor[FIRST]),
        LAST.figure(ours[LAST], floor[LAST], shifting.ways),
        CONFIRMED.figure(ours[CONFIRMED]),
        FAILED.figure([shifting.failed], note=f"of {shifting.sent:,}"),
    ]
