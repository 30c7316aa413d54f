"""README and docs: the examples work, the links lead somewhere, the commands are there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
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
    from aviary.settings import Settings  # noqa: PLC0415 - only this test needs it

    known = {f"AVIARY_{field.upper()}" for field in Settings.model_fields}
    # Read by the embedded stack before there are settings.
    known |= {"AVIARY_CACHE"}
    operations = (ROOT / "docs/operations.md").read_text()
    named = set(re.findall(r"\bAVIARY_[A-Z_]+\b", operations))
    assert named - known == set()
    assert known - named == set(), "docs/operations.md lists every setting"
