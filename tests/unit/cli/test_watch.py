import json
from datetime import UTC, datetime

import pytest

from aviary.cli.watch import follow
from schemas.release import (
    CanaryPhase,
    CanaryStatus,
    Cause,
    CauseKind,
    ReleasePhase,
    ReleaseStatus,
    ServiceStatus,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def release(phase: ReleasePhase, service: CanaryPhase, weight: float) -> ReleaseStatus:
    back = phase in {ReleasePhase.ROLLING_BACK, ReleasePhase.ROLLED_BACK}
    cause = Cause(kind=CauseKind.COMMAND, text="Too slow", at=START, by="ann") if back else None
    one = ServiceStatus(
        service="shop", version="2.0", depends_on=(), phase=service, weight=weight, steps=4
    )
    return ReleaseStatus(
        release="r1", phase=phase, paused=False, services=(one,), cause=cause, started_at=START
    )


class Script:
    """Answers with one state after the other, and stays at the last."""

    def __init__(self, *states: ReleaseStatus) -> None:
        self._states = list(states)
        self.looks = 0

    async def status(self, release: str) -> ReleaseStatus:
        self.looks += 1
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]

    async def canaries(self, status: ReleaseStatus) -> dict[str, CanaryStatus]:
        return {}


def story() -> Script:
    running = release(ReleasePhase.RUNNING, CanaryPhase.BAKING, 5)
    return Script(
        running,
        running,
        release(ReleasePhase.RUNNING, CanaryPhase.BAKING, 25),
        release(ReleasePhase.ROLLING_BACK, CanaryPhase.ROLLING_BACK, 0),
        release(ReleasePhase.ROLLED_BACK, CanaryPhase.ROLLED_BACK, 0),
    )


async def test_without_a_terminal_each_change_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = story()
    ended = await follow(script, "r1", 0)
    assert ended.phase is ReleasePhase.ROLLED_BACK
    assert script.looks == 5
    assert capsys.readouterr().out.splitlines() == [
        "shop 2.0: baking at 5%",
        "release r1 is running",
        "shop 2.0: baking at 25%",
        "shop 2.0: rolling_back at 0%",
        "release r1 is rolling_back: Too slow (by ann)",
        "shop 2.0: rolled_back at 0%",
        "release r1 is rolled_back: Too slow (by ann)",
    ]


async def test_as_json_each_change_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    await follow(story(), "r1", 0, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["phase"] for line in lines] == [
        "running",
        "running",
        "rolling_back",
        "rolled_back",
    ]


@pytest.mark.parametrize("columns", ["80", "160"])
async def test_on_a_terminal_the_last_view_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    ended = await follow(story(), "r1", 0)
    assert ended.phase.closed
    shown = capsys.readouterr().out
    assert "rolled_back" in shown
    assert "Too slow" in shown
