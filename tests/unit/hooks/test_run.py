"""Hooks that are commands: what the command is told, how its end is read, and that it runs once."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from temporalio.testing import ActivityEnvironment

from activities.hooks import CallHook, HookActivities
from adapters.deployers.memory.deployer import MemoryDeployer
from adapters.deployers.memory.platform import MemoryPlatform
from adapters.deployers.process.deployer import ProcessDeployer
from adapters.errors import Terminal
from adapters.hooks.run import RunOptions
from adapters.hooks.run.caller import RunHook
from adapters.ports import Deployer
from aviary.kinds import registry
from aviary.routers import CatalogKinds
from schemas.catalog_file import CatalogError, parse_catalog
from schemas.deploy_spec import DeploySpec
from schemas.deployment import OneOffEnd, WantedVersion
from schemas.hooks import OUTPUT_MOST, HookAnswer, HookCall, RunsBeside, Said
from tests.catalogs import parse
from tests.contract.hooks.subjects import event
from tests.unit.hooks.test_hooks import document

CALL = HookCall.model_validate({"kind": "run", "command": ["./migrate", "--to", "{version}"]})
WANTED = WantedVersion(service="checkout", version="1.4.2", release="shop-42", generation=7)
BESIDE = RunsBeside(deploy=DeploySpec(kind="memory"), wanted=WANTED)


class Runner:
    """Keeps what it is told, and ends as it is told to."""

    def __init__(self, *lines: str, exit_code: int = 0) -> None:
        self.runs: list[tuple[str, list[str]]] = []
        self._end = OneOffEnd(exit_code=exit_code, lines=lines)

    async def __call__(self, key: str, command: Sequence[str]) -> OneOffEnd:
        self.runs.append((key, list(command)))
        return self._end


async def test_a_command_is_told_what_it_is_about() -> None:
    runner = Runner()
    words = ("x", "{service} {version} {stable}", "{{{step}}}", "{moment}", "{weight}", "{release}")
    await RunHook(words).call(event(step=2), runner)
    told = ["x", "checkout 1.4.2 1.4.1", "{2}", "before_step", "5", "shop-42"]
    assert runner.runs == [(event(step=2).id, told)]


@pytest.mark.parametrize("code", [1, 3, 137])
async def test_the_exit_code_is_the_answer(code: int) -> None:
    lines = ("schema is at 41", "expected 42")
    good = await RunHook(["x"]).call(event(), Runner(*lines))
    assert (good.said, good.exit_code, good.output) == (Said.YES, 0, lines)
    bad = await RunHook(["x"]).call(event(), Runner(*lines, exit_code=code))
    assert (bad.said, bad.exit_code, bad.output) == (Said.NO, code, lines)
    assert bad.reason == f"exit code {code}: schema is at 41 | expected 42"


@given(st.lists(st.text(max_size=400), max_size=50), st.integers(-1, 255))
def test_what_a_command_says_is_bounded(lines: list[str], code: int) -> None:
    answer = asyncio.run(RunHook(["x"]).call(event(), Runner(*lines, exit_code=code)))
    assert len(answer.output) <= OUTPUT_MOST
    assert len(answer.reason) <= 450
    assert all("\n" not in line for line in (*answer.output, answer.reason))
    assert answer.short == answer.model_copy(update={"output": ()})
    if lines and answer.output and len(answer.output[-1]) < 390:
        assert answer.output[-1] in answer.reason, "the last line says most"


async def test_without_a_deployer_nothing_runs() -> None:
    with pytest.raises(Terminal, match="no deployer"):
        await RunHook(["x"]).call(event())


@pytest.mark.parametrize(
    "command", [[], [""], ["{port}"], ["{"], ["{version!r}"], ["{version:>9}"], ["x" * 17_000]]
)
def test_what_is_no_command_is_refused(command: list[str]) -> None:
    with pytest.raises(ValidationError):
        RunOptions(command=tuple(command))


# --- in a catalog ---


def problem(**more: Any) -> str:
    hook = {"name": "h", "when": "before_canary", "call": CALL.model_dump(), **more}
    given: dict[str, Any] = document(services={"checkout": {"hooks": [hook]}})
    with pytest.raises(CatalogError) as found:
        parse(json.dumps(given))
    return str(found.value)


def test_a_catalog_says_which_service_has_no_deployer() -> None:
    assert "a deployer of checkout, which the command runs with" in problem()


@pytest.mark.parametrize("moment", ["before_rollback", "after_rolled_back"])
def test_nothing_runs_with_a_version_that_goes(moment: str) -> None:
    assert "its version is taken down then" in problem(when=["before_canary", moment])


def test_a_catalog_may_have_it() -> None:
    text = """
