"""What goes wrong with a part, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from schemas.release import ReleasePhase
from tests.chaos.outages.releases import ALERTED, GOING
from tests.chaos.outages.site import Site
from tests.workflows.door import ACTIVITY_POLLS, ALL

Step = Callable[[Site], Awaitable[None]]
HOUR: Final = 3600.0
_LAST_WORDS_S: Final = 15.0
"""A worker that has found its polls refused for good has ended by then."""


@dataclass(frozen=True)
class Fault:
    """One outage."""

    name: str
    begin: Step
    end: Step
    lasts: float = 10.0
    """Seconds between both; 0: until the releases have ended."""
    quick: float | None = None
    """The same in a test run that must be short."""
    moment: tuple[str, ReleasePhase] | None = None
    """Strikes once this release is there; None: once all are under way."""
    router: bool = False
    """Whether users can't be served meanwhile, by nobody's fault but the router's."""
    disk: bool = False
    """Needs a file system of its own under Envoy's files."""
    durable: bool = False
    """Needs Apache Kafka: the embedded broker would forget what it has."""


def _dead(part: str, *, lasts: float, router: bool = False) -> Fault:
    async def begin(site: Site) -> None:
        await site.strike(part)

    async def end(site: Site) -> None:
        await site.revive(part)

    return Fault(f"{part} killed", begin, end, lasts=lasts, quick=5, router=router)


def _clock(part: str, hours: int) -> Fault:
    async def begin(site: Site) -> None:
        await site.strike(part)
        await site.revive(part, site.aviary(part, off_s=hours * HOUR))

    async def end(site: Site) -> None:
        await site.strike(part)
        await site.revive(part, site.aviary(part))

    return Fault(f"{part}'s clock {hours:+d} h", begin, end, lasts=0)


async def _freeze(site: Site) -> None:
    site.wire.freeze()


async def _cut(site: Site) -> None:
    await site.wire.cut()


async def _mend(site: Site) -> None:
    await site.wire.mend()


async def _double(site: Site) -> None:
    await site.double_alertmanager()


async def _single(site: Site) -> None:
    await site.single_alertmanager()


async def _fill(site: Site) -> None:
    await asyncio.to_thread(site.fill)


async def _empty(site: Site) -> None:
    await asyncio.to_thread(site.empty)


def _frozen(seconds: float, moment: tuple[str, ReleasePhase] | None = None) -> Fault:
    async def begin(site: Site) -> None:
        site.freeze("worker")

    async def end(site: Site) -> None:
        site.thaw("worker")

    when = "" if moment is None else f" while a release is {moment[1].value.replace('_', ' ')}"
    name = f"worker frozen for {seconds:g} s{when}"
    return Fault(name, begin, end, lasts=seconds, quick=5, moment=moment)


def _refused(what: str, said: str, seconds: float) -> Fault:
    """A minute of refusals is fatal to the SDK: the worker ends, and is started again."""

    async def begin(site: Site) -> None:
        site.keep("worker")
        await site.door.refuse(what)

    async def end(site: Site) -> None:
        await site.door.admit(what)
        await site.keep_no_more(_LAST_WORDS_S)

    return Fault(f"Temporal refuses {said} for {seconds:g} s", begin, end, lasts=seconds, quick=8)


async def _starve(site: Site) -> None:
    await site.starve(8)


async def _feed(site: Site) -> None:
    await site.feed()


def _brokers(name: str, *numbers: int) -> Fault:
    async def begin(site: Site) -> None:
        assert site.cluster is not None
        await asyncio.to_thread(site.cluster.kill, *numbers)

    async def end(site: Site) -> None:
        assert site.cluster is not None
        await asyncio.to_thread(site.cluster.start)

    return Fault(name, begin, end, lasts=15, durable=True)


FAULTS: Final = (
    _dead("temporal", lasts=10),
    Fault("network to Temporal frozen", _freeze, _mend, lasts=60, quick=8),
    Fault("network to Temporal cut", _cut, _mend, lasts=60, quick=8),
    _dead("envoy", lasts=5, router=True),
    _dead("prometheus", lasts=20),
    _dead("worker", lasts=5),
    _dead("bridge", lasts=10),
    _dead("webhook", lasts=10),
    Fault("Alertmanager doubled", _double, _single, lasts=0),
    Fault("disk full under Envoy's files", _fill, _empty, lasts=15, quick=5, disk=True),
    *(_frozen(seconds) for seconds in (10, 20, 40, 90)),
    _frozen(20, (GOING, ReleasePhase.FINALIZING)),
    _frozen(20, (ALERTED, ReleasePhase.ROLLING_BACK)),
    Fault("eight busy loops", _starve, _feed, lasts=60, quick=8),
    _refused(ALL, "all calls of the worker", 20),
    _refused(ALL, "all calls of the worker", 130),
    _refused(ACTIVITY_POLLS, "the worker's polls for activities", 130),
    *(_clock(part, hours) for part in ("worker", "bridge") for hours in (+1, -1)),
    _brokers("one broker of three killed", 1),
    _brokers("all brokers killed", 1, 2, 3),
)
