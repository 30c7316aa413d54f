"""One fault after the other on one site, each with its four releases."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from temporalio.service import RPCError

from aviary.local.process import ChildFailedError
from schemas.release import ReleaseStatus
from tests.chaos.outages import invariants
from tests.chaos.outages.faults import Fault
from tests.chaos.outages.releases import SERVICES, Asked, Round
from tests.chaos.outages.site import Site
from tests.chaos.rows import Row
from tests.durability.apache import Cluster

PART = "outages"
WITHIN_S = 180.0
"""For a release to end once the fault is over."""
_SETTLE_S = 6.0
"""Longer than a user waits for an answer: what the router's death cost them is known by then."""


async def meet_all(folder: Path, faults: Sequence[Fault], *, quick: bool = False) -> list[Row]:
    """Every fault, those that need Apache Kafka on a site of their own."""
    short = [one for one in faults if not one.durable]
    rows = await meet_on(lambda name: Site(folder / f"site-{name}"), short, quick=quick)
    durable = [one for one in faults if one.durable]
    if durable:
        cluster = await asyncio.to_thread(Cluster, folder / "kafka", 3)
        try:
            await asyncio.to_thread(cluster.start)

            def durable_site(name: str) -> Site:
                return Site(folder / f"durable-{name}", cluster=cluster)

            rows += await meet_on(durable_site, durable, quick=quick)
        finally:
            await asyncio.to_thread(cluster.kill_all)
    return rows


async def meet_on(
    make: Callable[[str], Site], faults: Sequence[Fault], *, quick: bool = False
) -> list[Row]:
    """One after the other, on one site for as long as nothing is broken.

    Args:
        make: a site of this name.
        faults: what strikes.
        quick: whether outages last as long as in a test run that must be short.
    """
    rows: list[Row] = []
    left = deque(enumerate(faults, start=1))
    while left:
        async with make(str(left[0][0])) as site:
            good = True
            while left and good:
                number, fault = left.popleft()
                if fault.disk and site.mounted:
                    say(f"{fault.name}: skipped: {site.mounted}")
                    continue
                found = await _met(site, fault, number, quick=quick)
                good = all(row.good for row in found)
                for row in found:
                    what = f"BROKEN {row.broken}" if row.broken else row.outcome
                    say(f"{fault.name} / {row.release}: {what} ({row.seconds} s)")
                rows += found
    return rows


async def _met(site: Site, fault: Fault, number: int, *, quick: bool) -> list[Row]:
    try:
        return await meet(site, fault, number, quick=quick)
    except (OSError, TimeoutError, AssertionError, RPCError, ChildFailedError) as error:
        text = f"{type(error).__name__}: {error}"
        return [Row(PART, scenario, fault.name, broken=[text]) for scenario in SERVICES]


async def meet(site: Site, fault: Fault, number: int, *, quick: bool = False) -> list[Row]:
    """Let a fault strike while four releases are under way; a row for each of them."""
    round_ = Round(site, number)
    await round_.begin()
    began = time.monotonic()
    # By the router's death users lose requests while it is away, but none before.
    before = await invariants.users_lost(round_)
    trouble = asyncio.create_task(round_.trouble()) if fault.moment else None
    if fault.moment is not None:
        await round_.until_release(*fault.moment)
    await fault.begin(site)
    trouble = trouble or asyncio.create_task(round_.trouble())
    if fault.lasts:
        await asyncio.sleep(fault.quick if quick and fault.quick else fault.lasts)
        await fault.end(site)
    excused = 0
    if fault.router:
        await asyncio.sleep(_SETTLE_S)
        excused = await invariants.users_lost(round_) - before
    await asyncio.wait_for(trouble, WITHIN_S)
    ended = await asyncio.gather(*(_result(site, one) for one in round_.asked.values()))
    rows = [
        await _row(round_, one, status, fault, seconds=at - began)
        for one, (status, at) in zip(round_.asked.values(), ended, strict=True)
    ]
    if not fault.lasts:
        await fault.end(site)
    of_all = await invariants.broken_for_all(round_, excused)
    for row in rows:
        row.broken += of_all
    await round_.clean()
    return rows


async def _row(
    round_: Round, one: Asked, status: ReleaseStatus | str, fault: Fault, *, seconds: float
) -> Row:
    row = Row(PART, one.scenario, fault.name, struck=True, seconds=round(seconds, 1))
    if isinstance(status, str):
        row.broken.append(status)
    else:
        row.outcome = status.phase.value
        row.broken += await invariants.broken_by(round_, one, status)
    return row


async def _result(site: Site, one: Asked) -> tuple[ReleaseStatus | str, float]:
    """How a release ended and when; where it is, if it did not end in time."""
    try:
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    return await one.handle(site).result(), time.monotonic()
                except RPCError:  # it has not begun, or Temporal is not quite back
                    await asyncio.sleep(0.2)
    except TimeoutError:
        history = await one.handle(site).fetch_history()
        last = [event.event_type for event in history.events][-5:]
        text = f"did not end within {WITHIN_S:g} s; {len(history.events)} events, last {last}"
        return text, time.monotonic()


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
