"""`aviary release …` against a real Temporal server, with a stand-in for the workflows."""

import asyncio
import contextlib
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from typer.testing import Result

from aviary.cli import completion
from aviary.local.parts import DEVELOPMENT_SERVER, run_time_settings
from schemas import ids
from tests.contract.cli.stand_in import BrokenRelease, StandInCanary, StandInRelease
from tests.unit.cli.conftest import ROOT, Run

SERVER = Path(sys.executable).parent / "temporal"


@dataclass
class Console:
    """Runs commands against the server, off the event loop."""

    client: Client
    queue: str
    run: Run
    catalog: Path
    started: list[str] = field(default_factory=list)
    canaries: list[str] = field(default_factory=list)

    async def __call__(self, *args: str | Path) -> Result:
        address = self.client.service_client.config.target_host
        return await asyncio.to_thread(self.run, "release", *args, "--address", address)

    async def start(self, release: str, *more: str) -> Result:
        self.started.append(release)
        services = ("-s", "shop=2.0", "-s", "ledger=2.1")
        return await self("start", release, *services, "-c", self.catalog, *more)

    @contextlib.asynccontextmanager
    async def working(self, release: type = StandInRelease) -> AsyncIterator[None]:
        worker = Worker(
            self.client,
            task_queue=self.queue,
            workflows=[release, StandInCanary],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        async with worker:
            yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[str]:
    env = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(SERVER),
        data_converter=pydantic_data_converter,
        dev_server_extra_args=run_time_settings(DEVELOPMENT_SERVER),
    )
    async with env:
        yield env.client.service_client.config.target_host


@pytest.fixture
async def console(
    server: str, run: Run, catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Console]:
    queue = f"q-{uuid4()}"
    monkeypatch.setenv("AVIARY_TASK_QUEUE", queue)
    client = await Client.connect(server, data_converter=pydantic_data_converter)
    found = Console(client, queue, run, catalog)
    yield found
    # What still runs would make the next test's list wait for answers that never come.
    for workflow in (*map(ids.release_workflow_id, found.started), *found.canaries):
        with contextlib.suppress(RPCError):  # it has ended
            await client.get_workflow_handle(workflow).terminate()


def new_id() -> str:
    return f"r-{uuid4()}"


def rename(event: Path) -> str:
    """Give the event a release id that no other test has."""
    release = new_id()
    event.write_text(event.read_text().replace("r1", release))
    return release


async def eventually(look: Callable[[], Awaitable[bool]]) -> None:
    """Lists lag behind starts: look again until it is so; the test's time-out is the limit."""
    async with asyncio.timeout(30):
        while not await look():  # noqa: ASYNC110 - the server tells nobody when a list is current
            await asyncio.sleep(0.05)


async def test_start_is_once_per_release_id(console: Console) -> None:
    release = new_id()
    first = await console.start(release, "--label", "team=shop", "--format", "json")
    assert (first.exit_code, json.loads(first.stdout)) == (
        0,
        {"release": release, "started": True},
    )
    again = await console.start(release, "--label", "team=shop")
    assert again.exit_code == 0
    assert again.stdout == f"release {release}: known already, nothing started\n"
    handle = console.client.get_workflow_handle(ids.release_workflow_id(release))
    described = await handle.describe()
    assert described.workflow_type == ids.RELEASE_WORKFLOW
    assert described.task_queue == console.queue
    await handle.terminate()
    ended = await console.start(release, "--label", "team=shop", "--format", "json")
    assert json.loads(ended.stdout)["started"] is False
    other = await console.start(release, "--label", "team=another")
    assert other.exit_code == 2
    assert release in other.stderr


async def test_start_from_an_event(console: Console, event: Path) -> None:
    release = rename(event)
    console.started.append(release)
    result = await console("start", "-e", event, "-c", console.catalog)
    assert result.stdout == f"release {release}: started\n"


