"""`aviary release watch`: a live tree on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import typer
from rich.console import Console, Group
from rich.live import Live as LiveView
from rich.text import Text

from aviary.cli.bars import folded, glyphs_for
from aviary.cli.changes import Changes
from aviary.cli.failing import UnansweredError
from aviary.cli.sight import Sight
from aviary.cli.tables import status_as_data
from aviary.cli.tree import Look, Tree
from schemas.release import CanaryStatus, ReleaseStatus

PATIENCE: Final = timedelta(minutes=10)
"""How long nobody may answer before a watch gives up."""

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

    def away(self, why: str, since: timedelta) -> None:
        """Nobody has answered for so long."""
        ...


async def follow(  # noqa: PLR0913 - what a watch is told
    source: Source,
    release: str,
    interval: float,
    *,
    as_json: bool = False,
    no_color: bool = False,
    patience: timedelta = PATIENCE,
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
        clock: now.

    Returns:
        The last state.

    Raises:
        CommandError: there is no such release, or nobody answers for too long.
    """
    page = _page(as_json=as_json, no_color=no_color)
    silent_since: datetime | None = None
    with page.opened():
        while True:
            now = clock()
            try:
                look = await _look(source, release)
            except UnansweredError as error:
                silent_since = silent_since or now
                page.away(error.text, now - silent_since)
                if now - silent_since >= patience:
                    raise
            else:
                silent_since = None
                page.show(look, now)
                if look.status.phase.closed:
                    return look.status
            await asyncio.sleep(interval)


async def _look(source: Source, release: str) -> Look:
    status = await source.status(release)
    if status.phase.closed:
        return Look(status)
    canaries, sights = await asyncio.gather(source.canaries(status), source.sights(status))
    return Look(status, canaries, sights)


def _page(*, as_json: bool, no_color: bool) -> Page:
    console = Console(highlight=False, no_color=True if no_color else None)
    if as_json:
        return _Objects()
    return _Screen(console) if console.is_terminal else _Log()


class _Screen:
    """A terminal: the tree is drawn anew in its place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._view = LiveView(console=console, auto_refresh=False, vertical_overflow="crop")
        self._lines: list[Text] = [Text("…")]

    def opened(self) -> AbstractContextManager[Any]:
        return self._view

    def show(self, look: Look, now: datetime) -> None:
        tree = Tree(self._console.width, glyphs_for(self._console.encoding))
        # What stays on the screen at the end may scroll: nothing of it is left out.
        height = None if look.status.phase.closed else self._console.height - 1
        if height is None:
            self._view.vertical_overflow = "visible"
        self._lines = tree.lines(look, now, height)
        self._draw(self._lines)

    def away(self, why: str, since: timedelta) -> None:
        text = f"No answer for {since.total_seconds():.0f} s: {why}. What is shown was so then."
        room = self._console.width
        told = [Text(line, style="yellow") for line in folded(text, room, 3)]
        self._draw([*told, *self._lines])

    def _draw(self, lines: list[Text]) -> None:
        self._view.update(Group(*lines), refresh=True)


class _Log:
    """No terminal: a line for each change."""

    def __init__(self) -> None:
        self._changes = Changes()
        self._silent = False

    def opened(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def show(self, look: Look, now: datetime) -> None:
        del now
        if self._silent:
            typer.echo("answers again")
            self._silent = False
        for line in self._changes.of(look):
            typer.echo(line)

    def away(self, why: str, since: timedelta) -> None:
        del since
        if not self._silent:
            typer.echo(f"no answer, still asking: {why}")
            self._silent = True


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
        text = json.dumps(data, ensure_ascii=False)
        if text != self._last:
            typer.echo(text)
            self._last = text

    def away(self, why: str, since: timedelta) -> None:
        del since
        typer.echo(f"no answer, still asking: {why}", err=True)
