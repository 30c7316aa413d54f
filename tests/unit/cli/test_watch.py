import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from aviary.cli.failing import CommandError, ExitCode, UnansweredError
from aviary.cli.watch import follow
from aviary.releases.sight import Sight
from schemas.release import (
    CanaryPhase,
    CanaryStatus,
    Cause,
    CauseKind,
    ReleasePhase,
    ReleaseStatus,
    ServiceStatus,
)
from tests.unit.cli import looks
from tests.unit.cli.looks import live

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
    """Answers with one state after the other, and stays at the last; raises what is none."""

    def __init__(self, *states: ReleaseStatus | CommandError) -> None:
        self._states = list(states)
        self.looks = 0
        self.now = START
        self.seen: list[Sight] = []

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    async def status(self, release: str) -> ReleaseStatus:
        self.looks += 1
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, CommandError):
            raise state
        return state

    async def canaries(self, status: ReleaseStatus) -> dict[str, CanaryStatus]:
        return {}

    async def sights(self, status: ReleaseStatus) -> dict[str, Sight]:
        return {"shop": self.seen.pop(0)} if self.seen else {}


AWAY = UnansweredError(ExitCode.FAILURE, "release r1: UNAVAILABLE: connection refused")
ABSENT = CommandError(ExitCode.NOT_FOUND, "release r1: there is no such release")


def new_script() -> Script:
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
    script = new_script()
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
    await follow(new_script(), "r1", 0, as_json=True)
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
    ended = await follow(new_script(), "r1", 0)
    assert ended.phase.closed
    shown = capsys.readouterr().out
    assert "rolled_back" in shown
    assert "Too slow" in shown


async def test_a_silence_is_told_once_and_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    running = release(ReleasePhase.RUNNING, CanaryPhase.BAKING, 5)
    done = release(ReleasePhase.FINALIZED, CanaryPhase.FINALIZED, 100)
    script = Script(running, AWAY, AWAY, AWAY, running, AWAY, done)
    ended = await follow(script, "r1", 0, clock=script.clock)
    assert ended.phase is ReleasePhase.FINALIZED
    away = "no answer, still asking: release r1: UNAVAILABLE: connection refused"
    assert capsys.readouterr().out.splitlines() == [
        "shop 2.0: baking at 5%",
        "release r1 is running",
        away,
        "answers again",
        away,
        "answers again",
        "shop 2.0: finalized at 100%",
        "release r1 is finalized",
    ]


async def test_a_silence_that_is_too_long_ends_the_watch() -> None:
    script = Script(release(ReleasePhase.RUNNING, CanaryPhase.BAKING, 5), AWAY)
    with pytest.raises(UnansweredError):
        await follow(script, "r1", 0, clock=script.clock, patience=timedelta(seconds=5))
    assert script.looks == 7


async def test_a_release_that_is_not_there_is_told_at_once() -> None:
    script = Script(ABSENT, release(ReleasePhase.FINALIZED, CanaryPhase.FINALIZED, 100))
    with pytest.raises(CommandError) as told:
        await follow(script, "r1", 0, clock=script.clock)
    assert told.value.code is ExitCode.NOT_FOUND
    assert script.looks == 1


async def test_a_release_that_is_still_to_come_is_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = release(ReleasePhase.FINALIZED, CanaryPhase.FINALIZED, 100)
    script = Script(ABSENT, ABSENT, AWAY, ABSENT, done)
    ended = await follow(script, "r1", 0, clock=script.clock, wait=timedelta(seconds=5))
    assert ended.phase is ReleasePhase.FINALIZED
    absent = "not there yet, still asking: release r1: there is no such release"
    away = "no answer, still asking: release r1: UNAVAILABLE: connection refused"
    assert capsys.readouterr().out.splitlines() == [
        absent,
        away,
        absent,
        "shop 2.0: finalized at 100%",
        "release r1 is finalized",
    ]


async def test_a_release_that_does_not_come_ends_the_watch() -> None:
    script = Script(ABSENT)
    with pytest.raises(CommandError) as told:
        await follow(script, "r1", 0, clock=script.clock, wait=timedelta(seconds=5))
    assert told.value.code is ExitCode.NOT_FOUND
    assert script.looks == 6


async def test_a_release_that_is_gone_is_not_waited_for() -> None:
    script = Script(release(ReleasePhase.RUNNING, CanaryPhase.BAKING, 5), ABSENT)
    with pytest.raises(CommandError, match="no such release"):
        await follow(script, "r1", 0, clock=script.clock, wait=timedelta(hours=1))
    assert script.looks == 2


