"""`aviary release watch`: a live tree on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from rich.console import Group
from rich.live import Live as LiveView
from rich.text import Text

from aviary.cli.bars import folded, glyphs_for
from aviary.cli.border import PlainConsole, as_json, say
from aviary.cli.changes import Changes
from aviary.cli.failing import CommandError, ExitCode, UnansweredError
from aviary.cli.tables import status_as_data
from aviary.cli.tree import Look, Tree
from aviary.releases.sight import Sight
from schemas.release import CanaryStatus, ReleaseStatus

PATIENCE: Final = timedelta(minutes=10)
"""How long nobody may answer before a watch gives up."""

_SILENT: Final = "no answer"

Clock = Callable[[], datetime]


class Source(Protocol):
    """Where a watch gets its states from."""

    async def status(self, release: str) -> ReleaseStatus:
        """Where the release is."""
        ...

    async def canaries(self, status: ReleaseStatus) -> dict[str, CanaryStatus]:
        """Its running canaries."""
        ...

    async def sights(self, status: ReleaseStatus) -> dict[str, Sight]:
        """What Temporal itself knows of its running canaries."""
        ...


class Page(Protocol):
    """Where a watch shows what it sees."""

    def opened(self) -> AbstractContextManager[Any]:
        """Held while the watch goes on."""
        ...

    def show(self, look: Look, now: datetime) -> None:
        """Show what is known now."""
        ...

    def away(self, why: CommandError, since: timedelta) -> None:
        """Nobody has answered, or the release has not been there, for so long."""
        ...


async def follow(  # noqa: PLR0913 - what a watch is told
    source: Source,
    release: str,
    interval: float,
    *,
    as_json: bool = False,
    no_color: bool = False,
    patience: timedelta = PATIENCE,
    wait: timedelta = timedelta(0),
    clock: Clock = lambda: datetime.now(UTC),
) -> ReleaseStatus:
    """Show a release until it ends; a Temporal or worker that is away is waited for.

    Args:
        source: asked every `interval` seconds.
        release: the release id.
        interval: seconds between two looks.
        as_json: one JSON object a line, for each change.
        no_color: plain text on a terminal, too.
        patience: how long nobody may answer.
        wait: how long, from the first look on, the release may not be there yet.
        clock: now.

    Returns:
        The last state.

    Raises:
        CommandError: there is no such release, or nobody answers for too long.
    """
    page = _page(json=as_json, no_color=no_color)
    gaps = _Gaps(patience, wait)
    with page.opened():
        while True:
            status = await _shown(source, release, page, gaps, clock())
            if status is not None and status.phase.closed:
                return status
            await asyncio.sleep(interval)


async def _shown(
    source: Source, release: str, page: Page, gaps: _Gaps, now: datetime
) -> ReleaseStatus | None:
    """Look once, and show what there is; None if there is nothing to see now."""
    try:
        look = await _look(source, release)
    except CommandError as error:
        page.away(error, gaps.still(error, now))
        return None
    gaps.over()
    page.show(look, now)
    return look.status


class _Gaps:
    """For how long nothing has been seen, and whether that is too long."""

    def __init__(self, patience: timedelta, wait: timedelta) -> None:
        self._patience = patience
        self._wait = wait
        self._begun: datetime | None = None
        self._silent_since: datetime | None = None

    def over(self) -> None:
        """It is seen; one that is gone after that does not come back."""
        self._silent_since, self._wait = None, timedelta(0)

    def still(self, error: CommandError, now: datetime) -> timedelta:
        """For how long it has been so.

        Raises:
            CommandError: the one given: it is not worth another look.
        """
        self._begun = self._begun or now
        if isinstance(error, UnansweredError):
            self._silent_since = self._silent_since or now
            since, most = self._silent_since, self._patience
        elif error.code is ExitCode.NOT_FOUND:
            self._silent_since = None
            since, most = self._begun, self._wait
        else:
            raise error
        if now - since >= most:
            raise error
        return now - since


async def _look(source: Source, release: str) -> Look:
    status = await source.status(release)
    if status.phase.closed:
        return Look(status)
    canaries, sights = await asyncio.gather(source.canaries(status), source.sights(status))
    return Look(status, canaries, sights)


def _page(*, json: bool, no_color: bool) -> Page:
    console = PlainConsole(no_color=no_color)
    if json:
        return _Objects()
    return _Screen(console) if console.is_terminal else _Log()


def _gap(why: CommandError) -> str:
    return _SILENT if isinstance(why, UnansweredError) else "not there yet"


class _Screen:
    """A terminal: the tree is drawn anew in its place."""

    def __init__(self, console: PlainConsole) -> None:
        self._console = console
        self._view = LiveView(console=console, auto_refresh=False, vertical_overflow="crop")
        self._lines: list[Text] = [Text("…")]
        self._seen = False

    def opened(self) -> AbstractContextManager[Any]:
        return self._view

    def show(self, look: Look, now: datetime) -> None:
        tree = Tree(self._console.width, glyphs_for(self._console.encoding))
        # What stays on the screen at the end may scroll: nothing of it is left out.
        height = None if look.status.phase.closed else self._console.height - 1
        if height is None:
            self._view.vertical_overflow = "visible"
        self._lines = tree.lines(look, now, height)
        self._seen = True
        self._draw(self._lines)

    def away(self, why: CommandError, since: timedelta) -> None:
        what, seconds = _gap(why).capitalize(), since.total_seconds()
        text = f"{what} for {seconds:.0f} s: {why}."
        if self._seen:
            text += " What is shown was so then."
        room = self._console.width
        told = [Text(line, style="yellow") for line in folded(text, room, 3)]
        self._draw([*told, *self._lines])

    def _draw(self, lines: list[Text]) -> None:
        self._view.update(Group(*lines), refresh=True)


class _Log:
    """No terminal: a line for each change."""

    def __init__(self) -> None:
        self._changes = Changes()
        self._gap = ""

    def opened(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def show(self, look: Look, now: datetime) -> None:
        del now
        if self._gap == _SILENT:
            say("answers again")
        self._gap = ""
        for line in self._changes.of(look):
            say(line)

    def away(self, why: CommandError, since: timedelta) -> None:
        del since
        if self._gap != _gap(why):
            self._gap = _gap(why)
            say(f"{self._gap}, still asking: {why}")


class _Objects:
    """JSON: an object for each change."""

    def __init__(self) -> None:
        self._last = ""

    def opened(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def show(self, look: Look, now: datetime) -> None:
        del now
        data = status_as_data(look.status, look.canaries)
        lives = {name: one.live for name, one in look.sights.items() if one.live is not None}
        data["live"] = {name: one.model_dump(mode="json") for name, one in lives.items()}
        text = as_json(data)
        if text != self._last:
            say(text)
            self._last = text

    def away(self, why: CommandError, since: timedelta) -> None:
        del since
        say(f"{_gap(why)}, still asking: {why}", err=True)
