"""Admission while hundreds, then thousands, of releases wait for one busy service (9).

What is timed is the release of another service, which nobody else wants: from its start to the word
that its turn has come, by the server's own times; and how much CPU the admission's decision is of
that, which needs no server and can be had beside any queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.service import RPCError

from bench import testbed
from bench.figures import Figure, Goal, Spec
from bench.testbed import Testbed
from schemas import ids
from schemas.admission import AdmissionState, Answer, Answered, Ask, Entry
from schemas.release import CanaryPhase, ReleaseStatus
from workflows.release_queue import ReleaseQueue

SIZES: Final = (350, 5_000)
ADMITTED: Final = {
    size: Spec(
        f"release of a free service → admitted, {size:,} queued for another",
        "ms",
        "the same with an empty line",
        Goal(ratio_at_most=3),
        long=size > SIZES[0],
    )
    for size in SIZES
}
DECIDED: Final = Spec(
    f"CPU of the decision to admit a free service's release, {SIZES[-1]:,} queued for another",
    "ms",
    "the same with an empty line",
    Goal(ratio_at_most=3),
)
SPECS: Final = (*ADMITTED.values(), DECIDED)
DECISIONS: Final = 300
BUSY: Final = "busy"
PROBES: Final = 12
_AT_ONCE: Final = 8
"""Releases that are being started at the same time."""
_LAST: Final = 20
_CALM_S: Final = 10.0
QUEUE_WITHIN_S: Final = 600.0
"""For each size: the line is as long as it has become by then, and the figure says so."""
_TELL_WITHIN_S: Final = 60.0
"""From the last start to the word that all of them wait, where the time is over otherwise."""
PROBES_WITHIN_S: Final = 300.0
"""For the probes of each size: fewer of them count, at least one."""


def described() -> dict[str, Any]:
    """A catalog of the busy service, which bakes for hours, and of free ones."""
    services = [BUSY, *(f"free-{number}" for number in range(PROBES))]
    quick, long = {"steps": [50], "bake": "0s"}, {"steps": [50], "bake": "10h"}
    described = testbed.catalog(
        dict.fromkeys(services, ()), quick, strategies={"bench": quick, "long": long}
    )
    described["services"][BUSY]["strategy"] = "long"
    return described


class Admitting:
    """Makes the queue longer, and sends releases by it."""

    def __init__(self, here: Testbed) -> None:
        self._testbed = here
        self._queued = 0

    async def hold(self) -> None:
        """Have a release that keeps the busy service."""
        handle = await testbed.begin(self._testbed, "holder", {BUSY: "2"})
        await testbed.until(handle, _baking)

    async def queue(self, size: int, within_s: float = QUEUE_WITHIN_S) -> int:
        """Start releases of the busy service until so many wait, or until the time is over.

        Returns:
            How many wait.
        """
        ends = _time() + within_s
        names = iter(range(self._queued, size))

        async def some() -> None:
            while _time() <= ends and (number := next(names, None)) is not None:
                await testbed.begin(self._testbed, f"queued-{number}", {BUSY: str(number + 3)})
                self._queued += 1

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
        waiting = 0
        with suppress(TimeoutError):
            async with asyncio.timeout_at(max(ends, _time() + _TELL_WITHIN_S)):
                async for waiting in self._waiting():
                    if waiting >= self._queued:
                        await self._settled(self._queued)
                        break
        return waiting

    async def _waiting(self) -> AsyncIterator[int]:
        """How many the admission says that wait, once a second."""
        admission = self._testbed.client.get_workflow_handle(
            ids.admission_workflow_id(testbed.QUEUE)
        )
        while True:
            with suppress(RPCError):  # its worker is busy
                state = await admission.query(ids.QUERY_STATUS, result_type=AdmissionState)
                yield state.wait
            await asyncio.sleep(1)

    async def _settled(self, size: int) -> None:
        """Wait until the last of them know that they wait: the flood itself is over then."""
        for number in range(max(0, size - _LAST), size):
            queued = ids.release_workflow_id(f"queued-{number}")
            handle = self._testbed.client.get_workflow_handle(queued)
            await testbed.until(handle, lambda status: bool(status.waits_for), every=0.5)
        await asyncio.sleep(_CALM_S)

    async def probes(self, name: str, within_s: float = PROBES_WITHIN_S) -> list[float]:
        """Milliseconds until releases of free services were admitted, one after the other."""
        ends = _time() + within_s
        found: list[float] = []
        for number in range(PROBES):
            if found and _time() > ends:
                break
            release = f"{name}-{number}"
            handle = await testbed.begin(self._testbed, release, {f"free-{number}": name})
            try:
                async with asyncio.timeout(within_s):
                    await handle.result()
            except TimeoutError:
                if not found:
                    raise
                break
            found.append(await self._took(handle.id))
        return found

    async def _took(self, workflow: str) -> float:
        history = await testbed.events(self._testbed.client, workflow)
        for event in history:
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                said = event.workflow_execution_signaled_event_attributes
                if said.signal_name == ids.SIGNAL_ADMISSION and await self._admits(said.input):
                    return 1000 * (testbed.moment(event) - testbed.moment(history[0]))
        raise RuntimeError(f"{workflow} was never admitted")

    async def _admits(self, payloads: Any) -> bool:
        converter = self._testbed.client.data_converter
        [answer] = await converter.decode(payloads.payloads, [Answer])
        return bool(answer.answered is Answered.ADMITTED)


def decided(queued: int) -> list[float]:
    """Milliseconds of this process's CPU that decisions take, so many releases being queued."""
    queue, at = ReleaseQueue(), datetime(2026, 1, 1, tzinfo=UTC)

    def ask(number: int, service: str) -> tuple[Entry, Ask]:
        since = at + timedelta(seconds=number)
        entry = Entry(
            release=f"r-{number}",
            run=f"run-{number}",
            services=(service,),
            since=since,
            place=since,
        )
        return entry, Ask(entry=entry)

    for number in range(queued):
        queue.take(ask(number, BUSY)[1])
    queue.settle(at)
    found: list[float] = []
    for number in range(queued, queued + DECISIONS):
        entry, asked = ask(number, "free")
        began = time.process_time()
        queue.take(asked)
        said = queue.settle(at)
        found.append(1000 * (time.process_time() - began))
        if said[entry.release].answered is not Answered.ADMITTED:
            raise RuntimeError(f"{entry.release} was not admitted: {said}")
        queue.leave(entry.release, entry.run)
        queue.settle(at)
    return found


def _time() -> float:
    return asyncio.get_running_loop().time()


def _baking(status: ReleaseStatus) -> bool:
    return all(one.phase is CanaryPhase.BAKING for one in status.services)


def _note(size: int, waiting: int) -> str:
    """What the figure's name promises and the run did not give."""
    if waiting >= size:
        return ""
    return f"with {waiting:,} queued: no more in {QUEUE_WITHIN_S:.0f} s"


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """A line that grows; the releases before there is one are the floor."""
    sizes: Sequence[int] = SIZES if long else SIZES[:1]
    async with testbed.started(folder, lambda _: described()) as here:
        await here.start("worker")
        admitting = Admitting(here)
        await admitting.probes("warm")
        await admitting.hold()
        floor = await admitting.probes("empty")
        figures = []
        for size in sizes:
            waiting = await admitting.queue(size)
            took = await admitting.probes(f"at-{size}")
            figures.append(ADMITTED[size].figure(took, floor, note=_note(size, waiting)))
    return [*figures, DECIDED.figure(decided(SIZES[-1]), decided(0))]
