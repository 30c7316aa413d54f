"""Outages of what releases run on in production: nodes of Temporal, PostgreSQL, brokers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from aviary.local.process import ChildFailedError
from aviary.local.stack import CLUSTER
from schemas import ids
from schemas.release import CanaryPhase, ReleaseStatus
from tests.chaos.outages.faults import Fault
from tests.chaos.outages.releases import PATIENCE_S
from tests.chaos.outages.run import WITHIN_S, meet_on, say
from tests.chaos.outages.site import Site
from tests.chaos.rows import Row

PART: Final = "engines"
GAP_S: Final = 10.0
"""From an alert until the stable version has all requests, while a node of Temporal dies: the goal
is 5 s, and the other nodes alone may take as long until they take over what was its."""
_NODES: Final = ("temporal-1", "temporal-2")
_ALERTED: Final = "cart"
"""It bakes for minutes unless an alert comes."""
_CALM: Final = "nothing"
_POLL_S: Final = 0.02


def _killed(*names: str, lasts: float = 15.0) -> Fault:
    async def begin(site: Site) -> None:
        for name in names:
            await site.strike(name)

    async def end(site: Site) -> None:
        await asyncio.gather(*(site.revive(name) for name in names))

    return Fault(f"{' and '.join(names)} killed", begin, end, lasts=lasts)


def _frozen(name: str, lasts: float) -> Fault:
    async def begin(site: Site) -> None:
        site.freeze(name)

    async def end(site: Site) -> None:
        site.thaw(name)

    return Fault(f"{name} frozen for {lasts:g} s", begin, end, lasts=lasts)


async def _end_postgres(site: Site) -> None:
    await site.end("postgres")


async def _start_postgres(site: Site) -> None:
    await site.revive("postgres")


FAULTS: Final = (
    _killed("temporal-1"),
    _frozen("temporal-2", 30),
    _killed(*_NODES),
    Fault("postgres restarted", _end_postgres, _start_postgres, lasts=1),
    _killed("postgres"),
    _frozen("postgres", 60),
    _killed("kafka-2"),
    _killed("kafka-1", "kafka-3"),
)


async def meet_engines(folder: Path, only: str = "") -> list[Row]:
    """Each outage with its four releases, and the gap in service as a node dies.

    Args:
        folder: that others than root may enter, since PostgreSQL is not root.
        only: outages whose names have this text.
    """
    chosen = [fault for fault in FAULTS if only in fault.name]
    rows = await meet_on(lambda name: Site(folder / f"cluster-{name}", engine=CLUSTER), chosen)
    if only in Gap.NAME:
        rows += await _gaps(folder / "gap")
    for row in rows:
        row.part = PART
    return rows


async def _gaps(folder: Path) -> list[Row]:
    rows = []
    async with Site(folder, engine=CLUSTER) as site:
        for number, dies in enumerate((_CALM, *_NODES, _CALM, *_NODES), start=1):
            gap = Gap(site, number, dies)
            try:
                row = await gap.measure()
            except (OSError, TimeoutError, AssertionError, RPCError, ChildFailedError) as error:
                rows.append(gap.row(0.0, [f"{type(error).__name__}: {error}"]))
                break
            say(f"alert until restored while {dies} dies: {row.seconds} s")
            rows.append(row)
    return rows


class Gap:
    """How long an alert takes as a node dies in the same moment.

    Args:
        site: a cluster under users' load.
        number: of the measurement.
        dies: a part; or nothing, to compare with.
    """

    NAME: Final = "alert until restored"

    def __init__(self, site: Site, number: int, dies: str) -> None:
        self._site = site
        self._id = f"gap-{number}"
        self._version = f"{number + 1}.0.0"
        self._dies = dies

    def row(self, seconds: float, broken: Sequence[str] = ()) -> Row:
        """What became of it."""
        where = f"{self._dies} dies"
        done = "rolled_back" if not broken else "none"
        return Row(PART, self.NAME, where, self._id, True, done, round(seconds, 2), list(broken))

    async def measure(self) -> Row:
        """From the moment that Alertmanager is told until users get the stable version alone."""
        site = self._site
        before = (await site.route(_ALERTED)).stable
        await site.deploy(_ALERTED, self._version)
        await site.pipeline.request(self._id, {_ALERTED: self._version})
        await self._until_baking()
        if self._dies != _CALM:
            await site.strike(self._dies)
        began = time.monotonic()
        await site.fire(_ALERTED, self._version)
        async with asyncio.timeout(WITHIN_S):
            while (await site.route(_ALERTED)).weight:  # noqa: ASYNC110 - a router is asked
                await asyncio.sleep(_POLL_S)
        seconds = time.monotonic() - began
        async with asyncio.timeout(WITHIN_S):
            status = await self._handle().result()
        if self._dies != _CALM:
            await site.revive(self._dies)
        await site.fire(_ALERTED, self._version, ended=True)
        await site.retire(_ALERTED, self._version)
        broken = [] if seconds <= GAP_S else [f"took {seconds:.1f} s, expected {GAP_S:g} s"]
        if (await site.route(_ALERTED)).stable != before:
            broken.append(f"{_ALERTED} is not on {before}: {status}")
        return self.row(seconds, broken)

    def _handle(self) -> WorkflowHandle[Any, ReleaseStatus]:
        return self._site.client.get_workflow_handle(
            ids.release_workflow_id(self._id), result_type=ReleaseStatus
        )

    async def _until_baking(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    status: ReleaseStatus | None = await self._handle().query(
                        ids.QUERY_STATUS, result_type=ReleaseStatus
                    )
                except RPCError:  # it has not begun
                    status = None
                if status is not None and status.services[0].phase is CanaryPhase.BAKING:
                    return
                await asyncio.sleep(_POLL_S)
