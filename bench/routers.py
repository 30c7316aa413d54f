"""Routers side by side: a change of weight through each, beside the platform's own command."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from bench.figures import Figure, Goal, Spec
from bench.sites import IN_TURNS, SITES, SLOW
from bench.sites.site import NEW, OLD, SERVICE, WITHIN_S, Site
from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.live_nginx import LiveNginx, nginx_root
from tests.contract.routers.wire import Caller, Instances, Load

QUICK: Final = 20
LONG: Final = 100
FEW: Final = 10
_CALLERS: Final = 4
_BETWEEN_S: Final = 0.002
_STEADY_S: Final = 0.1
_SETTLED: Final = 40
"""Requests of the new split in a row, after which none of the old one is to come."""
_USERS: Final = 300
_KEPT: Final = 16
"""Connections that are kept, by as many callers."""
RELOADS: Final = 20


class Specs(NamedTuple):
    """What is measured of each router."""

    first: Spec
    last: Spec
    confirmed: Spec
    failed: Spec
    moved: Spec

    @classmethod
    def names(cls, name: str) -> list[str]:
        """Names of those of one router."""
        return [spec.name for spec in cls.of(name)]

    @classmethod
    def of(cls, name: str) -> Self:
        """Those of one router."""
        bare, none = "its own command", Goal(median_at_most=0)
        return cls(
            Spec(f"{name}: weight change → first request on the new split", "ms", bare),
            Spec(f"{name}: weight change → last request on the old split", "ms", bare),
            Spec(f"{name}: weight change → confirmed by the router", "ms"),
            Spec(f"{name}: requests failed while shifting", "requests", goal=none),
            Spec(
                f"{name}: users on another version after a restart",
                "users",
                goal=Goal() if name in IN_TURNS else none,
            ),
        )


RELOADED: Final = Spec("nginx by reload: requests failed while shifting", "requests")
SPECS: Final = [*(spec for name in SITES for spec in Specs.of(name)), RELOADED]


class _Users:
    """Requests that go on until the block ends; each with when it was sent and what it got."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._going = True
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = asyncio.Condition()
        self.calls: list[tuple[float, str]] = []
        self.sent = self.failed = 0

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(_CALLERS)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)

    async def settled(self, version: str) -> None:
        """Wait until a row of requests has got this version."""
        async with asyncio.timeout(WITHIN_S), self._answered:
            await self._answered.wait_for(
                lambda: [got for _, got in self.calls[-_SETTLED:]] == [version] * _SETTLED
            )

    async def _run(self, number: int) -> None:
        async with Caller(self._port, SERVICE) as caller:
            while self._going:
                at = time.perf_counter()
                answer = await caller.get(x_user_id=f"{number}-{self.sent}")
                self.calls.append((at, answer.version))
                self.sent += 1
                self.failed += answer.status != 200
                async with self._answered:
                    self._answered.notify_all()
                await asyncio.sleep(_BETWEEN_S)


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Each router in turn, ten changes at a time by Aviary and ten by the platform's command."""
    figures = []
    for name, opened in SITES.items():
        runs = LONG if long else QUICK
        async with opened(folder / name.replace(" ", "-")) as site:
            turns = ", in turns: nobody is on a version" if name in IN_TURNS else ""
            runs = FEW if name in SLOW else runs
            figures += await _measure(Specs.of(name), site, runs, turns)
    return [*figures, await _reloaded(folder / "by-hand")]


async def _reloaded(folder: Path) -> Figure:
    """What nginx' users lose where each weight is a reload, as without Lua: a split by hand."""
    with Instances() as instances:
        root = await asyncio.to_thread(nginx_root)
        live, port = LiveNginx(root, folder, instances), free_port()
        ports = {version: live.port_of(version) for version in (OLD, NEW)}
        live.more = _split_by_hand(port, ports, 0)
        try:
            await asyncio.to_thread(live.start)
            async with Load(port, SERVICE, _KEPT) as load:
                for number in range(RELOADS):
                    await load.until(_KEPT)
                    live.more = _split_by_hand(port, ports, (100, 0)[number % 2])
                    await asyncio.to_thread(live.reload)
                await load.until(_KEPT)
        finally:
            await asyncio.to_thread(live.stop)
    failed, sent = sum(load.failed.values()), load.outcomes.total()
    return RELOADED.figure([failed], note=f"of {sent:,} in {RELOADS} changes")


def _split_by_hand(port: int, ports: Mapping[str, int], weight: int) -> str:
    part = f"{weight}% by_hand_{NEW};" if weight else ""
    pools = "".join(
        f"upstream by_hand_{version} {{ server 127.0.0.1:{at}; keepalive 16; }}\n"
        for version, at in ports.items()
    )
    return f"""{pools}
split_clients "$http_x_user_id" $by_hand {{ {part} * by_hand_{OLD}; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_pass http://$by_hand;
    }}
}}
"""


async def _measure(specs: Specs, site: Site, runs: int, turns: str) -> list[Figure]:
    dice = random.Random(15)
    ours: dict[Spec, list[float]] = {spec: [] for spec in specs}
    floor: dict[Spec, list[float]] = {spec: [] for spec in specs}
    generation = 0
    async with _Users(site.port) as users:
        while len(ours[specs.last]) < runs:
            for found in (ours, floor):
                for number in range(10):
                    generation += 1
                    weight, to = (0, OLD) if number % 2 else (100, NEW)
                    await asyncio.sleep(_STEADY_S + dice.random() / 20)
                    users.calls.clear()
                    at = time.perf_counter()
                    if found is ours:
                        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
                        await site.router.apply(route)
                        ours[specs.confirmed].append(1000 * (time.perf_counter() - at))
                    else:
                        await site.bare(weight, generation)
                    await users.settled(to)
                    _note(specs, found, users.calls, at, to)
    moved = await _moved(site, generation + 1)
    return [
        specs.first.figure(ours[specs.first], floor[specs.first]),
        specs.last.figure(ours[specs.last], floor[specs.last]),
        specs.confirmed.figure(ours[specs.confirmed]),
        specs.failed.figure([users.failed], note=f"of {users.sent:,}"),
        specs.moved.figure([moved], note=f"of {_USERS}{turns}"),
    ]


def _note(
    specs: Specs,
    found: dict[Spec, list[float]],
    calls: list[tuple[float, str]],
    at: float,
    to: str,
) -> None:
    new = [sent for sent, version in calls if version == to and sent >= at]
    old = [sent for sent, version in calls if version != to]
    found[specs.first].append(1000 * (min(new) - at))
    found[specs.last].append(1000 * (max([*old, at]) - at))


async def _moved(site: Site, generation: int) -> int:
    """How many users have another version once the server was killed and started again."""
    await site.router.apply(Route.split(SERVICE, OLD, NEW, 30, generation=generation))
    names = [f"user-{number}" for number in range(_USERS)]
    got = []
    for again in (False, True):
        if again:
            await site.restart()
        async with Caller(site.port, SERVICE) as caller:
            got.append(await caller.users(names))
    return sum(got[0][name] != got[1][name] for name in names)
