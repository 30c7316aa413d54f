"""The long-running commands: stopped by signals, ended by errors, with the documented codes."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from adapters.errors import Retryable
from aviary.cli.failing import ExitCode
from aviary.cli.processes import run_parts, told_and_coded
from aviary.settings import Settings, SettingsError
from tests.unit.cli.conftest import ROOT, aviary

_READY = """
import sys, asyncio
from aviary.cli import processes
from aviary.settings import Settings

async def part(settings, stop):
    print("ready", flush=True)
    await stop.wait()
    print("stopped")

processes.run_process([part, part], Settings(log_format="json"))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_parts_and_ends_with_0(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _READY, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(2):
        assert await process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    rest, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert rest == b"stopped\nstopped\n"


async def test_the_end_of_one_part_stops_the_others() -> None:
    stopped: list[str] = []

    async def short(_settings: Any, _stop: asyncio.Event) -> None:
        raise Retryable("Kafka: gone")

    async def long(_settings: Any, stop: asyncio.Event) -> None:
        await stop.wait()
        stopped.append("long")

    with pytest.raises(Retryable, match="Kafka: gone"):
        async with asyncio.timeout(30):
            await run_parts([long, short], Settings())
    assert stopped == ["long"]


async def test_signal_handlers_are_taken_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def part(_settings: Any, stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()

    async with asyncio.timeout(30):
        await run_parts([part], Settings())
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("AVIARY_X: wrong"), ExitCode.BAD_INPUT),
        (Retryable("Temporal: gone"), ExitCode.FAILURE),
        (OSError("port in use"), ExitCode.FAILURE),
        (RuntimeError("a bug"), ExitCode.FAILURE),
    ],
)
def test_errors_become_exit_codes(
    error: Exception, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told_and_coded(error) is code
    assert str(error) in capsys.readouterr().err


@pytest.mark.parametrize("command", ["bridge", "webhook"])
def test_a_wrong_catalog_or_setting_is_exit_code_2(command: str) -> None:
    done = aviary(command, "--catalog", "/nonexistent/catalog.yaml")
    assert done.returncode == 2
    assert "/nonexistent/catalog.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def left(code: int, output: IO[bytes] | int) -> tuple[int, bytes]:
    """How a process leaves that has printed something, and its stderr."""
    script = f"from aviary.leaving import leave; print('said'); leave({code})"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=output,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


def test_who_leaves_has_said_everything(tmp_path: Path) -> None:
    path = tmp_path / "said"
    with path.open("wb") as file:
        assert left(3, file) == (3, b"")
    assert path.read_text() == "said\n"


@pytest.mark.parametrize(("meant", "code"), [(0, 1), (3, 3)])
def test_output_that_can_not_be_written_is_no_success(meant: int, code: int) -> None:
    with Path("/dev/full").open("wb") as full:
        assert left(meant, full) == (code, b"aviary: <stdout>: No space left on device\n")


def test_a_reader_that_has_gone_is_no_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert left(0, writer) == (0, b"")
    finally:
        os.close(writer)


_HANGS = """
import sys, asyncio, time
from aviary.cli import processes
from aviary.settings import Settings

async def polite(settings, stop):
    print("ready", flush=True)
    await stop.wait()

async def hanging(settings, stop):
    await stop.wait()
    {hang}

processes.LEAVES_WITHIN_S = 1.0
processes.run_process([polite, hanging], Settings(log_format="json"))
"""


@pytest.mark.parametrize(
    "hang",
    [
        "await asyncio.sleep(600)",
        "time.sleep(600)",
        "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    ],
)
async def test_who_can_not_end_is_ended_and_shows_where_it_was(hang: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", _HANGS.format(hang=hang)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.terminate()
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"most recent call first" in said
