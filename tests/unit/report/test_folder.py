"""Reports as files, and the activity that has them written."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities.report import ReportActivities, WriteReport
from adapters.errors import Retryable
from aviary.report.folder import ReportFolder, write_whole
from schemas.timeline import Timeline
from tests.unit.report.sample import SHOP, at, timeline_of

REQUEST = WriteReport(release="R-2026.03.04")


async def _timeline(_: str) -> Timeline:
    return timeline_of(SHOP)


async def _gone(_: str) -> Timeline:
    raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")


async def _other(_: str) -> Timeline:
    return Timeline.model_validate({"of": "tomorrow"})


def _activity(folder: Path, of: object = _timeline) -> ReportActivities:
    return ReportActivities(ReportFolder(folder, of, lambda: at(200)))  # type: ignore[arg-type]


async def test_a_report_is_written_under_the_release_id_and_again(tmp_path: Path) -> None:
    activity = _activity(tmp_path / "reports")
    for _ in range(2):
        assert await ActivityEnvironment().run(activity.write, REQUEST)
    (file,) = (tmp_path / "reports").iterdir()
    assert file.name == "R-2026.03.04.html"
    assert file.read_text().startswith("<!doctype html>")
    assert file.stat().st_mode & 0o777 == 0o644


async def test_without_a_folder_nothing_is_written() -> None:
    assert not await ActivityEnvironment().run(ReportActivities(None).write, REQUEST)


async def test_a_folder_that_can_not_be_written_is_tried_again(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(Retryable, match="file"):
        await ActivityEnvironment().run(_activity(blocked).write, REQUEST)
    with pytest.raises(Retryable, match="away"):
        await ActivityEnvironment().run(_activity(tmp_path, _gone).write, REQUEST)


async def test_a_history_of_another_version_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        await _other("r")
    with pytest.raises(ApplicationError) as caught:
        await ActivityEnvironment().run(_activity(tmp_path, _other).write, REQUEST)
    assert caught.value.non_retryable


def test_a_write_that_fails_leaves_the_old_page_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "r.html"
    write_whole(target, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
