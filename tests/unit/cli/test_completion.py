"""What a shell completes, and that it stays silent where nothing answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.unit.cli.conftest import ROOT, aviary

SHELLS = pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])


@SHELLS
def test_each_shell_has_a_script(shell: str) -> None:
    done = aviary("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_AVIARY_COMPLETE" in done.stdout
    assert "aviary" in done.stdout


def complete(words: str, address: str = "127.0.0.1:1") -> subprocess.CompletedProcess[str]:
    """What bash is told for a line whose last word is being typed."""
    env = os.environ | {
        "_AVIARY_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "AVIARY_TEMPORAL_ADDRESS": address,
    }
    return subprocess.run(
        [sys.executable, "-m", "aviary"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )


def test_commands_and_values_are_completed() -> None:
    assert "explain" in complete("aviary release ex").stdout.split()
    assert complete("aviary release list --state rol").stdout.split() == [
        "rolling_back",
        "rolled_back",
    ]
    assert "--wait" in complete("aviary release watch --w").stdout.split()
    assert complete("aviary release watch --wait 2").stdout.split() == ["2m"]


def test_where_temporal_is_away_nothing_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = complete("aviary release status sh", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (found.stdout.strip(), found.stderr) == ("", "")
