"""How a stack in the foreground ends: by its work, by a signal, by the death of a part."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, cast

import pytest

from aviary.cli.demo import run as demo
from aviary.cli.demo.scenarios import ScenarioResult
from aviary.local import running
from aviary.local.process import ChildSpec, Supervisor
from aviary.local.records import Record
from aviary.local.running import STOPPED, FolderError, new_folder
from aviary.local.stack import Say, Stack

_SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


class OneChild:
    """Stands in for a stack: one part, one instance of the shop."""

    settings = {"AVIARY_WEBHOOK_TOKEN": "it's secret"}  # noqa: RUF012 - a constant
    addresses = {"shop": "http://127.0.0.1:10000"}  # noqa: RUF012 - likewise

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor(folder, grace=1.0)
        self.pids: dict[str, Record] = {}

    async def __aenter__(self) -> Self:
        await self.supervisor.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.supervisor.__aexit__(*exc)

    async def start(self, say: Say) -> None:
        for name, essential in (("part", True), ("shop", False)):
            child = await self.supervisor.start(ChildSpec(name, _SLEEP, essential=essential))
            self.pids[name] = Record.of(name, child.pid)
        say("started")


async def _run(
    folder: Path, work: Callable[[OneChild], Awaitable[int]], *, keep_going: bool = False
) -> tuple[int, list[str], OneChild]:
    stack, said = OneChild(folder), list[str]()

    async def cast_work(_: Stack) -> int:
        return await work(stack)

    code = await running.run(cast("Stack", stack), cast_work, said.append, keep_going=keep_going)
    assert not any(record.alive for record in stack.pids.values())
    return code, said, stack


async def test_the_works_code_is_the_code(tmp_path: Path) -> None:
    async def work(_: OneChild) -> int:
        return 7

    code, said, _ = await _run(tmp_path, work)
    assert (code, said) == (7, ["started"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_work_and_children(tmp_path: Path, number: signal.Signals) -> None:
    async def work(_: OneChild) -> int:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()
        return 0

    code, said, _ = await _run(tmp_path, work)
    assert (code, said) == (STOPPED, ["started", "stopping"])


async def test_work_that_ends_well_by_being_stopped_keeps_its_code(tmp_path: Path) -> None:
    async def work(_: OneChild) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return 0

    assert (await _run(tmp_path, work))[0] == 0


async def test_the_death_of_a_part_ends_all_with_its_log(tmp_path: Path) -> None:
    async def work(stack: OneChild) -> int:
        os.kill(stack.pids["part"].pid, signal.SIGKILL)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return 0

    code, said, _ = await _run(tmp_path, work)
    assert code == 1
    assert any(text.startswith("part: ended with -9") for text in said)


async def test_the_death_of_a_shop_instance_is_told_and_the_work_goes_on(tmp_path: Path) -> None:
    told = asyncio.Event()
    said: list[str] = []
    stack = OneChild(tmp_path)

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("shop: ended"):
            told.set()

    async def work(_: Stack) -> int:
        os.kill(stack.pids["shop"].pid, signal.SIGKILL)
        await told.wait()
        return 0

    assert await running.run(cast("Stack", stack), work, say) == 0


async def test_the_environment_file_is_for_its_owner_and_a_shell_reads_it(tmp_path: Path) -> None:
    async def work(_: OneChild) -> int:
        return 0

    await _run(tmp_path, work)
    path = tmp_path / "env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shown = f'. {path}; printf %s "$AVIARY_WEBHOOK_TOKEN$ROUTER"'
    shell = await asyncio.create_subprocess_exec("sh", "-c", shown, stdout=asyncio.subprocess.PIPE)
    output, _ = await shell.communicate()
    assert output == b"it's secrethttp://127.0.0.1:10000"


def test_a_run_has_a_folder_of_its_own_and_never_one_with_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "BASE", tmp_path / "base")
    now = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    assert new_folder(None, now=now) == tmp_path / f"base/20261121-093000-{os.getpid()}"
    assert new_folder(tmp_path / "new") == tmp_path / "new"
    (tmp_path / "file").touch()
    for wanted in (tmp_path, tmp_path / "file"):
        with pytest.raises(FolderError, match="expected a folder that is new or empty"):
            new_folder(wanted)


@pytest.mark.parametrize(
    ("ends", "played", "code"),
    [
        ([True, True], ["one", "two"], 0),
        ([True, False], ["one", "two"], 1),
        ([False, True], ["one"], 1),
        ([None, True], ["one"], 1),
    ],
)
async def test_the_demo_is_good_only_if_each_scenario_is_and_stops_at_the_first_that_is_not(
    ends: list[bool | None], played: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def scenario(title: str, good: bool | None) -> Callable[..., Awaitable[ScenarioResult]]:
        async def run(*_: object) -> ScenarioResult:
            begun.append(title)
            if good is None:
                raise TimeoutError
            made = ScenarioResult(title)
            made.check("as it must", ok=good)
            return made

        return run

    class NoStack:
        addresses = {"temporal_ui": "http://127.0.0.1:1"}  # noqa: RUF012 - a constant

        async def temporal(self) -> None:
            return None

    scenarios = {
        title: scenario(title, good) for title, good in zip(("one", "two"), ends, strict=True)
    }
    monkeypatch.setattr(demo, "ReleaseViewer", lambda *_: None)
    stack = cast("Stack", NoStack())
    assert await demo.run_demo(stack, keep=False, scenarios=scenarios) == code
    assert begun == played


def test_a_scenario_without_a_check_has_not_ended_as_it_must() -> None:
    assert not ScenarioResult("empty").good


@pytest.mark.parametrize("name", ["part", "shop"])
async def test_a_part_that_dies_comes_back_where_it_is_to_keep_going(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(running, "BACK_AFTER_S", 0.05)

    async def work(stack: OneChild) -> int:
        for _ in range(2):
            dead = stack.supervisor.children[name].pid
            os.kill(dead, signal.SIGKILL)
            children = stack.supervisor.children
            while getattr(children.get(name), "pid", dead) == dead:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)
        return 7

    code, said, _ = await _run(tmp_path, work, keep_going=True)
    assert code == 7
    assert said.count(f"{name}: comes back in 0.05 s") == 2


def test_a_folder_with_a_stack_that_ran_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "env").touch()
    with pytest.raises(FolderError, match=r"ran there.*remove the folder, or name another one"):
        new_folder(tmp_path)


async def test_a_folder_with_a_stack_that_runs_says_how_to_use_and_end_it(tmp_path: Path) -> None:
    async with OneChild(tmp_path):
        with pytest.raises(FolderError, match=rf"local down --folder {tmp_path}` ends it") as told:
            new_folder(tmp_path)
    assert f". {tmp_path}/env" in str(told.value)
