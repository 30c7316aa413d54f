"""No test outlives its limit, however it hangs: shown by tests that hang on purpose."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
from temporalio.bridge.proto.activity_task import Cancel
from temporalio.worker import _activity

ROOT = Path(__file__).parents[2]
HEAD = """
import asyncio, threading, time
import pytest, pytest_asyncio

def hang():
    while True:
        time.sleep(0.1)
"""
HANGS = {
    "a teardown after a failure": """
@pytest.fixture
def slow():
    yield
    hang()

def test_it(slow):
    assert False
""",
    "a teardown after a time-out": """
@pytest.fixture
def slow():
    yield
    hang()

def test_it(slow):
    hang()
""",
    "an async teardown after a failure": """
@pytest_asyncio.fixture
async def slow():
    yield
    await asyncio.Event().wait()

async def test_it(slow):
    assert False
""",
    "a session's teardown after a failure": """
@pytest.fixture(scope="session")
def slow():
    yield
    hang()

def test_it(slow):
    assert False
""",
    "a teardown that waits for a lock": """
@pytest.fixture
def slow():
    yield
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

def test_it(slow):
    assert False
""",
    "a callback in which the time-out is swallowed": """
async def test_it():
    def callback():
        asyncio.get_running_loop().call_soon(callback)
        time.sleep(0.5)
    callback()
    await asyncio.Event().wait()
""",
    "a test that swallows its time-out": """
def test_it():
    while True:
        try:
            hang()
        except BaseException:
            pass
""",
}


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """A run of its own, with this project's settings and short limits."""
    test = folder / "test_it.py"
    test.write_text(HEAD + code)
    command = [sys.executable, "-m", "pytest", "-p", "tests.limits", "-p", "no:cacheprovider"]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command += ["-o", "timeout=1", "-o", "faulthandler_timeout=3", str(test)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("hang", HANGS)
def test_a_hang_ends_the_run_and_shows_where_it_was(tmp_path: Path, hang: str) -> None:
    done = run(tmp_path, HANGS[hang])
    assert done.returncode != 0
    assert "most recent call first" in done.stderr or "Timeout" in done.stdout, done.stdout[-2000:]


def test_who_does_not_hang_is_left_alone(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_it():\n    pass\n")
    assert done.returncode == 0, done.stdout
    assert "most recent call first" not in done.stderr


def test_the_limits_end_the_run_and_the_second_is_the_longer_one() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["faulthandler_exit_on_timeout"] is True
    assert 0 < settings["timeout"] < settings["faulthandler_timeout"]


def test_a_cancel_that_comes_too_late_is_no_error_and_other_warnings_are() -> None:
    """The SDK warns inside of its poll loop, which an error there would end."""
    worker = _activity._ActivityWorker.__new__(_activity._ActivityWorker)
    worker._running_activities = {}
    worker._handle_cancel_activity_task(b"token", Cancel())
    with pytest.raises(UserWarning, match=re.escape("another")):
        warnings.warn("another", stacklevel=1)
