"""What a canary has decided and measured, and its release has not heard of yet. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from schemas.decisions import NEWEST, OUTCOME_MOST, DecisionRecord
from schemas.fitting import size_of
from schemas.measured import MEASURED_BYTES, MEASURED_MOST, Measured


class Untold:
    """Says what the next report carries; it is carried until a report is sent that can't be lost.

    Args:
        measured: what an earlier run of the canary could not tell.
        number: of what is measured next.
    """

    def __init__(self, measured: Sequence[Measured] = (), number: int = 0) -> None:
        self._measured = deque(measured, MEASURED_MOST)
        self.number = number
        self._told = -1

    def measure(self, series: dict[str, Any] | None, **place: Any) -> None:
        """Take what a bake measured.

        Args:
            series: its columns; None where nothing was measured.
            place: the other fields of `Measured`.
        """
        if series is not None and size_of(series) > MEASURED_BYTES:
            series = None
        self._measured.append(Measured(number=self.number, series=series, **place))
        self.number += 1

    @property
    def measured(self) -> tuple[Measured, ...]:
        """What was measured and not told, oldest first."""
        return tuple(self._measured)

    def decisions(self, records: Sequence[DecisionRecord]) -> tuple[DecisionRecord, ...]:
        """Of a canary's decisions, those that were not told, and the newest in any case."""
        new = sum(one.number > self._told for one in records)
        return tuple(records[-min(max(new, NEWEST), OUTCOME_MOST) :])

    def told(self, records: Sequence[DecisionRecord]) -> None:
        """A report that can't be lost carries all that there was."""
        self._measured.clear()
        if records:
            self._told = records[-1].number


class Heard:
    """What a release has heard of one canary already: each thing is told several times.

    A canary that was lost or reset counts from the beginning again, later.
    """

    def __init__(self) -> None:
        self._decided: tuple[datetime, int] | None = None
        self._measured: tuple[datetime, int] | None = None

    def new_decisions(self, records: Sequence[DecisionRecord]) -> list[DecisionRecord]:
        """Those that were not heard of before."""
        before = self._decided
        new = [one for one in records if before is None or (one.at, one.number) > before]
        if new:
            self._decided = new[-1].at, new[-1].number
        return new

    def new_measured(self, measured: Sequence[Measured]) -> list[Measured]:
        """Those that were not heard of before."""
        before = self._measured
        new = [one for one in measured if before is None or (one.at, one.number) > before]
        if new:
            self._measured = new[-1].at, new[-1].number
        return new
