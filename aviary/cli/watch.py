"""`aviary release watch`: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import asyncio
import json
from typing import Final, Protocol

import typer
from rich.console import Console
from rich.live import Live

from aviary.cli.failing import UnansweredError
from aviary.cli.tables import headline, status_as_data, status_view, told
from schemas.release import CanaryStatus, ReleaseStatus

_PATIENCE: Final = 20
"""Unanswered questions in a row after which a watch gives up; each takes about three seconds."""


class Source(Protocol):
    """Where a watch gets its states from."""

    async def status(self, release: str) -> ReleaseStatus:
        """Where the release is."""
        ...

    async def canaries(self, status: ReleaseStatus) -> dict[str, CanaryStatus]:
        """Its running canaries."""
        ...


async def follow(
    source: Source, release: str, interval: float, *, as_json: bool = False
) -> ReleaseStatus:
    """Show a release until it ends.

    Args:
        source: asked every `interval` seconds.
        release: the release id.
        interval: seconds between two looks.
        as_json: one JSON object a line, for each change.

    Returns:
        The last state.

    Raises:
        CommandError: there is no such release, or nobody answers.
    """
    console = Console(highlight=False)
    if console.is_terminal and not as_json:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                status, canaries = await _look(source, release)
                live.update(status_view(status, canaries), refresh=True)
                if status.phase.closed:
                    return status
                await asyncio.sleep(interval)
    lines: dict[str, str] = {}
    while True:
        status, canaries = await _look(source, release)
        for line in _changes(lines, status, canaries, as_json=as_json):
            typer.echo(line)
        if status.phase.closed:
            return status
        await asyncio.sleep(interval)


async def _look(source: Source, release: str) -> tuple[ReleaseStatus, dict[str, CanaryStatus]]:
    """Ask again for a minute where nobody answers: a worker may be starting anew."""
    asked = 0
    while True:
        try:
            status = await source.status(release)
            break
        except UnansweredError:
            asked += 1
            if asked == _PATIENCE:
                raise
            await asyncio.sleep(1)
    return status, {} if status.phase.closed else await source.canaries(status)


def _changes(
    known: dict[str, str],
    status: ReleaseStatus,
    canaries: dict[str, CanaryStatus],
    *,
    as_json: bool,
) -> list[str]:
    """The lines that differ from what was printed before; remembers them in `known`."""
    if as_json:
        now = {"": json.dumps(status_as_data(status, canaries), ensure_ascii=False)}
    else:
        now = {
            service.service: _line(service.service, status, canaries) for service in status.services
        }
        now[""] = headline(status)
    changed = [line for key, line in now.items() if known.get(key) != line]
    known.update(now)
    return changed


def _line(name: str, status: ReleaseStatus, canaries: dict[str, CanaryStatus]) -> str:
    service = next(one for one in status.services if one.service == name)
    canary = canaries.get(name)
    phase, weight = (canary or service).phase, (canary or service).weight
    text = told(service, canary)
    line = f"{service.service} {service.version}: {phase.value} at {weight:g}%"
    return f"{line}; {text}" if text else line
