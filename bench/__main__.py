"""`python -m bench`: measure, print a table, write `.cache/bench.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from rich.console import Console

from aviary.local.parts import ROOT
from bench import (
    admitting,
    faults,
    flags,
    fleet,
    histories,
    ingestion,
    machine,
    many,
    plot,
    restoring,
    rollback_order,
    routers,
    shifting,
    starting,
)
from bench.figures import Figure, Spec
from bench.sites import SITES
from bench.tables import (
    BEGIN,
    END,
    SIDE_BEGIN,
    SIDE_END,
    insert,
    markdown,
    rich_table,
    side_by_side,
)

RESULT: Final = ROOT / ".cache/bench.json"


class _Measure(Protocol):
    def __call__(self, folder: Path, *, long: bool) -> Awaitable[list[Figure]]: ...


@dataclass(frozen=True)
class Suite:
    """Benchmarks that share their parts."""

    specs: Sequence[Spec]
    measure: _Measure


SUITES: Final[Mapping[str, Suite]] = {
    "restoring": Suite(restoring.SPECS, restoring.measure),
    "shifting": Suite(shifting.SPECS, shifting.measure),
    "routers": Suite(routers.SPECS, routers.measure),
    "flags": Suite(flags.SPECS, flags.measure),
    "fleet": Suite(fleet.SPECS, fleet.measure),
    "ingestion": Suite(ingestion.SPECS, ingestion.measure),
    "rollback-order": Suite(rollback_order.SPECS, rollback_order.measure),
    "histories": Suite(histories.SPECS, histories.measure),
    "starting": Suite(starting.SPECS, starting.measure),
    "admitting": Suite(admitting.SPECS, admitting.measure),
    "faults": Suite(faults.SPECS, faults.measure),
    "many": Suite(many.SPECS, many.measure),
}


def specs() -> list[Spec]:
    """Every figure, in the order of the table."""
    return [spec for suite in SUITES.values() for spec in suite.specs]


def complete(document: Mapping[str, Any]) -> dict[str, Any]:
    """A run with every figure of the suite, in order; those not measured have no numbers."""
    measured = {figure["name"]: figure for figure in document["figures"]}
    blank = dict.fromkeys(("median", "p99", "runs", "floor", "ratio"))
    figures = [
        measured.get(
            spec.name,
            {"name": spec.name, "unit": spec.unit, "goal": spec.goal.text, **blank}
            | {"missed": [], "parts": {}, "note": ""},
        )
        for spec in specs()
    ]
    return {**document, "figures": figures}


async def measure_all(
    names: Sequence[str], say: Callable[[str], None], *, long: bool
) -> AsyncIterator[dict[str, Any]]:
    """Measure these suites one after the other, and give the run so far after each."""
    figures: list[Figure] = []
    began, busy = time.monotonic(), machine.busy()
    with tempfile.TemporaryDirectory(prefix="aviary-bench-") as folder:
        for done, name in enumerate(names, 1):
            at = time.monotonic()
            figures += await SUITES[name].measure(Path(folder) / name, long=long)
            say(f"{name}: {time.monotonic() - at:.0f} s")
            yield {
                **machine.about(),
                "mode": "long" if long else "quick",
                "suites": names[:done],
                "busy_before": round(busy, 2),
                "seconds": round(time.monotonic() - began),
                "figures": [figure.document() for figure in figures],
            }


async def _run(names: Sequence[str], result: Path, console: Console, *, long: bool) -> None:
    """Measure, write after each suite, and show all at the end."""
    document: dict[str, Any] = {}
    async for document in measure_all(names, console.print, long=long):
        text = json.dumps(document, indent=1) + "\n"
        result.write_text(text, encoding="utf-8")  # noqa: ASYNC240 - between measurements
    console.print(rich_table(document))


def _show(table: str, page: Path | None, begin: str = BEGIN, end: str = END) -> None:
    if page is None:
        sys.stdout.write(table)
        return
    text = insert(page.read_text(encoding="utf-8"), table, begin, end)
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Read the command line, measure, show."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few runs: minutes in all")
    parser.add_argument("--only", action="append", choices=list(SUITES), help="may be repeated")
    parser.add_argument("--json", type=Path, default=RESULT, help="where the run is written")
    parser.add_argument("--show", type=Path, help="print a written run as Markdown")
    parser.add_argument("--into", type=Path, help="put it into this page instead")
    parser.add_argument("--routers", action="store_true", help="show the routers side by side")
    parser.add_argument("--plot", type=Path, help="draw its growth with many canaries as SVG")
    arguments = parser.parse_args()
    console = Console(width=160)
    if arguments.show is not None:
        shown = json.loads(arguments.show.read_text(encoding="utf-8"))
        if arguments.routers:
            table = side_by_side(shown, {name: routers.Specs.names(name) for name in SITES})
            _show(table, arguments.into, SIDE_BEGIN, SIDE_END)
            return
        _show(markdown(complete(shown)), arguments.into)
        if arguments.plot is not None:
            arguments.plot.write_text(plot.svg(shown), encoding="utf-8")
        return
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    names = arguments.only or list(SUITES)
    asyncio.run(_run(names, arguments.json, console, long=not arguments.quick))


if __name__ == "__main__":
    main()
