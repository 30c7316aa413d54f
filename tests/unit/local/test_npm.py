"""Programs of npm packages: fetched once, and what is said where they can not be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from aviary.local import npm
from aviary.local.unleash.server import PINS

_NPM = """#!/bin/sh
[ -n "$FAILS" ] && echo "no such version" && exit 1
echo "$@" >> "$CALLS"
mkdir node_modules
"""


def _program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What npm was told; it and Node.js are stand-ins."""
    programs = tmp_path / "bin"
    programs.mkdir()
    _program(programs, "npm", _NPM)
    _program(programs, "node", "#!/bin/sh\necho v20.1.0\n")
    found = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("AVIARY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLS", str(found))
    return found


def test_what_is_pinned_is_fetched_once_and_runs_no_script(calls: Path) -> None:
    root = npm.installed("unleash", PINS)
    assert npm.installed("unleash", PINS) == root
    (said,) = calls.read_text().splitlines()
    assert said.startswith("ci ")
    assert "--ignore-scripts" in said
    assert (root / "node_modules").is_dir()
    assert (root / "package-lock.json").read_bytes() == (PINS / "package-lock.json").read_bytes()


def test_what_failed_is_not_taken_for_there(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(npm.NpmError, match="npm ci: ended with 1:\nno such version"):
        npm.installed("unleash", PINS)
    monkeypatch.delenv("FAILS")
    assert (npm.installed("unleash", PINS) / "node_modules").is_dir()
    assert len(calls.read_text().splitlines()) == 1


@pytest.mark.parametrize("version", ["v18.20.0", "", "twenty", "vX"])
def test_an_old_node_is_refused_in_words(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    _program(tmp_path / "bin", "node", f"#!/bin/sh\necho {version}\n")
    with pytest.raises(npm.NpmError, match="expected 20 or newer"):
        npm.installed("unleash", PINS)
    assert not calls.exists()


def test_without_node_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(npm.NpmError, match="node and npm: not found"):
        npm.node()
