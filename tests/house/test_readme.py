"""README and docs: the examples work, the links lead somewhere, the commands are there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from aviary.cli import build_app
from aviary.settings import OTHER_VARIABLES, Settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_catalog_and_event_of_the_readme_make_a_plan(tmp_path: Path) -> None:
    (catalog,) = blocks(README, "yaml")
    (event,) = blocks(README, "json")
    assert len(catalog.splitlines()) <= 10
    assert len(event.splitlines()) <= 10
    (tmp_path / "catalog.yaml").write_text(catalog)
    (tmp_path / "event.json").write_text(event)
    (command,) = [block.split() for block in blocks(README, "sh") if "aviary plan" in block]
    assert command[0] == "python"
    done = subprocess.run(
        [sys.executable, *command[1:], "--format", "json"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["release"] == "shop-42"
    assert plan["stages"] == [["ledger"], ["checkout"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [match.group(1) for match in LINK.finditer(page.read_text())]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_make_target_that_the_pages_name_is_there() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    targets = set(re.findall(r"make (\w+)", listed))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:`|^)make (\w+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test"} <= named
    assert named <= targets


def test_pages_name_settings_that_there_are() -> None:
    known = {f"AVIARY_{field.upper()}" for field in Settings.model_fields} | OTHER_VARIABLES
    operations = (ROOT / "docs/operations.md").read_text()
    named = set(re.findall(r"\bAVIARY_[A-Z_]+\b", operations))
    assert named - known == set()
    assert known - named == set(), "docs/operations.md lists every setting"


def test_pages_name_the_defaults_there_are() -> None:
    table = (ROOT / "docs/operations.md").read_text()
    rows = re.findall(r"^\| (`AVIARY_[^|]+) \| (?:`([^`]*)` )?\|", table, re.MULTILINE)
    told = {
        name.lower(): default
        for names, default in rows
        for name in re.findall(r"`AVIARY_([A-Z_]+)`", names)
    }
    assert told == {
        name: "" if field.default is None else _shown(field.default)
        for name, field in Settings.model_fields.items()
    }


def _shown(default: object) -> str:
    if isinstance(default, float):
        return f"{default:g}"
    return str(default).lower() if isinstance(default, bool) else str(default)


def commands(page: Path) -> list[list[str]]:
    """Every command of Aviary's that a page shows, without the program's name."""
    text = page.read_text().replace("\\\n", " ")
    shown = re.findall(r"python -m aviary ([^\n`#&|]+)|^aviary ([^\n`#&|]+)", text, re.MULTILINE)
    return [shlex.split(module or launcher) for module, launcher in shown]


def known(words: list[str]) -> str | None:
    """What of a command the command line does not know; None when it knows all of it."""
    command: Any = typer.main.get_command(build_app())
    while words and hasattr(command, "commands"):
        word, *words = words
        if word not in command.commands:
            return word
        command = command.commands[word]
    options = {name for parameter in command.params for name in parameter.opts}
    unknown = [word for word in words if word.startswith("--") and word not in options]
    return unknown[0] if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_are_there(page: Path) -> None:
    unknown = {shlex.join(words): known(words) for words in commands(page)}
    assert {line: word for line, word in unknown.items() if word is not None} == {}


def test_commands_are_looked_for() -> None:
    assert known(["release", "strat"]) == "strat"
    assert known(["plan", "--catalogue", "c.yaml"]) == "--catalogue"
    assert ["version"] in commands(ROOT / "docs/operations.md")