async def test_status_shows_the_release_and_its_running_canaries(console: Console) -> None:
    release = new_id()
    async with console.working():
        await console.start(release)
        console.canaries = [ids.canary_workflow_id(name) for name in ("shop", "ledger")]
        for service, owner in (("shop", release), ("ledger", "another-release")):
            await console.client.start_workflow(
                ids.CANARY_WORKFLOW,
                args=[service, owner],
                id=ids.canary_workflow_id(service),
                task_queue=console.queue,
            )
        found = json.loads((await console("status", release, "--format", "json")).stdout)
        assert (found["release"], found["phase"]) == (release, "running")
        assert {s["service"]: s["version"] for s in found["services"]} == {
            "shop": "2.0",
            "ledger": "2.1",
        }
        assert set(found["canaries"]) == {"shop"}
        table = (await console("status", release)).stdout
        assert table.startswith(f"release {release} is running\n")
        assert re.search(r"shop +2\.0 +gated +25% +2/4 +waits for approval of ann", table)
        assert re.search(r"ledger +2\.1 +baking +5% +1/4", table)


async def test_commands_are_answered_or_refused_with_the_reason(console: Console) -> None:
    release = new_id()
    async with console.working():
        await console.start(release)
        said = await console(
            "pause", release, "--by", "ann", "--reason", "lunch", "--service", "shop"
        )
        assert said.stdout == f"release {release}: paused by ann for lunch at shop\n"
        again = await console("pause", release)
        assert again.exit_code == 1
        assert again.stderr == f"release {release}: refused: it is paused already\n"
        done = await console("approve", release, "--format", "json")
        assert json.loads(done.stdout) == {
            "release": release,
            "command": "approve",
            "answer": "approved",
        }
        ended = await console("pause", release)
        assert ended.exit_code == 1
        assert ended.stderr == f"release {release}: has ended (finalized)\n"
    assert '"finalized"' in (await console("status", release, "--format", "json")).stdout


async def test_by_default_the_login_name_says_it(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "bob")
    release = new_id()
    async with console.working():
        await console.start(release)
        assert "paused by bob" in (await console("pause", release)).stdout


async def test_a_rollback_without_a_worker_waits_in_temporal(console: Console) -> None:
    release = new_id()
    await console.start(release)
    accepted = await console("rollback", release, "--by", "ann", "--timeout", "0.5")
    assert accepted.exit_code == 0
    assert "Temporal keeps the rollback" in accepted.stdout
    async with console.working():
        result = await console("watch", release, "--interval", "0.05")
    assert result.exit_code == 3
    assert f"release {release} is rolled_back: ann said so" in result.stdout


async def test_a_rollback_waits_in_temporal_while_the_workflow_is_broken(console: Console) -> None:
    release = new_id()
    await console.start(release)
    async with console.working(BrokenRelease):
        accepted = await console("rollback", release, "--timeout", "5")
    assert (accepted.exit_code, accepted.stderr) == (0, "")
    assert "Temporal keeps the rollback" in accepted.stdout
    handle = console.client.get_workflow_handle(ids.release_workflow_id(release))

    async def recorded() -> bool:
        events = (await handle.fetch_history()).events
        names = [event.workflow_execution_signaled_event_attributes.signal_name for event in events]
        return ids.SIGNAL_ROLLBACK in names

    # Temporal writes a signal into the history once the task that runs has ended.
    await eventually(recorded)


async def test_a_command_that_nobody_answers_is_exit_code_1(console: Console) -> None:
    release = new_id()
    await console.start(release)
    for command in (("pause", "--timeout", "0.5"), ("status",)):
        result = await console(command[0], release, *command[1:])
        assert result.exit_code == 1
        assert "no worker has answered" in result.stderr


@pytest.mark.parametrize("command", ["status", "watch", "explain", "pause", "rollback"])
async def test_no_such_release_is_exit_code_4(console: Console, command: str) -> None:
    result = await console(command, "nowhere")
    assert result.exit_code == 4
    assert result.stderr == "release nowhere: there is no such release in namespace default\n"


async def test_a_watch_waits_for_a_release_that_is_still_to_come(console: Console) -> None:
    nowhere = await console("watch", "nowhere", "--interval", "0.05", "--wait", "100ms")
    assert nowhere.exit_code == 4
    assert nowhere.stdout == (
        "not there yet, still asking: release nowhere: there is no such release in namespace "
        "default\n"
    )
    wrong = await console("watch", "nowhere", "--wait", "soon")
    assert wrong.exit_code == 2
    assert "--wait: got 'soon': expected a duration such as 90s" in wrong.stderr


