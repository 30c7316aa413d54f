"""Runs the command of a hook, and reads its end: 0 is yes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic_core import from_json

from adapters.errors import Terminal
from adapters.hooks.needed import needed
from adapters.ports import RunCommand
from schemas.deployment import OneOffEnd
from schemas.hooks import OUTPUT_MOST, HookAnswer, HookData, HookEvent, Said
from schemas.outside import cut, one_line

_LINE_MOST: Final = 200
_REASON_MOST: Final = 400
"""Characters of the last lines that stand in the reason."""


class RunHook:
    """One command.

    Args:
        command: program and arguments, with names of the event in braces.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    async def call(self, event: HookEvent, run: RunCommand | None = None) -> HookAnswer:
        """Run the command, or find its run, and wait for its end (see the port)."""
        if run is None:
            raise Terminal(f"{event.subject}: no deployer puts its versions up, to run a command")
        values = _values(event.data)
        return _read(await run(event.id, [word.format_map(values) for word in self._command]))

    async def aclose(self) -> None:
        """Nothing is held."""


def _values(data: HookData) -> dict[str, str]:
    return {
        "service": data.service,
        "version": data.version,
        "stable": data.stable or "",
        "release": data.release,
        "environment": data.environment,
        "hook": data.hook,
        "moment": data.moment.value,
        "step": "" if data.step is None else str(data.step),
        "weight": f"{data.weight:g}",
    }


def _read(end: OneOffEnd) -> HookAnswer:
    """The exit code and the last lines, as an answer."""
    lines = [line for one in end.lines if (line := cut(one_line(one), _LINE_MOST))]
    lines = lines[-OUTPUT_MOST:]
    reason = " | ".join(_last(lines))
    kept = {"exit_code": end.exit_code, "output": tuple(lines)}
    if end.exit_code == 0:
        return HookAnswer(said=Said.YES, reason=reason, **_needed(lines), **kept)
    text = f"exit code {end.exit_code}" + (f": {reason}" if reason else "")
    return HookAnswer(said=Said.NO, reason=text, **kept)


def _needed(lines: Sequence[str]) -> dict[str, Any]:
    """What the last line says of what is needed, where it is a JSON object that does."""
    try:
        return needed(from_json(lines[-1])) if lines else {}
    except ValueError:
        return {}


def _last(lines: Iterable[str]) -> list[str]:
    """The newest of the lines, as many as a reason has room for."""
    found: list[str] = []
    left = _REASON_MOST
    for line in reversed(list(lines)):
        left -= len(line) + 3
        if left < 0:
            break
        found.append(line)
    return found[::-1]
