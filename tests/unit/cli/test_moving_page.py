"""The page about moving over, followed to the letter."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from aviary.moving.rows import Became
from schemas.catalog_file import parse_catalog
from tests.groups import ROOT
from tests.unit.cli.conftest import Run

PAGE = (ROOT / "docs/how-to/moving-over.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_page_do_what_it_says(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest, catalog = _blocks("yaml")
    Path("rollout.yaml").write_text(manifest)
    Path("event.json").write_text(_blocks("json")[0])
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines]
    assert [command[1] for command in commands] == ["import", "validate", "plan"]
    results = [run(*command[1:]) for command in commands]
    assert [result.exit_code for result in results] == [2, 0, 0]
    written = Path("catalog.yaml").read_text()
    bare = [line for line in written.splitlines() if not line.strip().startswith("#")]
    assert "\n".join(bare) + "\n" == catalog
    refused = _blocks("text")[0].split()
    assert " ".join(refused) in [" ".join(line.split()) for line in results[0].stderr.splitlines()]
    assert "moving-over-checkout" in results[2].stdout


def test_the_page_says_what_each_kind_of_row_means() -> None:
    for became in Became:
        assert f"| `{became.value}` |" in PAGE


def test_its_catalog_is_one() -> None:
    assert parse_catalog(_blocks("yaml")[1]).services.keys() == {"checkout"}


def test_its_shell_is_shell() -> None:
    for block in _blocks("bash"):
        subprocess.run(["bash", "-n", "-c", block], check=True)