async def test_no_such_namespace_is_exit_code_1(console: Console) -> None:
    result = await console("status", "nowhere", "--namespace", "nope")
    assert result.exit_code == 1
    assert "nope" in result.stderr


async def test_list_filters_by_state_newest_first(console: Console) -> None:
    names = [new_id() for _ in range(3)]

    async def listed(*options: str) -> dict[str, str]:
        result = await console("list", "--format", "json", *options)
        assert result.exit_code == 0
        rows = json.loads(result.stdout)
        return {row["release"]: row["state"] for row in rows if row["release"] in names}

    async with console.working():
        for name in names:
            await console.start(name)
        await console("approve", names[0])
        await console("rollback", names[1])

        async def all_closed() -> bool:
            return (await listed()) == {
                names[2]: "running",
                names[1]: "rolled_back",
                names[0]: "finalized",
            }

        await eventually(all_closed)
        assert list(await listed()) == names[::-1]
        assert await listed("--state", "finalized") == {names[0]: "finalized"}
        assert await listed("--state", "rolled_back") == {names[1]: "rolled_back"}
        assert await listed("--state", "running") == {names[2]: "running"}
        assert (
            len(json.loads((await console("list", "--limit", "1", "--format", "json")).stdout)) == 1
        )
        table = (await console("list")).stdout
        assert re.search(f"{names[1]} +rolled_back .*ledger=2.1 shop=2.0 +ann said so", table)


async def test_a_terminated_release_is_told_as_such(console: Console) -> None:
    release = new_id()
    async with console.working():
        await console.start(release)
        await console.client.get_workflow_handle(ids.release_workflow_id(release)).terminate()
        result = await console("watch", release)
    assert result.exit_code == 1
    assert result.stderr == (
        f"release {release}: it was terminated without a result; "
        f"`aviary release explain {release}` tells how far it came\n"
    )


async def test_a_timeline_is_told_without_a_worker(console: Console) -> None:
    release = new_id()
    await console.start(release, "--label", "team=shop")
    told = await console("explain", release)
    assert told.exit_code == 0
    assert told.stdout.startswith(f"Release {release} is queued\n")
    assert "team=shop" in told.stdout
    timeline = json.loads((await console("explain", release, "--format", "json")).stdout)
    assert (timeline["execution"], timeline["moments"][0]["kind"]) == ("running", "started")


async def test_filters_are_checked_before_anything_is_asked(console: Console) -> None:
    for option, value in (("--since", "soon"), ("--environment", "x'y"), ("--service", "No")):
        result = await console("list", option, value)
        assert result.exit_code == 2, option
    unknown = await console("list", "--environment", "prod")
    assert unknown.exit_code == 1
    assert "does not have Aviary's search attributes" in unknown.stderr


async def test_ctrl_c_leaves_the_release_and_says_so(console: Console) -> None:
    release = new_id()
    async with console.working():
        await console.start(release)
        watch = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aviary", "release", "watch", release),
            *("--address", console.client.service_client.config.target_host),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert watch.stdout is not None
        await watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, stderr = await watch.communicate()
    assert watch.returncode == 130
    again = f"`aviary release watch {release}` follows it again"
    assert stderr.decode() == f"release {release} goes on; {again}\n"


async def test_release_ids_are_completed_from_temporal(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = new_id()
    await console.start(release)
    monkeypatch.setenv("AVIARY_TEMPORAL_ADDRESS", console.client.service_client.config.target_host)
    monkeypatch.setattr(completion, "_WITHIN_S", 30.0)

    async def completed() -> bool:
        return await asyncio.to_thread(completion.running, release[:12]) == [release]

    await eventually(completed)
    handle = console.client.get_workflow_handle(ids.release_workflow_id(release))
    await handle.terminate()

    async def ended() -> bool:
        return await asyncio.to_thread(completion.running, release[:12]) == []

    await eventually(ended)
    assert await asyncio.to_thread(completion.known, release[:12]) == [release]
    assert await asyncio.to_thread(completion.known, "r-' OR '") == []
