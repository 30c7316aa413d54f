"""What failed of services, as a test says: of one version, and of all that call it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from activities.failures import Failures
from adapters.errors import Retryable
from analysis.rises import Point
from schemas.catalog import ResolvedService

REQUESTS = 400
STEP_S = 0.25
STEPS = 40


class ScriptedFailures:
    """A `FailureReader` without metrics: nothing is counted until a test says so."""

    def __init__(self) -> None:
        self.began: float | None = None
        """When failures rise, in seconds since the epoch; None: nothing is counted."""
        self.bad_versions: set[tuple[str, str]] = set()
        """Services and versions that fail their own requests from then on."""
        self.failing: dict[str, float] = {}
        """Services of which that share of all requests fails from then on."""
        self.hangs = False
        """Until `gate` is open."""
        self.gate = asyncio.Event()
        self.asking = 0
        """Questions that hang."""
        self.refuses = False

    async def versions(self, service: ResolvedService) -> tuple[str, ...]:
        """The stable one alone."""
        return ("0",) if service.service else ()

    async def read(
        self, service: ResolvedService, versions: Sequence[str], times: Sequence[float]
    ) -> Failures:
        """In steps of a quarter of a second before and after the beginning, whatever the times."""
        if self.hangs:
            self.asking += 1
            try:
                await self.gate.wait()
            finally:
                self.asking -= 1
        if self.refuses:
            raise Retryable("the metrics source does not answer")
        if self.began is None or not times:
            return {}
        dice = random.Random(service.service)
        rise = self.failing.get(service.service, 0.0)
        return {
            "errors": {
                version: tuple(
                    self._point(dice, index, rise, (service.service, version))
                    for index in range(2 * STEPS)
                )
                for version in versions
            }
        }

    def _point(self, dice: random.Random, index: int, rise: float, of: tuple[str, str]) -> Point:
        rate = 0.002
        if index >= STEPS:
            rate += 0.6 if of in self.bad_versions else rise
        bad = sum(dice.random() < rate for _ in range(REQUESTS))
        at = (self.began or 0.0) + (index - STEPS + 1) * STEP_S
        return Point(at, float(bad), float(REQUESTS))
