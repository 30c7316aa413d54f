"""The Makefile and the scripts behind it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.groups import Part

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^\.PHONY: (\w+)$", MAKEFILE, re.MULTILINE)
SCRIPTS = [ROOT / ".ci/run", *sorted((ROOT / "scripts").glob("*.sh"))]


def make(*arguments: str) -> str:
    """What make prints."""
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_lists_every_target_but_itself_first() -> None:
    assert {"venv", "demo", "test", "check", "bench", "clean"} <= set(TARGETS)
    listed = re.findall(r"^  make (\w+) +\S", make(), re.MULTILINE)
    assert sorted(listed) == sorted(TARGETS)


@pytest.mark.parametrize(
    ("keep", "stays"), [("", False), ("0", False), ("no", False), ("1", True), ("yes", True)]
)
def test_demo_stays_up_when_asked(keep: str, stays: bool) -> None:
    said = make("--dry-run", "demo", f"KEEP={keep}")
    assert "-m aviary local demo" in said
    assert ("--keep" in said) is stays


@pytest.mark.parametrize(
    ("shown", "option"),
    [
        ("nginx", "--router nginx"),
        ("docker", "--deployer docker"),
        ("kubernetes", "--deployer kubernetes"),
        ("flags", "--flags"),
        ("audiences", "--shows audiences"),
        ("mirror", "--shows mirror"),
        ("bluegreen", "--shows bluegreen"),
        ("lanes", "--shows lanes"),
    ],
)
def test_demo_is_behind_a_router_or_in_containers(shown: str, option: str) -> None:
    assert f"-m aviary local demo {option}" in make("--dry-run", "demo", f"DEMO={shown}")


def test_arguments_reach_the_tests() -> None:
    for part in Part:
        said = make("--dry-run", part, "PYTEST_ARGS=-k plan")
        assert f"-m tests --part {part} -k plan\n" in said


def test_continuous_integration_runs_every_part() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert f"for part in {' '.join(Part)}; do" in script
    assert "make check" in script


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run_and_stop_at_errors(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_an_old_python_is_refused_in_words(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "scripts/make-venv.sh"), str(tmp_path / "venv"), "requirements-dev.lock"],
        env={"PATH": os.environ["PATH"], "PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer, found: Python 3.8.1" in done.stderr
    assert not (tmp_path / "venv").exists()
