"""The programs of `docs/upstream` are whole: who is sent a report can run them as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPORTS = sorted((Path(__file__).parents[2] / "docs/upstream").glob("*-*.md"))
_PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.stem)
def test_a_report_has_one_program_that_lacks_nothing(report: Path) -> None:
    [program] = _PROGRAM.findall(report.read_text())
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F", "-"]
    checked = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "main()" in program or "def test_" in program
