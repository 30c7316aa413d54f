"""`kubectl aviary` is the same command, run by a real kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from aviary.local.kubernetes.clients import ClientTools
from tests.kubernetes.chart.rendering import ROOT


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with `kubectl-aviary`, as an installation makes it of its entry point."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["kubectl-aviary"].split(":")
    file = tmp_path / "kubectl-aviary"
    lines = (f"#!{sys.executable}", f"from {module} import {function}", f"{function}()")
    file.write_text("\n".join(lines))
    file.chmod(0o755)
    return tmp_path


def kubectl(clients: ClientTools, plugin: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{plugin}:{os.environ['PATH']}"
    env = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(plugin), "COLUMNS": "100"}
    command = [str(clients.kubectl), "aviary", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_it_is_the_same_command_and_says_how_it_is_called(
    clients: ClientTools, plugin: Path
) -> None:
    own = [sys.executable, "-m", "aviary", "version"]
    said = subprocess.run(own, capture_output=True, text=True, check=True, cwd=ROOT)
    assert kubectl(clients, plugin, "version").stdout == said.stdout
    assert "Usage: kubectl aviary" in kubectl(clients, plugin, "--help").stdout


def test_its_exit_code_is_the_commands(clients: ClientTools, plugin: Path) -> None:
    (plugin / "catalog.yaml").write_text("version: 0")
    done = kubectl(clients, plugin, "validate", str(plugin / "catalog.yaml"))
    assert done.returncode == 2
    assert "version" in done.stderr
