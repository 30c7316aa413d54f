"""What a benchmark gives: a figure beside its floor, and how both are summed up. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

P99: Final = 0.99
RATE: Final = "1/s"


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    p99: float
    """By nearest rank, the bad end: with fewer than a hundred runs the largest time, the lowest
    rate."""
    runs: int

    @classmethod
    def of(cls, values: Sequence[float], *, more_is_better: bool = False) -> Spread:
        """Sum up measurements.

        Args:
            values: in any order.
            more_is_better: rates, whose bad end is the low one.

        Raises:
            ValueError: there are none.
        """
        if not values:
            raise ValueError("values: none, expected at least one measurement")
        ordered = sorted(values, reverse=more_is_better)
        rank = math.ceil(P99 * len(ordered))
        return cls(median(ordered), ordered[rank - 1], len(ordered))


@dataclass(frozen=True)
class Goal:
    """What a figure must reach; None of a bound is no goal."""

    ratio_at_most: float | None = None
    ratio_at_least: float | None = None
    median_at_most: float | None = None
    p99_at_most: float | None = None

    @property
    def text(self) -> str:
        """In words; empty without a goal."""
        words = {
            "ratio_at_most": "ratio ≤",
            "ratio_at_least": "ratio ≥",
            "median_at_most": "median ≤",
            "p99_at_most": "p99 ≤",
        }
        bounds = {words[name]: bound for name, bound in asdict(self).items() if bound is not None}
        return ", ".join(f"{word} {bound:g}" for word, bound in bounds.items())

    def missed(self, figure: Figure) -> tuple[str, ...]:
        """Names of the bounds that a figure does not keep; a ratio without a floor keeps none."""
        ratio = math.nan if figure.ratio is None else figure.ratio
        least, most = self.ratio_at_least, self.ratio_at_most
        median_most, p99_most = self.median_at_most, self.p99_at_most
        kept = {
            "ratio_at_most": most is None or ratio <= most,
            "ratio_at_least": least is None or ratio >= least,
            "median_at_most": median_most is None or figure.ours.median <= median_most,
            "p99_at_most": p99_most is None or figure.ours.p99 <= p99_most,
        }
        return tuple(name for name, keeps in kept.items() if not keeps)


@dataclass(frozen=True)
class Spec:
    """A figure of the suite, before it is measured."""

    name: str
    unit: str
    floor: str = ""
    """What the floor is; empty for a figure that has none."""
    goal: Goal = Goal()
    long: bool = False
    """Measured in long mode only."""

    @property
    def more_is_better(self) -> bool:
        """Whether it is a rate."""
        return self.unit == RATE

    def figure(
        self,
        ours: Sequence[float],
        floor: Sequence[float] = (),
        parts: Mapping[str, Sequence[float]] | None = None,
        note: str = "",
    ) -> Figure:
        """The figure, from its measurements.

        Raises:
            ValueError: nothing was measured, or the floor is missing or has none to be.
        """
        if bool(floor) != bool(self.floor):
            raise ValueError(f"{self.name}: floor: {len(floor)} values, expected {self.floor!r}")
        return Figure(
            spec=self,
            ours=Spread.of(ours, more_is_better=self.more_is_better),
            floor=Spread.of(floor, more_is_better=self.more_is_better) if floor else None,
            parts={name: Spread.of(values) for name, values in (parts or {}).items()},
            note=note,
        )


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    spec: Spec
    ours: Spread
    floor: Spread | None = None
    parts: Mapping[str, Spread] = field(default_factory=dict)
    """Where the time goes, in the figure's unit and in order."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Median by the floor's median; None without a floor, or with one of 0."""
        if self.floor is None or self.floor.median == 0:
            return None
        return self.ours.median / self.floor.median

    @property
    def missed(self) -> tuple[str, ...]:
        """The bounds of its goal that it does not keep."""
        return self.spec.goal.missed(self)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.spec.name,
            "unit": self.spec.unit,
            "median": self.ours.median,
            "p99": self.ours.p99,
            "runs": self.ours.runs,
            "floor": None
            if self.floor is None
            else {"what": self.spec.floor, **asdict(self.floor)},
            "ratio": self.ratio,
            "goal": self.spec.goal.text,
            "missed": list(self.missed),
            "parts": {name: asdict(part) for name, part in self.parts.items()},
            "note": self.note,
        }
