"""Hooks: call one, and wait for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from pydantic import Field
from temporalio import activity

from activities.policy import Policy, forever, rest, terminal_errors
from adapters.errors import Terminal
from adapters.ports import Deployer, HookCaller, OneOffRunner, PolledHook, RunCommand
from schemas.base import Model, SomeDuration
from schemas.deploy_spec import DeploySpec
from schemas.deployment import OneOff, OneOffEnd
from schemas.hooks import HookAnswer, HookCall, HookEvent, RunsBeside, Said

CALL_HOOK: Final = "aviary.hook.call"
HOOK_POLICY: Final = Policy(
    start_to_close=timedelta(days=367),
    retry=forever(timedelta(seconds=15)),
    heartbeat=timedelta(seconds=15),
)
"""An attempt may wait as long as the answer may take; whoever calls bounds the whole."""
_HEARTBEAT_S: Final = 2.0


class CallHook(Model):
    """Call a hook."""

    call: HookCall
    event: HookEvent
    beside: RunsBeside | None = Field(
        default=None, description="Of a call that runs a command: with which version."
    )
    waits: bool = Field(description="Whether `later` is waited for; or else it is the answer.")
    every: SomeDuration = Field(
        default=timedelta(seconds=10), description="How often it is asked again that said `later`."
    )


def no_door(event: HookEvent) -> HookEvent:
    """Leave an event as it is: no answer may come later but by being asked again."""
    return event


class HookActivities:
    """Activities over the hooks.

    Args:
        caller_for: finds the caller of a specification.
        sleep: waits that many seconds.
        with_door: adds to an event where an answer may come later. It is done here, where the
            event is sent, so that no history has a token.
        deployer_for: finds the deployer that runs commands; None: there is none.
    """

    def __init__(
        self,
        caller_for: Callable[[HookCall], HookCaller],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        with_door: Callable[[HookEvent], HookEvent] = no_door,
        deployer_for: Callable[[DeploySpec], Deployer] | None = None,
    ) -> None:
        self._caller_for = caller_for
        self._sleep = sleep
        self._with_door = with_door
        self._deployer_for = deployer_for

    @activity.defn(name=CALL_HOOK)
    async def call(self, request: CallHook) -> HookAnswer:
        """Call a hook; returns its answer.

        As long as it says `later`, it is asked where it said that the answer will be, or the same
        event is sent again.
        """
        at = ""
        while True:
            with terminal_errors():
                caller = self._caller_for(request.call)
                event = self._with_door(request.event)
                if at and isinstance(caller, PolledHook):
                    asking = caller.poll(event, at)
                else:
                    asking = caller.call(event, self._runner(request.beside))
                answer = await _with_heartbeats(asking)
            activity.heartbeat()
            at = answer.ask_at
            if answer.said is not Said.LATER or not request.waits:
                return answer
            await rest((answer.ask_again or request.every).total_seconds(), self._sleep)

    def _runner(self, beside: RunsBeside | None) -> RunCommand | None:
        """What runs commands with a version; None where no command is to be run.

        Raises:
            Terminal: the deployer runs no commands, or is not installed (any more).
        """
        if beside is None or self._deployer_for is None:
            return None
        runner = self._deployer_for(beside.deploy)
        if not isinstance(runner, OneOffRunner):
            raise Terminal(f"deployer kind {beside.deploy.kind}: it runs no commands")

        async def run(key: str, command: Sequence[str]) -> OneOffEnd:
            one = OneOff(key=key, wanted=beside.wanted, command=tuple(command))
            return await runner.run(one)

        return run


async def _with_heartbeats(work: Awaitable[HookAnswer]) -> HookAnswer:
    """Await it with heartbeats: a call that takes minutes is alive."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_HEARTBEAT_S))[0]:
            activity.heartbeat()
    except BaseException:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    return task.result()
