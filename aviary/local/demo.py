"""The demo: three releases on the embedded stack, and a summary from the real parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from rich.text import Text

from adapters.errors import AdapterError
from aviary.cli.border import PlainConsole
from aviary.cli.failing import CommandError
from aviary.local.acts import ACTS, Act, Play
from aviary.local.process import ChildFailedError
from aviary.local.stack import Stack
from aviary.local.theatre import Theatre
from schemas.outside import one_line

_ENDS: Final = {True: "ended as it must", False: "DID NOT END AS IT MUST"}


async def play(stack: Stack, *, keep: bool) -> int:
    """Play the acts on a started stack, print the summary, and say 0 if all ended as they must.

    Args:
        stack: started.
        keep: stay up afterwards, until stopped from outside.
    """
    console = PlainConsole(soft_wrap=True)
    began = time.monotonic()
    console.print(f"\nTemporal's UI, to watch along: {stack.addresses['temporal_ui']}")
    theatre = Theatre(stack, await stack.temporal())
    acts: list[Act] = []
    for title, one in ACTS.items():
        console.print(Text(f"\n{title}", style="bold"))
        acts.append(await _act(stack, theatre, title, one))
        _show_checks(console, acts[-1])
        if not acts[-1].good:  # the next one would begin on ruins, and prove nothing
            break
    _summary(console, acts, time.monotonic() - began)
    if keep:
        _say_kept(console, stack)
        with suppress(asyncio.CancelledError):  # being stopped is how this ends
            await asyncio.Event().wait()
    return 0 if all(act.good for act in acts) else 1


async def _act(stack: Stack, theatre: Theatre, title: str, one: Play) -> Act:
    try:
        return await one(stack, theatre)
    except (TimeoutError, CommandError, ChildFailedError, AdapterError, OSError) as error:
        act = Act(title)
        why = getattr(error, "text", "") or str(error) or type(error).__name__
        act.check(f"it could be played to its end: {why}", ok=False)
        return act


def _show_checks(console: PlainConsole, act: Act) -> None:
    for text, ok in act.checks:
        console.print(
            Text(f"  {'✓' if ok else '✗'} {one_line(text)}", style="green" if ok else "bold red")
        )


def _summary(console: PlainConsole, acts: Sequence[Act], seconds: float) -> None:
    console.print(Text(f"\nSummary ({seconds:.0f} s)", style="bold"))
    for act in acts:
        style = "green" if act.good else "bold red"
        console.print(Text(f"{act.title}: {_ENDS[act.good]}", style=style))
        width = max((len(name) for name in act.facts), default=0)
        for name, value in act.facts.items():
            console.print(f"  {name:<{width}}  {one_line(value)}")


def _say_kept(console: PlainConsole, stack: Stack) -> None:
    console.print("\nStays up until Ctrl-C:")
    for name, address in stack.addresses.items():
        console.print(f"  {name:<16}  {address}")
