"""`aviary report` in process, with the timeline of a release from nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from aviary.cli import report as module
from aviary.cli.failing import CommandError, ExitCode
from aviary.settings import Settings
from schemas.timeline import Timeline
from tests.unit.cli.conftest import Run
from tests.unit.report.sample import SHOP, timeline_of


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def told(_: Settings, release: str) -> Timeline:
        if release == "none":
            raise CommandError(ExitCode.NOT_FOUND, "release none: there is no such release")
        return timeline_of(SHOP)

    monkeypatch.setattr(module, "_timeline", told)


def test_it_writes_the_file_in_place_of_an_earlier_one(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    result = run("report", "R-2026.03.04", "-o", target)
    assert (result.exit_code, result.stdout) == (0, "")
    assert target.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("more", [(), ("-o", "-")])
def test_stdout_has_the_page_and_nothing_else(run: Run, more: tuple[str, ...]) -> None:
    result = run("report", "R-2026.03.04", *more)
    assert result.exit_code == 0
    assert result.stdout.startswith("<!doctype html>")
    assert result.stdout.endswith("</html>\n")


def test_a_file_that_can_not_be_written_is_bad_input(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("report", "r", "-o", tmp_path / "file" / "report.html")
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "--output: got" in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_such_release_leaves_no_file(run: Run, tmp_path: Path) -> None:
    result = run("report", "none", "-o", tmp_path / "report.html")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert list(tmp_path.iterdir()) == []


def test_a_release_id_is_checked(run: Run) -> None:
    result = run("report", "no such id")
    assert (result.exit_code, result.stdout) == (ExitCode.BAD_INPUT, "")
    assert "got 'no such id'" in " ".join(result.stderr.split())
