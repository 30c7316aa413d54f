"""What comes from outside is text, in every command: never markup, and nothing of it acts."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group
from typer.main import get_command

from aviary.cli import build_app
from aviary.cli import builds as builds_command
from aviary.cli import report as report_command
from aviary.cli.border import as_json, new_console, show
from aviary.cli.changes import Changes
from aviary.cli.explain import Explanation
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.tree import Look, Tree
from aviary.hook_answers import Given
from aviary.releases import remote
from aviary.releases.remote import Found
from aviary.releases.reverting import Looked
from aviary.releases.sight import Sight
from aviary.settings import Settings
from schemas.event_kinds import MomentKind
from schemas.hooks import AskedHook, HookMoment
from schemas.live import Live
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.release import CanaryStatus, Cause, ReleaseStatus, ServiceStatus
from schemas.reverting import RevertPreview, WayBack
from schemas.timeline import Moment, ServiceTimeline, Timeline
from schemas.verdict import VerdictKind
from tests.hostile import AT, TEXTS, every, harmless
from tests.unit.cli.conftest import ROOT, Run

_OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[1A|\x1b\[2K|\r")
"""What rich itself writes to a terminal: styles, and the moves of a live view."""
hostile = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
_WORST = ("markup", "terminal", "lines", "direction")
worst = pytest.mark.parametrize("text", [TEXTS[one] for one in _WORST], ids=_WORST)
"""Enough where what is printed is the same, only elsewhere."""


def status_of(text: str, phase: ReleasePhase) -> ReleaseStatus:
    """Every kind of service at once."""
    services = tuple(every(ServiceStatus, text, phase=one, step=0) for one in CanaryPhase)
    return every(ReleaseStatus, text, phase=phase, services=services)


def canary_of(text: str) -> CanaryStatus:
    other = every(Cause, text, text=f"{text} too")
    waits = {"id": "msg_0", "moment": HookMoment.BEFORE_CANARY, "answer": None, "over": ""}
    hooks = (every(AskedHook, text, **waits),)
    place = {"phase": CanaryPhase.BAKING, "step": 0, "picks": ("1", "2")}
    return every(CanaryStatus, text, cause=other, hooks=hooks, **place)


def look_of(text: str, phase: ReleasePhase) -> Look:
    live = every(Live, text, bake_min=1.0, bake_max=2.0, requests=10)
    sights = {text: Sight(live=live, trouble=text)}
    return Look(status_of(text, phase), {text: canary_of(text)}, sights)


def timeline_of(text: str) -> Timeline:
    moments = tuple(
        every(Moment, text, kind=kind, at=AT, cause=every(Cause, text, text=f"{text} {kind}"))
        for kind in MomentKind
    )
    service = every(ServiceTimeline, text, phase=CanaryPhase.BAKING)
    return every(Timeline, text, execution="running", moments=moments, services={text: service})


class Outside:
    """Temporal, as told by somebody who means no good."""

    text = ""
    fails = False

    def __init__(self) -> None:
        self.client = None

    @classmethod
    async def connect(cls, settings: Settings) -> Outside:
        return cls()

    async def start(self, *_: Any) -> bool:
        return True

    async def status(self, _: str) -> ReleaseStatus:
        if self.fails:
            raise CommandError(ExitCode.FAILURE, self.text)
        return status_of(self.text, ReleasePhase.ROLLED_BACK)

    async def canaries(self, _: ReleaseStatus) -> Mapping[str, CanaryStatus]:
        return {self.text: canary_of(self.text)}

    async def sights(self, _: ReleaseStatus) -> Mapping[str, Sight]:
        return {}

    async def timeline(self, _: str) -> Timeline:
        return timeline_of(self.text)

    async def find(self, *_: Any) -> list[Found]:
        running = [status_of(self.text, phase) for phase in ReleasePhase]
        ended = Found(self.text, self.text, AT, None)
        return [ended, *(every(Found, self.text, status=one) for one in running)]

    async def way_back(self, _: str) -> Looked:
        way = every(WayBack, self.text)
        seen = every(RevertPreview, self.text, obstacles=(), stages=((way,),))
        return every(Looked, self.text, preview=seen, ended=None, start=None)

    async def take_back(self, *_: Any) -> bool:
        return True

    async def answer(self, *_: Any) -> Given:
        return Given(self.text)

    async def command(self, *_: Any) -> str:
        if self.fails:
            raise CommandError(ExitCode.FAILURE, f"refused: {self.text}")
        return self.text


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> type[Outside]:
    class Told(Outside):
        pass

    async def told(*_: object) -> Timeline:
        return timeline_of(Told.text)

    async def builds(*_: object) -> list[builds_command.Row]:
        if Told.fails:
            raise CommandError(ExitCode.FAILURE, Told.text)
        return [builds_command.Row(Told.text, Told.text, 100, 1, 1)]

    monkeypatch.setattr(remote, "Releases", Told)
    monkeypatch.setattr(builds_command, "rows", builds)
    monkeypatch.setattr(report_command, "_timeline", told)
    return Told


ASKING = {
    "release list": ("release", "list"),
    "release status": ("release", "status", "r"),
    "release watch": ("release", "watch", "r"),
    "release explain": ("release", "explain", "r"),
    "release pause": ("release", "pause", "r"),
    "release resume": ("release", "resume", "r"),
    "release approve": ("release", "approve", "r"),
    "release skip": ("release", "skip", "r"),
    "release rollback": ("release", "rollback", "r"),
    "release keep": ("release", "keep", "r"),
    "release pick": ("release", "pick", "r", "2"),
    "release revert": ("release", "revert", "r", "--yes"),
    "release answer": ("release", "answer", "r", "yes"),
    "report": ("report", "r"),
    "builds list": ("builds", "list"),
}
"""Commands that print what Temporal says."""
OWN_INPUT = {
    "audit verify",
    "replay",
    "dora",
    "plan",
    "validate",
    "import",
    "schema",
    "routers",
    "envoys serve",
    "envoys bootstrap",
    "version",
    "builds id",
    "pools put",
    "pools drop",
    "pools list",
    "judge",
    "ramp",
    "release start",
    "notices check",
    "notices test",
    "completion",
    "worker",
    "bridge",
    "webhook",
    "serve",
    "sentinel",
    "exporter",
    "token new",
    "deploy",  # what its server says: tests/unit/pipeline
    "watch kubernetes",
    "local up",
    "local down",
    "local install",
    "local demo",
}
"""Commands that print what they are given as files and options, or nothing of anybody's."""