version: 1
defaults: {router: {kind: memory}, metrics: [], deploy: {kind: memory}}
services:
  checkout:
    hooks:
      - name: expand
        when: [before_canary, contract]
        call: {kind: run, command: [./migrate, "{moment}"]}
"""
    catalog = parse_catalog(text, kinds=CatalogKinds(registry()))
    (hook,) = catalog.services["checkout"].hooks
    assert hook.call.options == {"command": ["./migrate", "{moment}"]}


# --- once ---


def with_commands(hook: RunHook, deployer: Deployer) -> HookActivities:
    """The activities of one worker."""
    return HookActivities(lambda _: hook, deployer_for=lambda _: deployer)


async def ask(activities: HookActivities) -> HookAnswer:
    request = CallHook(call=CALL, event=event(), beside=BESIDE, waits=True)
    answer: HookAnswer = await ActivityEnvironment().run(activities.call, request)
    return answer


async def test_the_same_call_is_one_run_whoever_makes_it() -> None:
    platform = MemoryPlatform()
    platform.ends = lambda one: OneOffEnd(exit_code=0, lines=(" ".join(one.command),))
    hook = RunHook(("./migrate", "--to", "{version}"))
    for _ in range(3):
        assert (await ask(with_commands(hook, MemoryDeployer(platform)))).output == (
            "./migrate --to 1.4.2",
        )
    assert platform.began == {event().id: 1}


async def test_a_deployer_that_runs_no_commands_says_so() -> None:
    class Plain:
        """A deployer without `run`."""

    activities = HookActivities(lambda _: RunHook(["x"]), deployer_for=lambda _: Plain())  # type: ignore[arg-type, return-value]
    with pytest.raises(Exception, match="it runs no commands"):
        await ask(activities)


async def test_a_worker_that_dies_leaves_the_run_to_the_next(tmp_path: Path) -> None:
    """A real process: the first worker is cancelled while it runs, the second finds its end."""
    count, gate = tmp_path / "count", tmp_path / "gate"
    script = (
        "import pathlib, time\n"
        f"with open({str(count)!r}, 'a') as file: file.write('x')\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n"
        "print('expanded')\n"
        "raise SystemExit(3)\n"
    )
    program = tmp_path / "migrate.py"
    program.write_text(script)
    recipe = {"command": [sys.executable, str(program)], "ready": {"tcp": True}}
    beside = BESIDE.model_copy(
        update={
            "deploy": DeploySpec(kind="process", **recipe),
            "wanted": WANTED.model_copy(update={"recipe": recipe}),
        }
    )
    hook = RunHook([sys.executable, str(program)])
    request = CallHook(call=CALL, event=event(), beside=beside, waits=True)

    def worker() -> Any:
        deployer = processes(tmp_path)
        return HookActivities(lambda _: hook, deployer_for=lambda _: deployer)

    environment = ActivityEnvironment()
    first = asyncio.create_task(environment.run(worker().call, request))
    while not count.exists():
        assert not first.done(), first.result()
        await asyncio.sleep(0.05)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(ActivityEnvironment().run(worker().call, request))
    gate.touch()
    answer = await second
    assert (answer.said, answer.exit_code, answer.output) == (Said.NO, 3, ("expanded",))
    assert count.read_text() == "x", "it ran once"


def processes(folder: Path) -> ProcessDeployer:
    """What a worker of this machine has; its runs need no client."""
    client = httpx.AsyncClient()
    return ProcessDeployer(folder / "state", "aviary", ports=range(20_000, 20_010), client=client)
