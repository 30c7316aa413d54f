"""Every call of every activity goes wrong, in every way, in a release of two services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress

from temporalio.client import Client
from temporalio.service import RPCError

from activities.announce import NOTIFY, PUBLISH
from activities.traffic import READ
from adapters.errors import StaleGeneration
from schemas.ids import SIGNAL_ROLLBACK, canary_workflow_id
from schemas.release import CanaryPhase, ReleasePhase, ReleaseStatus
from schemas.route import Confirmation, Route
from schemas.stages import Stage
from tests.chaos.faults import Faults, Mode, Node
from tests.chaos.rows import Row
from tests.workflows.kit import RecordingRouter, Release, World
from tests.workflows.stage_examples import answered, prepare, unmet, with_stage
from workflows.calls import CALLS
from workflows.stages import STAGES

PART = "rollback-order"
AT_ONCE = 8
ONCE_ONLY = {one.activity for one in CALLS.values() if not one.writes} - {READ}
"""Done twice they only look twice; while holding, the judge looks until it is told to stop."""
OPEN_ENDED = {PUBLISH, NOTIFY}
"""How many calls there are depends on what comes together; the first two stand for all."""
CALLED = {CALLS[call].activity for one in STAGES.values() for call in one.calls}
"""What stages call, by the stage table."""


class HauntedRouter(RecordingRouter):
    """After each write, every earlier write of the service comes once more, too late."""

    def __init__(self) -> None:
        super().__init__()
        self.obeyed: list[Route] = []
        """Late writes that were not refused."""

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        confirmation = await super().apply(route, over)
        for old in [one for one in self.applied if one.service == route.service and one != route]:
            try:
                await super().apply(old)
            except StaleGeneration:
                continue
            self.obeyed.append(old)
        return confirmation


class Haunted(World):
    """A world whose activities go wrong on demand; many releases at once."""

    def __init__(self, client: Client) -> None:
        self.faults = Faults()
        config = client.config()
        config["interceptors"] = [self.faults]
        super().__init__(Client(**config))
        self.haunted = HauntedRouter()
        self.router = self.haunted
        self.ended: dict[str, str] = {}
        """How each run ended."""
        self.stages: dict[str, tuple[Stage, ...]] = {}
        """Those of each run's canaries."""

    async def execute(
        self,
        run: str,
        *,
        back: bool,
        node: Node | None = None,
        mode: Mode | None = None,
        stage: str | None = None,
    ) -> str:
        """One release of two services, which goes back once it holds, or is finalized.

        Args:
            run: its name.
            back: whether it is sent back once it holds.
            node: the call that goes wrong.
            mode: how.
            stage: a kind of stage that its canaries have as well.

        Returns:
            What is wrong about its end; empty if nothing is.
        """
        graph = {f"ledger-{run}": [], f"payments-{run}": [f"ledger-{run}"]}
        name = f"{run}-{self._suffix}"
        ids = {short: canary_workflow_id(self.service(f"{short}-{run}")) for short in SERVICES}
        self.faults.name(run, {"release": f"release/{name}", **ids})
        if node is not None and mode is not None:
            self.faults.wanted[run] = (node, mode)
        strategy = {"steps": [50], "bake": "1m", "soak": "1h" if back else "0s"}
        services = [self.service(one) for one in graph]
        if stage is not None:
            prepare(self, stage, *services)

        def reshape(planned: tuple[Stage, ...]) -> tuple[Stage, ...]:
            self.stages[run] = planned if stage is None else with_stage(planned, stage)
            return self.stages[run]

        release = await self.release(graph, strategy=strategy, name=name, reshape=reshape)
        answering = asyncio.create_task(self._answered(release, stage))
        if back:
            await self._send_back(release, f"payments-{run}")
        try:
            status = await release.result()
        except TimeoutError:
            return f"did not end: {await release.status()}"
        finally:
            answering.cancel()
        self.ended[run] = status.phase.value
        return await self._wrong(run, status, back=back, mode=mode, node=node)

    @staticmethod
    async def _answered(release: Release, stage: str | None) -> None:
        """A stage may ask people."""
        if stage is not None:
            await answered(release)

    async def _send_back(self, release: Release, last: str) -> None:
        """As soon as everything holds; a fault may have sent it back before."""
        with suppress(RPCError):
            while True:
                phases = await release.phases()
                status = await release.status()
                if phases[last] == "holding" or status.phase.closed:
                    break
                if status.phase is ReleasePhase.ROLLING_BACK:
                    return
                await asyncio.sleep(0.02)
            await release.handle.signal(SIGNAL_ROLLBACK)

    async def _wrong(
        self, run: str, status: ReleaseStatus, *, back: bool, mode: Mode | None, node: Node | None
    ) -> str:
        terminal = mode in {Mode.TERMINAL, Mode.TERMINAL_BUT_DONE}
        silent = node is not None and node.activity in OPEN_ENDED
        expected = {ReleasePhase.ROLLED_BACK if back else ReleasePhase.FINALIZED}
        if terminal and not silent:
            expected.add(ReleasePhase.ROLLED_BACK)
        if status.phase not in expected:
            return f"ended {status.phase}: {status.cause}"
        for one in status.services:
            if one.service in self.haunted.unrouted:
                continue  # its first deployment had not come to a route
            version = "2" if one.phase is CanaryPhase.FINALIZED else "0"
            route = await self.router.read(one.service)
            if (route.stable, route.canary, route.weight) != (version, None, 0):
                return f"{status.phase}, but {route}"
        late = [one for one in self.haunted.obeyed if one.service.startswith(SERVICES)]
        return f"late writes were obeyed: {late}" if late else ""


