"""Releases whose build has no workers: they go on on another build, or back.

A release is pinned to the build that it began on, and so are its canaries. When the last worker
of that build has gone, no alert would reach them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Final

import structlog
from temporalio.client import Client, WorkflowHistory
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Interceptor, Replayer

from aviary.builds.server import Deployment, Pinned
from aviary.queues import WORKFLOWS
from aviary.sandbox import sandbox
from schemas.ids import RELEASE_WORKFLOW
from schemas.outside import TEXT_MOST, cut
from workflows.guard import GuardInterceptor

MOST: Final = 100
"""Workflows that are looked at in one round; the next round has the rest."""
_REPLAYS_WITHIN_S: Final = 30.0
_log = structlog.get_logger("aviary.builds")

Replays = Callable[[WorkflowHistory], Awaitable[str]]
"""Why this build can't go on with a history; empty if it can."""


class Abandoned:
    """Takes on the workflows of builds that have gone, on the build of this process."""

    def __init__(
        self, deployment: Deployment, own: str, gives_up_s: float, replays: Replays
    ) -> None:
        """Nothing is asked yet.

        Args:
            deployment: where they are.
            own: the build of this process, which they are moved to.
            gives_up_s: seconds after which those go back that can't be gone on with.
            replays: asks this build's code.
        """
        self._deployment = deployment
        self._own = own
        self._gives_up_s = gives_up_s
        self._replays = replays
        self._refused: set[str | None] = set()
        """Runs that this build can't go on with: its code does not change while it runs."""

    async def take_on(
        self, found: Sequence[Pinned], silent_s: Callable[[str], float]
    ) -> Counter[str]:
        """Move what replays, and send back what has waited for too long.

        Args:
            found: workflows that are pinned to builds without workers.
            silent_s: how long a build has had none.

        Returns:
            By build, how many still wait.

        Raises:
            RPCError: Temporal could not be asked.
        """
        waiting: Counter[str] = Counter()
        runs = {one.handle.run_id for one in found}
        self._refused &= runs
        for one in found:
            gives_up = silent_s(one.build_id) >= self._gives_up_s
            try:
                if not await self._take_on(one, gives_up=gives_up):
                    waiting[one.build_id] += 1
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended meanwhile
                    raise
        return waiting

    async def _take_on(self, one: Pinned, *, gives_up: bool) -> bool:
        run = one.handle.run_id
        if run in self._refused and not gives_up:
            return False
        history = await one.handle.fetch_history()
        if run not in self._refused:
            why = await self._replays(history)
            if not why:
                await self._deployment.move(one, self._own)
                _log.warning("moved_to_this_build", **self._about(one))
                return True
            self._refused.add(run)
            _log.error("can_not_go_on_here", why=why, **self._about(one))
        if gives_up:
            await self._send_back(one, history)
        return gives_up

    async def _send_back(self, one: Pinned, history: WorkflowHistory) -> None:
        """A reset release goes back as a whole; that of a terminated canary takes its traffic."""
        why = (
            f"build {one.build_id} has had no worker for {self._gives_up_s:g} s, "
            f"and build {self._own} can't replay its history"
        )
        if one.kind == RELEASE_WORKFLOW:
            await self._deployment.reset(one, history, self._own, why)
        else:
            await one.handle.terminate(reason=why)
        _log.error("sent_back", **self._about(one))

    def _about(self, one: Pinned) -> dict[str, str]:
        return {"workflow_id": one.handle.id, "build": one.build_id, "this_build": self._own}


def replaying(
    client: Client, interceptors: Sequence[Interceptor] = (GuardInterceptor(),)
) -> Replays:
    """Ask the workflows of this process; `interceptors` are those of its workers."""

    async def replays(history: WorkflowHistory) -> str:
        replayer = Replayer(
            workflows=WORKFLOWS,
            interceptors=interceptors,
            workflow_runner=sandbox(),
            data_converter=client.data_converter,
            namespace=client.namespace,
            runtime=_quiet(),
        )
        try:
            async with asyncio.timeout(_REPLAYS_WITHIN_S):
                result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        except (TimeoutError, RuntimeError, ValueError) as error:
            return cut(f"{type(error).__name__}: {error}", TEXT_MOST)
        failure = result.replay_failure
        return cut(str(failure) or type(failure).__name__, TEXT_MOST) if failure else ""

    return replays


@cache
def _quiet() -> Runtime:
    """The SDK without its own lines: that a history does not replay is told in ours."""
    return Runtime(telemetry=TelemetryConfig(logging=None), worker_heartbeat_interval=None)
