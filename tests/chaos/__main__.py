"""`python -m tests.chaos`: every fault on every release, as a table and as JSON."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from tests.chaos import ingestion, matrix, rollback_order, sentinel
from tests.chaos.dying import Between
from tests.chaos.faults import Mode
from tests.chaos.matrix import record_all, run_all
from tests.chaos.outages import engines
from tests.chaos.outages import run as outages
from tests.chaos.outages.faults import FAULTS
from tests.chaos.points import Point
from tests.chaos.rows import Row, table, write
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.server import temporal_server
from tests.chaos.testbed import Testbed
from tests.engines.places import open_folder
from tests.workflows.conftest import FAST_TIMERS

PARTS = (
    ingestion.PART,
    rollback_order.PART,
    sentinel.PART,
    outages.PART,
    engines.PART,
    matrix.PART,
)


@dataclass
class Options:
    """What the command line says."""

    part: list[str] = field(default_factory=list)
    json: Path | None = None
    slots: int = 8
    every: int = 1
    scenario: str | None = None
    only: str = ""
    keep: Path | None = None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--part", choices=PARTS, action="append", help="only this part (repeatable)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run to this file")
    parser.add_argument("--only", default="", help="only points or outages with this text")
    parser.add_argument("--every", type=int, default=1, help="only each n-th point or call")
    parser.add_argument(
        "--scenario", choices=[scenario.name for scenario in SCENARIOS], help="matrix: only this"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what the parts wrote")
    parser.add_argument("--slots", type=int, default=8, help="matrix: releases at the same time")
    told = parser.parse_args(namespace=Options())
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # servers speak as well
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aviary-chaos-") as folder:
        rows = asyncio.run(_all(told.keep or Path(folder), told))
    seconds = time.monotonic() - began
    if told.json is not None:
        write(told.json, rows, seconds)
    with os.fdopen(out, "w") as file:
        file.write(f"{table(rows)}\n\n{len(rows)} runs in {seconds:.0f} s\n")
    return 0 if rows and all(row.good for row in rows) else 1


async def _all(folder: Path, told: Options) -> list[Row]:
    rows: list[Row] = []
    for part in told.part or PARTS:
        if part == rollback_order.PART:
            rows += await _rollback_order(folder / part, told.every)
        elif part == ingestion.PART:
            rows += await ingestion.die_everywhere(
                folder / part, [b for b in Between if told.only in b]
            )
        elif part == sentinel.PART:
            moments = [one for one in sentinel.MOMENTS if told.only in one.name]
            rows += await sentinel.die_at_all(folder / part, moments, strict=True)
        elif part == outages.PART:
            chosen = [fault for fault in FAULTS if told.only in fault.name]
            rows += await outages.meet_all(folder / part, chosen)
        elif part == engines.PART:
            with open_folder() as place:
                rows += await engines.meet_engines(told.keep or place, told.only)
        else:
            rows += await _matrix(folder / part, told)
    return rows


async def _rollback_order(folder: Path, every: int) -> list[Row]:
    rows: list[Row] = []
    async with temporal_server(folder, ["default"], *FAST_TIMERS) as address:
        client = await Client.connect(address, data_converter=pydantic_data_converter)
        for mode in Mode:
            for back in (False, True):
                world = rollback_order.Haunted(client)
                async with world.working():
                    rows += await rollback_order.roll_back_all(world, mode, back=back, stride=every)
    return rows


async def _matrix(folder: Path, told: Options) -> list[Row]:
    """Record the scenarios, then run each with each kill."""
    scenarios = [scenario for scenario in SCENARIOS if told.scenario in {None, scenario.name}]
    testbed = Testbed(folder, told.slots)
    async with testbed.started():
        recorded = await record_all(testbed, scenarios)
        work: list[tuple[Scenario, Point]] = [
            (one.scenario, where) for one in recorded for where in _chosen(one.points, told)
        ]
        sys.stderr.write(f"{len(work)} kill points in {len(recorded)} releases\n")
        # Their own faults first: without them the rest says nothing.
        return [one.row for one in recorded] + await run_all(testbed, work)


def _chosen(points: Sequence[Point], told: Options) -> list[Point]:
    return [point for point in points if told.only in str(point)][:: told.every]


if __name__ == "__main__":
    sys.exit(main())
