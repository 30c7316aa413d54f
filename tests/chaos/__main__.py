"""`python -m tests.chaos`: every fault on every release, as a table or as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.chaos.ground import Ground
from tests.chaos.matrix import Row, record_all, run_all
from tests.chaos.plays import PLAYS, Play
from tests.chaos.points import Point


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--json", action="store_true", help="every run as JSON on stdout")
    parser.add_argument("--slots", type=int, default=8, help="releases at the same time")
    parser.add_argument("--every", type=int, default=1, help="only each n-th point")
    parser.add_argument("--play", choices=[play.name for play in PLAYS], help="only this one")
    parser.add_argument("--point", default="", help="only points with this text in their name")
    told = parser.parse_args()
    plays = [play for play in PLAYS if told.play in {None, play.name}]
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # servers speak as well
    with tempfile.TemporaryDirectory(prefix="aviary-chaos-") as folder:
        began = time.monotonic()
        rows = asyncio.run(matrix(Path(folder), plays, told.slots, told.every, told.point))
        seconds = time.monotonic() - began
    if told.json:
        document = {"seconds": round(seconds, 1), "runs": [asdict(row) for row in rows]}
        text = json.dumps(document, indent=1)
    else:
        text = f"{table(rows)}\n{len(rows)} runs in {seconds:.0f} s"
    with os.fdopen(out, "w") as file:
        file.write(f"{text}\n")
    return 0 if rows and all(row.good for row in rows) else 1


async def matrix(
    folder: Path, plays: Sequence[Play], slots: int, every: int, point: str
) -> list[Row]:
    """Record the plays, then run each with each kill."""
    ground = Ground(folder, slots)
    async with ground.laid():
        recorded = await record_all(ground, plays)
        work: list[tuple[Play, Point]] = [
            (one.play, where)
            for one in recorded
            for where in [where for where in one.points if point in str(where)][::every]
        ]
        say(f"{len(work)} kill points in {len(recorded)} releases")
        # Their own faults first: without them the rest says nothing.
        return [one.row for one in recorded] + await run_all(ground, work)


def table(rows: Sequence[Row]) -> str:
    """Fault by release: how many runs, how many were good, the slowest."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[fault(row), row.play].append(row)
    lines = [
        f"{'fault':34}{'release':22}{'runs':>5}{'killed':>8}{'good':>6}{'slowest':>9}  outcome"
    ]
    for (kind, play), found in sorted(groups.items()):
        outcomes = ", ".join(sorted({row.outcome for row in found}))
        good, killed = sum(row.good for row in found), sum(row.killed for row in found)
        slowest = max(row.seconds for row in found)
        lines.append(
            f"{kind:34}{play:22}{len(found):5}{killed:8}{good:6}{slowest:8.1f}s  {outcomes}"
        )
    for row in rows:
        lines += [f"BROKEN {row.play} / {row.point}: {text}" for text in row.broken]
    return "\n".join(lines)


def fault(row: Row) -> str:
    """The kind of a fault, without its number."""
    words = row.point.split()
    if words[0] in {"before", "after"}:
        return f"{words[0]} {words[1]}"
    return "no fault" if row.point == "no fault" else f"after an event of {words[0]}"


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
