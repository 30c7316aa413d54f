"""How soon a fault is found by the router's own counts, on a real Envoy with real requests.

    python -m bench.judge_router              the table, measured: for a quiet machine
    python -m bench.judge_router --runs 3     fewer runs
    python -m bench.judge_router --burst 1    with bursts that may last a second
    python -m bench.judge_router --simulated  the readings alone, seeded: table 8 of docs/judging.md

The judge runs as in a worker, with a metrics source that never answers; the route is taken back
through the router as soon as it has its verdict. What a worker adds to that, the hops from the
verdict to the order to go back, is in the suite `faults`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import numpy as np
from temporalio.testing import ActivityEnvironment

from activities.judge import JudgeActivities, JudgeRequest
from adapters.errors import Retryable
from adapters.packs import BUILT_IN
from adapters.ports import Routing
from adapters.routers.envoy.capabilities import CAPABILITIES
from adapters.routers.envoy.fleet import Pool
from adapters.routers.envoy.router import EnvoyRouter
from analysis.evalues import Tally
from analysis.own_counts import SHARE
from analysis.stakes import AdaptiveBets
from aviary.local.parts import envoy_program
from schemas.judging import JudgeSpec, RatioMetric
from schemas.reading import Series
from schemas.route import Route
from schemas.router_spec import RouterSpec
from schemas.verdict import Source, VerdictKind
from tests.contract.routers.live import LiveEnvoy
from tests.contract.routers.wire import Instances

SERVICE: Final = "bench"
OLD, NEW = "a", "b"
WEIGHTS: Final = (5, 20, 50)
PACES: Final = (250, 100)
"""Milliseconds between two readings."""
RATES: Final = (0.3, 0.9)
RPS: Final = 200.0
CALLERS: Final = 8
RUNS: Final = 10
SIMULATED_RUNS: Final = 100
SIMULATED_LOOKS: Final = 240
"""Seconds in which a regression may begin, with an interval of 1 s."""
SEED: Final = 20261130
ODDS: Final = 20.0
BASE: Final = 0.001
"""Share of requests that fail without a fault."""
_STEADY_S: Final = 3.0
_WITHIN_S: Final = 60.0


class Silent:
    """A metrics source that never answers."""

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        """Nothing."""
        del promql, at
        raise Retryable("not asked here")


@dataclass
class Version:
    """One version, as its instance serves it."""

    error_rate: float = 0.0
    last: float = 0.0
    """When its last request came."""
    served: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(16))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request of a connection."""
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.last, self.served = time.time(), self.served + 1
                status = b"500 No" if self.dice.random() < self.error_rate else b"200 OK"
                writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


