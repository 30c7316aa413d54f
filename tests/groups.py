"""The tests in groups that share no server: `python -m tests` runs some of them side by side.

A file of tests belongs to the group that names its folder, or the nearest folder above it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

# The longest first: what is short fills the gaps at the end.
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "kubernetes": ("tests/kubernetes",),
    "workflows": ("tests/workflows",),
    "unit": ("tests/unit", "tests/test_imports.py"),
    "contract": ("tests/contract",),
    "chaos": ("tests/chaos",),
    "rollbacks": (
        "tests/workflows/test_drift.py",
        "tests/workflows/test_resets.py",
        "tests/workflows/test_reverts.py",
        "tests/workflows/test_rollback.py",
        "tests/workflows/test_vanished.py",
    ),
    "builds": ("tests/builds",),
    "e2e": ("tests/e2e",),
    "kafka": ("tests/contract/kafka",),
    "fuzz": ("tests/fuzz",),
    "durability": ("tests/durability",),
    "engines": ("tests/engines",),
    "browser": ("tests/browser",),
    "house": ("tests/house",),
    "deployers": ("tests/contract/deployers",),
    "telemetry": ("tests/telemetry", "tests/replay"),
}


def group_of(file: Path) -> str | None:
    """The group that a file of tests below the repository belongs to; None where there is none."""
    names = {path: group for group, paths in GROUPS.items() for path in paths}
    relative = file.relative_to(ROOT)
    places = (relative, *relative.parents)
    return next((names[place.as_posix()] for place in places if place.as_posix() in names), None)


def arguments(group: str) -> list[str]:
    """What pytest is told to run it: its folders, without those of other groups below them."""
    mine = GROUPS[group]
    others = [
        path
        for other, paths in GROUPS.items()
        for path in paths
        if other != group and any(path.startswith(f"{place}/") for place in mine)
    ]
    return [*mine, *(f"--ignore={path}" for path in others)]
