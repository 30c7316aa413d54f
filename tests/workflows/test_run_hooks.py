"""Hooks that are commands: run with the version, once, whatever becomes of who asked."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.hooks.run.caller import RunHook
from adapters.ports import HookCaller
from schemas.deployment import OneOff, OneOffEnd
from schemas.hooks import HookCall
from schemas.ids import SIGNAL_ROLLBACK
from schemas.release import CanaryPhase, CauseKind, ReleasePhase
from tests.workflows.kit import Release, World, eventually
from tests.workflows.kit.world import with_deployer
from tests.workflows.test_hooks import ONE_STEP, outcome, shares
from tests.workflows.test_resets import reset

COMMAND = ["./migrate", "{moment}", "{stable}", "{version}"]


async def running(world: World, when: Any, **more: Any) -> Release:
    """A release of one service with one command."""

    def caller(call: HookCall) -> HookCaller:
        assert call.kind == "run"
        return RunHook(call.options["command"])  # type: ignore[arg-type]

    world.hook_for = caller
    hook = {"name": "h", "when": when, "call": {"kind": "run", "command": COMMAND}, **more}
    return await world.release({"a": []}, strategy=ONE_STEP, hooks=[hook], **with_deployer())


def commands(world: World) -> list[tuple[str, ...]]:
    """What has run, in its order."""
    return [run.one.command[1:] for run in world.platform.runs.values()]


async def test_each_moment_runs_its_command_once_with_the_version(world: World) -> None:
    release = await running(world, ["before_canary", "before_step", "after_finalized"])
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    await eventually(lambda: len(world.platform.runs) == 4)
    moments = ["before_canary", "before_step", "before_step", "after_finalized"]
    assert commands(world) == [(one, "0", "2") for one in moments]
    assert set(world.platform.began.values()) == {1}
    wanted = {
        (run.one.wanted.service, run.one.wanted.version) for run in world.platform.runs.values()
    }
    assert wanted == {(world.service("a"), "2")}


async def test_an_exit_code_takes_the_release_back_with_the_last_lines(world: World) -> None:
    world.platform.ends = lambda _: OneOffEnd(exit_code=3, lines=("schema is at 41", "stop"))
    release = await running(world, "before_canary")
    status = await release.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert status.cause.kind is CauseKind.HOOK
    assert status.cause.text == "hook h said no: exit code 3: schema is at 41 | stop"
    assert shares(world) == [], "no request was moved"


async def test_a_reset_runs_nothing_anew(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 50))
    release = await running(world, "before_canary")
    await release.until(a="baking")
    assert list(world.platform.began.values()) == [1]
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()
    await reset(world.client, release.canary("a"), 0.2)
    assert (await outcome(release)).phase is CanaryPhase.ROLLED_BACK
    assert set(world.platform.began.values()) == {1}


async def test_a_contract_is_a_command_too(world: World) -> None:
    ends: list[OneOff] = []

    def ended(one: OneOff) -> OneOffEnd:
        ends.append(one)
        return OneOffEnd(exit_code=0, lines=("dropped amount_cents",))

    world.platform.ends = ended
    release = await running(world, "contract", contract_after="1s")
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    await eventually(lambda: bool(ends))
    assert ends[0].command[1:] == ("contract", "0", "2")


@pytest.mark.parametrize("code", [0, 1])
async def test_what_it_printed_is_in_the_history_of_its_call_alone(world: World, code: int) -> None:
    world.platform.ends = lambda _: OneOffEnd(exit_code=code, lines=("a line of it",) * 9)
    release = await running(world, "before_canary", on_no="ignore")
    await release.result()
    events = (await release.canary("a").fetch_history()).events
    answers = [str(event) for event in events if "a line of it" in str(event)]
    assert any("output" in one and "exit_code" in one for one in answers)
    assert len((await outcome(release)).decisions[0].text) < 600