async def call(port: int) -> None:
    """Ask as many users do, at an even pace, until cancelled."""
    dice = random.Random(port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    pause = CALLERS / RPS
    due = time.monotonic() + dice.random() * pause
    try:
        while True:
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
            due += pause
            user = dice.getrandbits(48)
            head = f"GET / HTTP/1.1\r\nhost: {SERVICE}\r\nx-user-id: {user}\r\n\r\n"
            writer.write(head.encode())
            length = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"content-length: 0" not in length:
                await reader.readexactly(int(length.split(b"content-length: ")[1].split(b"\r")[0]))
    finally:
        writer.close()


@dataclass(frozen=True)
class Took:
    """Seconds from the fault."""

    verdict: float
    restored: float


class Bench:
    """One service behind Envoy that fails on demand."""

    def __init__(self, router: EnvoyRouter, canary: Version, burst: float) -> None:
        self._router = router
        self._burst = timedelta(seconds=burst)
        self._canary = canary
        self._judge = JudgeActivities(
            Silent(),
            lambda _: Routing.of(router, CAPABILITIES),
            BUILT_IN.resolve,
            clock=lambda: datetime.now(UTC),
        )

    async def one(self, weight: int, pace: int, rate: float) -> Took:
        """One canary that fails after a while."""
        generation = (await self._router.read(SERVICE)).generation + 1
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        await self._router.apply(route)
        request = JudgeRequest(
            router=RouterSpec(kind="envoy"),
            service=SERVICE,
            stable=OLD,
            canary=NEW,
            spec=JudgeSpec(
                pack="envoy",
                interval=timedelta(seconds=1),
                router_interval=timedelta(milliseconds=pace),
                burst=self._burst,
            ),
            metrics=(RatioMetric(name="errors"),),
            weight=weight,
            weight_changed_at=datetime.now(UTC),
            started_at=datetime.now(UTC),
        )
        judging = asyncio.ensure_future(ActivityEnvironment().run(self._judge.judge, request))
        await asyncio.sleep(_STEADY_S + random.random())  # not in step with readings
        at, self._canary.error_rate = time.time(), rate
        async with asyncio.timeout(_WITHIN_S):
            verdict = (await judging).verdict
        decided = time.time()
        await self._router.apply(Route.split(SERVICE, OLD, generation=generation + 1))
        self._canary.error_rate = 0.0
        await asyncio.sleep(0.2)
        found = (verdict.kind, verdict.decided_by)
        if found != (VerdictKind.FAIL, Source.ROUTER):
            raise RuntimeError(f"expected a FAIL by the router, got {verdict.sentence}")
        return Took(decided - at, max(self._canary.last, decided) - at)


@asynccontextmanager
async def started(folder: Path, burst: float) -> AsyncIterator[Bench]:
    """Envoy, both versions and the users."""
    versions = {OLD: Version(), NEW: Version()}
    with Instances() as instances:
        live = LiveEnvoy(envoy_program(), folder, instances)
        servers = [await asyncio.start_server(v.serve, "127.0.0.1") for v in versions.values()]
        try:
            await asyncio.to_thread(live.start)
            for name, server in zip(versions, servers, strict=True):
                port = server.sockets[0].getsockname()[1]
                pool = Pool(service=SERVICE, version=name, endpoints=(("127.0.0.1", port),))
                await asyncio.to_thread(live.fleet.put_pool, pool)
                text = f"{pool.name}::127.0.0.1:{port}::health_flags::healthy"
                await asyncio.to_thread(live.wait_for, "/clusters", text)
            async with httpx.AsyncClient() as client:
                router = EnvoyRouter(live.fleet.directory, [live.admin_url], client=client)
                await router.apply(await router.register(SERVICE, OLD))
                callers = [asyncio.ensure_future(call(live.port)) for _ in range(CALLERS)]
                try:
                    yield Bench(router, versions[NEW], burst)
                finally:
                    for one in callers:
                        one.cancel()
                    await asyncio.gather(*callers, return_exceptions=True)
        finally:
            for server in servers:
                server.close()
            await asyncio.to_thread(live.stop)


def _three(values: Sequence[float]) -> str:
    ordered = sorted(values)
    p90 = ordered[min(round(0.9 * len(ordered)), len(ordered) - 1)]
    return f"{statistics.median(ordered):.2f} / {p90:.2f} / {ordered[-1]:.2f}"


async def measure(runs: int, burst: float) -> None:
    """Print the table."""
    print("| weight | errors | read every | fault → verdict | fault → restored |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        async with started(Path(folder) / "envoy", burst) as bench:
            for rate in RATES:
                for weight in WEIGHTS:
                    for pace in PACES:
                        took = [await bench.one(weight, pace, rate) for _ in range(runs)]
                        verdict = _three([one.verdict for one in took])
                        restored = _three([one.restored for one in took])
                        which = f"{weight} % | {100 * rate:.0f} % | {pace} ms"
                        print(f"| {which} | {verdict} | {restored} |", flush=True)
    print(f"Load of the machine at the end: {os.getloadavg()[0]:.1f}; {runs} runs of each")


def _simulated(rng: np.random.Generator, weight: float, pace: float, rate: float) -> float:
    """Seconds from a fault, at any moment between two readings, to enough odds of the router."""
    bets = AdaptiveBets(round(SIMULATED_LOOKS / pace))
    at, fault = 0.0, _STEADY_S + rng.random()
    while bets.value < ODDS / SHARE:
        # A reading in which the fault begins has a part of its errors.
        part = min(max((at + pace - fault) / pace, 0.0), 1.0)
        n_c, n_b = rng.poisson(RPS * weight * pace), rng.poisson(RPS * (1 - weight) * pace)
        bad_c = rng.binomial(n_c, BASE + part * (rate - BASE))
        bets.update([Tally(bad_c, n_c, rng.binomial(n_b, BASE), n_b)], 1.0)
        at += pace
    return at - fault


def simulate(runs: int) -> None:
    """Print what the readings alone take."""
    rng = np.random.default_rng(SEED)
    print(
        "| weight | errors | read every | fault → enough odds, s |\n|---|---|---|---|", flush=True
    )
    for rate in (0.1, *RATES):
        for weight in WEIGHTS:
            for pace in PACES:
                took = [_simulated(rng, weight / 100, pace / 1000, rate) for _ in range(runs)]
                rates = f"{100 * BASE:g} % → {100 * rate:.0f} %"
                print(f"| {weight} % | {rates} | {pace} ms | {_three(took)} |", flush=True)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--burst", type=float, default=0.0)
    parser.add_argument("--simulated", action="store_true")
    arguments = parser.parse_args()
    if arguments.simulated:
        simulate(arguments.runs or SIMULATED_RUNS)
        return
    logging.disable(logging.WARNING)  # that the metrics source is silent is no news here
    asyncio.run(measure(arguments.runs or RUNS, arguments.burst))


if __name__ == "__main__":
    main()