def commands(group: Any, path: str = "") -> list[str]:
    if not hasattr(group, "commands"):
        return [path]
    return [
        found
        for name, one in group.commands.items()
        if not one.hidden
        for found in commands(one, f"{path} {name}".strip())
    ]


def test_every_command_is_tried_here_or_prints_nothing_from_outside() -> None:
    assert set(commands(get_command(build_app()))) == ASKING.keys() | OWN_INPUT


@worst
@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
@pytest.mark.parametrize("name", ASKING)
def test_text_from_outside_is_shown_and_does_nothing(
    run: Run,
    outside: type[Outside],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    *,
    terminal: bool,
) -> None:
    outside.text = text
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "80")
    result = run(*ASKING[name])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code in {0, ExitCode.ROLLED_BACK}
    wrapped = terminal or name in {"release explain", "report"}
    harmless(_OWN.sub("", result.output) if terminal else result.output, wrapped=wrapped)


@worst
@pytest.mark.parametrize("name", [name for name in ASKING if name != "report"])
def test_as_json_nothing_acts_and_nothing_is_lost(
    run: Run, outside: type[Outside], name: str, text: str
) -> None:
    outside.text = text
    result = run(*ASKING[name], "--format", "json")
    assert result.exit_code in {0, ExitCode.ROLLED_BACK}
    assert text in strings(json.loads(harmless(result.stdout)))


@worst
@pytest.mark.parametrize("name", ["release status", "release watch", "release rollback"])
def test_an_error_from_outside_is_text(
    run: Run, outside: type[Outside], name: str, text: str
) -> None:
    outside.text, outside.fails = text, True
    result = run(*ASKING[name])
    assert result.exit_code == ExitCode.FAILURE
    assert result.stderr.strip(), "it is told"
    harmless(result.output)


def strings(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(strings, value.values()))
    if isinstance(value, list):
        return set().union(*map(strings, value))
    return {value} if isinstance(value, str) else set()


@hostile
@pytest.mark.parametrize(
    "width", [40, *(pytest.param(width, marks=pytest.mark.acceptance) for width in (80, 160))]
)
def test_a_tree_stays_within_its_width(text: str, width: int) -> None:
    for phase in ReleasePhase:
        lines = Tree(width).lines(look_of(text, phase), datetime(2026, 2, 1, tzinfo=AT.tzinfo))
        assert max(line.cell_len for line in lines) <= width
        assert not [line for line in lines if "\n" in harmless(line.plain, wrapped=True)]


@hostile
def test_a_timeline_and_changes_are_lines_of_text(text: str) -> None:
    lines = [line.plain for line in Explanation(80).lines(timeline_of(text))]
    lines += Changes().of(look_of(text, ReleasePhase.RUNNING))
    assert not [line for line in lines if "\n" in harmless(line, wrapped=True)]


def test_markup_is_shown_as_it_was_written(run: Run, outside: type[Outside]) -> None:
    outside.text = "[/red] disk [i]full[/i] :bomb:"
    for name in ("release status", "release list"):
        assert outside.text in run(*ASKING[name]).output


@hostile
def test_what_is_not_laid_out_with_care_does_nothing_all_the_same(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console = new_console()
    with console.capture() as captured:
        console.print(text)
    show(text)
    for shown in (captured.get(), capsys.readouterr().out):
        assert not {one for one in shown if one in "\x1b\x9b\x07\u202e\u2028"}


@pytest.mark.parametrize("text", [*TEXTS.values(), "\ud800", "é ü 漢字 🚀", "\u2028\U000e0001"])
def test_json_keeps_every_character(text: str) -> None:
    assert json.loads(as_json({text: [text]})) == {text: [text]}
    assert json.loads(as_json([text], indent=2)) == [text]


def test_verdicts_are_one_of_three(run: Run, outside: type[Outside]) -> None:
    """The walk of the models makes what the commands can show."""
    outside.text = "plain"
    assert VerdictKind.PASS in run(*ASKING["release explain"]).output


@pytest.mark.parametrize("folder", ["aviary/cli", "aviary/local"])
def test_nothing_is_printed_beside_the_border(folder: str) -> None:
    for path in sorted((ROOT / folder).glob("*.py")):
        if path.name != "border.py":
            assert not list(_printing(path)), f"{path}: prints without aviary.cli.border"


def _printing(path: Path) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [ast.unparse(call.func) for call in calls]
    return [one for one in named if one in {"print", "Console", "typer.echo", "click.echo"}]


def test_rich_s_own_console_shows_a_timeline_as_text() -> None:
    """Lines that are laid out are safe wherever they are printed."""
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        console.print(Group(*Explanation(80).lines(timeline_of("[/red] \x1b[2J"))))
    assert "[/red]" in captured.get()
    assert "\x1b[2J" not in captured.get()
