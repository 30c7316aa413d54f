"""Every folder says in its first lines what belongs there and what does not; no import goes up."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.groups import ROOT

SHIPPED = ("activities", "adapters", "analysis", "aviary", "schemas", "workflows")
_FIRST = 12
"""Lines."""


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(name) for name in listed.stdout.splitlines()]


def _folders() -> list[str]:
    """The top folders, the groups of tests, and every package that is shipped."""
    files = _tracked()
    found = {file.parts[0] for file in files if len(file.parts) > 1}
    found |= {f"tests/{file.parts[1]}" for file in files if file.match("tests/*/__init__.py")}
    found |= {
        str(file.parent)
        for file in files
        if file.name == "__init__.py" and file.parts[0] in SHIPPED
    }
    return sorted(name for name in found if not name.startswith("."))


def _first_lines(folder: Path) -> str:
    code = folder / "__init__.py"
    if code.exists():
        return ast.get_docstring(ast.parse(code.read_text())) or ""
    for name in ("README.md", "index.md"):
        if (folder / name).exists():
            return "\n".join((folder / name).read_text().splitlines()[:_FIRST])
    return ""


@pytest.mark.parametrize("name", _folders())
def test_a_folder_says_what_belongs_there_and_what_does_not(name: str) -> None:
    said = " ".join(_first_lines(Path(ROOT, name)).split()).lower()
    assert "belong" in said, f"{name}: its first lines don't say what belongs there"
    assert re.search(r"\b(not|nothing|no)\b", said), f"{name}: nor what does not"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules that are shipped, to be broken."""
    folder = tmp_path_factory.mktemp("copy")
    for file in _tracked():
        if file.parts[0] in SHIPPED and file.suffix == ".py":
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(Path(ROOT, file).read_text())
    (folder / "pyproject.toml").write_text(Path(ROOT, "pyproject.toml").read_text())
    return folder


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_no_import_goes_up_or_in_a_circle(copy: Path) -> None:
    done = _lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        ("Layers", "schemas/ids.py", "import adapters.errors"),
        ("No circle among the modules", "schemas/ids.py", "import schemas.release"),
        ("No circle among the modules", "aviary/local/ports.py", "import aviary.cli.tables"),
        ("What is shipped knows no test", "aviary/queues.py", "import tests.groups"),
        ("Only aviary.kinds knows", "aviary/queues.py", "import adapters.routers.envoy.router"),
    ],
)
def test_an_import_that_is_not_allowed_is_found(
    copy: Path, contract: str, module: str, line: str
) -> None:
    path = copy / module
    before = path.read_text()
    path.write_text(f"{before}\n{line}\n")
    try:
        done = _lint(copy)
    finally:
        path.write_text(before)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [one for one in done.stdout.splitlines() if " BROKEN" in one]
    assert any(one.startswith(contract) for one in broken), done.stdout
