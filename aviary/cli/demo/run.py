"""The demo: releases on the embedded stack, and a summary from the real parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from rich.text import Text

from adapters.errors import AdapterError
from aviary.cli.border import PlainConsole
from aviary.cli.demo.scenarios import SCENARIOS, Scenario, ScenarioResult
from aviary.cli.demo.viewer import ReleaseViewer
from aviary.cli.failing import CommandError
from aviary.local.process import ChildFailedError
from aviary.local.stack import Stack
from schemas.outside import one_line

_ENDS: Final = {True: "ended as it must", False: "DID NOT END AS IT MUST"}


async def run_demo(
    stack: Stack, *, keep: bool, scenarios: Mapping[str, Scenario] = SCENARIOS
) -> int:
    """Run the scenarios on a started stack, print the summary, and say 0 if all ended as they must.

    Args:
        stack: started.
        keep: stay up afterwards, until stopped from outside.
        scenarios: by title.
    """
    console = PlainConsole(soft_wrap=True)
    began = time.monotonic()
    console.print(f"\nTemporal's UI, to watch along: {stack.addresses['temporal_ui']}")
    viewer = ReleaseViewer(stack, await stack.temporal())
    results: list[ScenarioResult] = []
    for title, one in scenarios.items():
        console.print(Text(f"\n{title}", style="bold"))
        results.append(await _run(stack, viewer, title, one))
        _show_checks(console, results[-1])
        if not results[-1].good:  # the next one would begin on ruins, and prove nothing
            break
    _summary(console, results, time.monotonic() - began)
    if keep:
        _say_kept(console, stack)
        with suppress(asyncio.CancelledError):  # being stopped is how this ends
            await asyncio.Event().wait()
    return 0 if all(result.good for result in results) else 1


async def _run(stack: Stack, viewer: ReleaseViewer, title: str, one: Scenario) -> ScenarioResult:
    try:
        return await one(stack, viewer)
    except (TimeoutError, CommandError, ChildFailedError, AdapterError, OSError) as error:
        result = ScenarioResult(title)
        why = getattr(error, "text", "") or str(error) or type(error).__name__
        result.check(f"it could run to its end: {why}", ok=False)
        return result


def _show_checks(console: PlainConsole, result: ScenarioResult) -> None:
    for text, ok in result.checks:
        console.print(
            Text(f"  {'✓' if ok else '✗'} {one_line(text)}", style="green" if ok else "bold red")
        )


def _summary(console: PlainConsole, results: Sequence[ScenarioResult], seconds: float) -> None:
    console.print(Text(f"\nSummary ({seconds:.0f} s)", style="bold"))
    for result in results:
        style = "green" if result.good else "bold red"
        console.print(Text(f"{result.title}: {_ENDS[result.good]}", style=style))
        width = max((len(name) for name in result.facts), default=0)
        for name, value in result.facts.items():
            console.print(f"  {name:<{width}}  {one_line(value)}")


def _say_kept(console: PlainConsole, stack: Stack) -> None:
    console.print("\nStays up until Ctrl-C:")
    for name, address in stack.addresses.items():
        console.print(f"  {name:<16}  {address}")