SERVICES = ("ledger", "payments")


async def roll_back_all(world: Haunted, mode: Mode, *, back: bool, stride: int = 1) -> list[Row]:
    """A release for each call that goes wrong in this way, after one that meets no fault.

    Args:
        world: new, and working.
        mode: what goes wrong.
        back: whether the release is sent back once it holds.
        stride: of every so many calls one is taken, another for each mode; and with more than one
            each mode has its share of the stages.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(run: str, node: Node | None, stage: str | None = None) -> Row:
        async with gate:
            began = time.monotonic()
            wrong = await world.execute(
                run, back=back, node=node, mode=mode if node else None, stage=stage
            )
        release = ("sent back" if back else "healthy") + (f", with {stage}" if stage else "")
        row = Row(PART, release, "no fault", struck=run in world.faults.struck)
        row.outcome = world.ended.get(run, "none")
        row.seconds = round(time.monotonic() - began, 2)
        if node is not None:
            row.fault = f"{mode}: {node.activity}"
            row.where = f"call {node.number} of {node.workflow}"
            if not row.struck and node.activity not in OPEN_ENDED:
                wrong = wrong or "the call never came"
        row.broken = [wrong] if wrong else []
        return row

    rows = [await one("none", None)]
    nodes = list(_nodes(world.faults, mode, "none", CALLED | OPEN_ENDED))
    work: list[tuple[Node, str | None]] = [(node, None) for node in nodes]
    known = {node.activity for node in nodes}
    turn = list(Mode).index(mode)
    stages = unmet(world.stages["none"])
    for stage in stages if stride == 1 else stages[turn :: len(Mode)]:
        run = f"with-{stage.replace('_', '-')}"
        rows.append(await one(run, None, stage))
        own = {CALLS[call].activity for call in STAGES[stage].calls}
        # What no other release calls, or all of it.
        chosen = _nodes(world.faults, mode, run, own - known or own)
        work += [(node, stage) for node in chosen]
    work = work[turn % stride :: stride]
    faulty = (one(f"n{number}", node, stage) for number, (node, stage) in enumerate(work))
    return [*rows, *await asyncio.gather(*faulty)]


def _nodes(faults: Faults, mode: Mode, run: str, chosen: set[str]) -> Iterator[Node]:
    """Each call of the chosen activities in that run."""
    for (workflow, kind), count in sorted(faults.calls[run].items()):
        if kind not in chosen or (mode is Mode.TWICE and kind in ONCE_ONLY):
            continue
        for number in range(1, 1 + (min(count, 2) if kind in OPEN_ENDED else count)):
            yield Node(workflow, kind, number)
