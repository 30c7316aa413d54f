"""The command line as tests use it: in process, and as a process of its own."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer import testing
from typer.main import get_command
from typer.testing import CliRunner, Result

from aviary.cli import build_app

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., Result]

CATALOG = """\
version: 1
defaults: {router: {kind: memory}, metrics: []}
services:
  ledger:
  cart: {depends_on: [ledger]}
  shop: {depends_on: [cart]}
"""
EVENT = json.dumps(
    {
        "release": "r1",
        "services": [{"service": name, "version": "2.0"} for name in ("shop", "ledger")],
    }
)

_APP = functools.cache(build_app)
_COMMAND_OF = functools.cache(get_command)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, without any settings from outside."""
    monkeypatch.setenv("COLUMNS", "200")
    # It makes all commands anew for each run, which takes longer than most of them.
    monkeypatch.setattr(testing, "_get_command", _COMMAND_OF)
    app = _APP()

    def invoke(*args: str | Path, text: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(arg) for arg in args], input=text)

    return invoke


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG)
    return path


@pytest.fixture
def event(tmp_path: Path) -> Path:
    path = tmp_path / "event.json"
    path.write_text(EVENT)
    return path


def aviary(
    *args: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m aviary …` and wait for its end."""
    command = [sys.executable, "-m", "aviary", *map(str, args)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env=env
    )
