"""Every call of every activity fails, is done twice or comes late: no service is left half-way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from activities.announce import NOTIFY, PUBLISH
from activities.judge import JUDGE
from activities.observe import SEE_BACK
from activities.preflight import PREFLIGHT
from activities.traffic import APPLY, READ
from adapters.errors import StaleGeneration
from schemas.ids import SIGNAL_ROLLBACK, canary_workflow_id
from schemas.release import ReleasePhase, ReleaseStatus
from schemas.route import Confirmation, Route
from tests.chaos.faults import Faults, Mode, Node
from tests.workflows.kit import RecordingRouter, Release, World

AT_ONCE = 8
ONCE_ONLY = {JUDGE, PREFLIGHT, SEE_BACK}
"""Done twice they only look twice; while holding, the judge looks until it is told to stop."""
OPEN_ENDED = {PUBLISH, NOTIFY}
"""How many calls there are depends on what comes together; the first two stand for all."""
STRIDE = 1 if os.environ.get("CHAOS_ALL") else 3
"""Of every so many nodes one is taken, another for each mode; `make chaos` takes all."""
KINDS = {READ, APPLY, JUDGE, PREFLIGHT, SEE_BACK, PUBLISH, NOTIFY}


class HauntedRouter(RecordingRouter):
    """After each write, every earlier write of the service comes once more, too late."""

    def __init__(self) -> None:
        super().__init__()
        self.obeyed: list[Route] = []
        """Late writes that were not refused."""

    async def apply(self, route: Route) -> Confirmation:
        confirmation = await super().apply(route)
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

    async def play(self, run: str, *, back: bool, node: Node | None, mode: Mode | None) -> str:
        """One release of two services, which goes back once it holds, or is finalized.

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
        release = await self.release(graph, strategy=strategy, name=name)
        if back:
            await self._send_back(release, f"payments-{run}")
        try:
            status = await release.result()
        except TimeoutError:
            return f"did not end: {await release.status()}"
        return await self._wrong(run, status, back=back, mode=mode, node=node)

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
        version = "2" if status.phase is ReleasePhase.FINALIZED else "0"
        for short in SERVICES:
            route = await self.router.read(self.service(f"{short}-{run}"))
            if (route.stable, route.canary, route.weight) != (version, None, 0):
                return f"{status.phase}, but {route}"
        late = [one for one in self.haunted.obeyed if one.service.startswith(SERVICES)]
        return f"late writes were obeyed: {late}" if late else ""


SERVICES = ("ledger", "payments")


@pytest.fixture
async def world(server: WorkflowEnvironment) -> AsyncIterator[Haunted]:
    here = Haunted(server.client)
    async with here.working():
        yield here


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("back", [False, True], ids=["finalize", "roll back"])
async def test_a_fault_at_any_call_leaves_no_service_half_way(
    world: Haunted, back: bool, mode: Mode
) -> None:
    assert await world.play("none", back=back, node=None, mode=None) == ""
    nodes = list(_nodes(world.faults, mode))
    assert len(nodes) >= 8
    nodes = nodes[list(Mode).index(mode) % STRIDE :: STRIDE]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, node: Node) -> str:
        async with gate:
            return await world.play(f"n{number}", back=back, node=node, mode=mode)

    wrong = await asyncio.gather(*(one(number, node) for number, node in enumerate(nodes)))
    assert {str(node): text for node, text in zip(nodes, wrong, strict=True) if text} == {}
    struck = {node for number, node in enumerate(nodes) if f"n{number}" in world.faults.struck}
    assert {node for node in nodes if node.activity not in OPEN_ENDED} - struck == set()


def _nodes(faults: Faults, mode: Mode) -> Iterator[Node]:
    for (workflow, kind), count in sorted(faults.calls["none"].items()):
        if kind not in KINDS or (mode is Mode.TWICE and kind in ONCE_ONLY):
            continue
        for number in range(1, 1 + (min(count, 2) if kind in OPEN_ENDED else count)):
            yield Node(workflow, kind, number)
