"""What became of runs: one row for each, as a table of fault by release, and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Row:
    """What became of one release that met one fault."""

    part: str
    """matrix, rollback-order, outages, engines, sentinel or ingestion."""
    release: str
    fault: str
    """Its kind: one line of the table."""
    where: str = ""
    """Which one of its kind."""
    struck: bool = False
    """False when the release had ended before the fault came."""
    outcome: str = "none"
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)
    """Invariants that do not hold."""

    @property
    def good(self) -> bool:
        return not self.broken


def table(rows: Sequence[Row]) -> str:
    """Fault by release: how many runs, in how many it struck, how many were good, the slowest."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.part, row.fault, row.release].append(row)
    lines, part = [], ""
    for (where, fault, release), found in groups.items():
        if where != part:
            part = where
            lines += [
                "",
                f"{part:50}{'release':22}{'runs':>5}{'struck':>8}{'good':>6}{'slowest':>9}",
            ]
            lines[-1] += "  outcome"
        outcomes = ", ".join(sorted({row.outcome for row in found}))
        good, struck = sum(row.good for row in found), sum(row.struck for row in found)
        slowest = max(row.seconds for row in found)
        lines.append(
            f"{fault:50}{release:22}{len(found):5}{struck:8}{good:6}{slowest:8.1f}s  {outcomes}"
        )
    for row in rows:
        name = f"{row.part}: {row.release} / {row.fault} {row.where}".rstrip()
        lines += [f"BROKEN {name}: {text}" for text in row.broken]
    return "\n".join(lines).strip()


def write(path: Path, rows: Sequence[Row], seconds: float) -> None:
    """All rows as one JSON document."""
    document = {
        "seconds": round(seconds, 1),
        "good": all(row.good for row in rows),
        "runs": [{**asdict(row), "good": row.good} for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1))
