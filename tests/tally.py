"""What came of the groups of tests: read from their results, and told in one table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from xml.etree import ElementTree as ET

import pytest

_NOTHING: Final = int(pytest.ExitCode.NO_TESTS_COLLECTED)
_SKIPPED: Final = re.compile(r"^SKIPPED .*", re.MULTILINE)
_HEAD: Final = ("group", "passed", "failed", "skipped", "seconds", "CPU seconds")


@dataclass(frozen=True)
class Tally:
    """How many tests came to which end."""

    passed: int = 0
    failed: int = 0
    """Errors of fixtures as well."""
    skipped: int = 0

    @classmethod
    def read(cls, results: Path) -> Self | None:
        """The counts in a file of results; None where pytest came to no end and wrote none."""
        if not results.exists():
            return None
        suite = ET.parse(results).getroot().find("testsuite")
        assert suite is not None
        count = {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
        failed = count["failures"] + count["errors"]
        return cls(count["tests"] - failed - count["skipped"], failed, count["skipped"])

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass(frozen=True)
class Result:
    """How a group ended."""

    group: str
    code: int
    """pytest's exit code; negative: the signal that ended it."""
    tally: Tally | None
    wall_s: float
    cpu_s: float

    @property
    def good(self) -> bool:
        """Whether all tests that were to be run passed."""
        return self.code == _NOTHING or (self.code == 0 and self.tally is not None)

    def told(self, output: str) -> str:
        """One line, and why tests were skipped; all of the output when the group failed."""
        came = str(self.tally) if self.tally else f"came to no end: exit code {self.code}"
        line = f"==> {self.group}: {came} ({self.wall_s:.0f} s)"
        said = _SKIPPED.findall(output) if self.good else [output]
        return "\n".join((line, *said))

    def cells(self) -> tuple[str, ...]:
        """Its row of the table."""
        tally = self.tally
        counts = (tally.passed, tally.failed, tally.skipped) if tally else ("?", "?", "?")
        return (self.group, *map(str, counts), f"{self.wall_s:.0f}", f"{self.cpu_s:.0f}")


def exit_code(results: Sequence[Result]) -> int:
    """As pytest's own: 0 when all went well, 1 when not, 5 when no group had a test to run."""
    if all(result.code == _NOTHING for result in results):
        return _NOTHING
    return 0 if all(result.good for result in results) else 1


def summary(results: Sequence[Result], wall_s: float) -> str:
    """A table of the groups, and one line for all of them."""
    rows = [_HEAD, *(result.cells() for result in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join((row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:]))) for row in rows
    ]
    total = sum((result.tally for result in results if result.tally), Tally())
    cpu_s = sum(result.cpu_s for result in results)
    bad = [result.group for result in results if not result.good]
    end = f"{total} in {wall_s:.0f} s (CPU: {cpu_s:.0f} s)"
    return "\n".join((*table, end, *([f"failed: {', '.join(bad)}"] if bad else [])))