async def test_on_a_terminal_one_still_to_come_is_told_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    done = release(ReleasePhase.FINALIZED, CanaryPhase.FINALIZED, 100)
    script = Script(ABSENT, ABSENT, done)
    await follow(script, "r1", 0, clock=script.clock, wait=timedelta(seconds=5))
    shown = capsys.readouterr().out
    assert "Not there yet for 1 s: release r1: there is no such release." in shown
    assert "What is shown was so then" not in shown


async def test_on_a_terminal_a_silence_is_told_above_what_was_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    done = release(ReleasePhase.FINALIZED, CanaryPhase.FINALIZED, 100)
    script = Script(release(ReleasePhase.RUNNING, CanaryPhase.BAKING, 5), AWAY, AWAY, done)
    await follow(script, "r1", 0, clock=script.clock)
    shown = capsys.readouterr().out
    assert "No answer for 1 s: release r1: UNAVAILABLE" in shown
    assert shown.rindex("finalized") > shown.rindex("No answer")


async def test_a_log_tells_each_quarter_of_the_way_to_fail_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    running = release(ReleasePhase.RUNNING, CanaryPhase.BAKING, 5)
    done = release(ReleasePhase.FINALIZED, CanaryPhase.FINALIZED, 100)
    script = Script(*[running] * 6, done)
    near = (0.1, 0.3, 0.2, 0.45, 0.8)
    script.seen = [Sight(live(to_fail=one)) for one in near] + [Sight(live(1.0))]
    await follow(script, "r1", 0)
    told = [line for line in capsys.readouterr().out.splitlines() if "FAIL" in line]
    assert [line.partition(" at 25%")[0] for line in told] == [
        "shop: 25 % of the way to FAIL",
        "shop: 75 % of the way to FAIL",
        "shop: 100 % of the way to FAIL",
    ]


async def test_a_log_tells_a_trouble_once_however_often_it_is_tried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    running = release(ReleasePhase.RUNNING, CanaryPhase.STUCK, 5)
    done = release(ReleasePhase.ROLLED_BACK, CanaryPhase.ROLLED_BACK, 0)
    script = Script(*[running] * 3, done)
    script.seen = [
        Sight(trouble=f"writing the route, attempt {attempt}: refused") for attempt in (2, 3, 4)
    ]
    await follow(script, "r1", 0)
    told = [line for line in capsys.readouterr().out.splitlines() if "writing" in line]
    assert told == ["shop: writing the route fails, and is tried again: refused"]


async def test_without_a_terminal_nothing_moves_the_cursor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = new_script()
    script.seen = [Sight(live(to_fail=0.9))]
    await follow(script, "r1", 0)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("how", ["option", "environment"])
async def test_without_colour_the_tree_has_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    if how == "environment":
        monkeypatch.setenv("NO_COLOR", "1")
    script = new_script()
    script.seen = [Sight(live(to_fail=0.9))]
    await follow(script, "r1", 0, no_color=how == "option")
    shown = capsys.readouterr().out
    assert "\x1b[2K" in shown, "the tree is drawn in place"
    colours = re.findall(r"\x1b\[([\d;]*)m", shown)
    assert colours, "bold and dim are no colours"
    assert not [code for code in colours for one in code.split(";") if one.startswith("3")]


async def test_as_json_the_evidence_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    script = new_script()
    script.seen = [Sight(live(to_fail=0.5))]
    await follow(script, "r1", 0, as_json=True)
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["live"]["shop"]["to_fail"] == 0.5


async def test_a_log_tells_a_verdict_and_a_cause_once(capsys: pytest.CaptureFixture[str]) -> None:
    back = looks.release(
        looks.CHECKOUT, phase=ReleasePhase.ROLLING_BACK, cause=looks.stuck().status.cause
    )
    going = looks.service("checkout", CanaryPhase.ROLLING_BACK, cause=back.cause)
    back = back.model_copy(update={"services": (going,)})
    done = back.model_copy(update={"phase": ReleasePhase.ROLLED_BACK})
    paused = looks.CHECKOUT.model_copy(update={"phase": CanaryPhase.PAUSED})
    baking = looks.release(looks.CHECKOUT)
    script = Script(baking, baking.model_copy(update={"services": (paused,)}), back, done)
    await follow(script, "shop-42", 0)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("checkout 1.4.2: PASS: ")]) == 1
    assert "checkout 1.4.2: rolling_back at 0%" in lines
    assert len([line for line in lines if "odds against chance" in line]) == 2, "the release's own"
