"""What changed between two looks at a release, a line each: for logs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from aviary.cli.tables import headline
from aviary.cli.tree import Look
from schemas.live import Live
from schemas.outside import one_line
from schemas.release import ServiceStatus

_QUARTERS = 4


class Changes:
    """Remembers what was told."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._nearest: dict[str, tuple[datetime, int]] = {}

    def of(self, look: Look) -> Iterator[str]:
        """The lines that differ from those before: services, the release, evidence, troubles."""
        for service in look.status.services:
            yield from self._service(service, look)
        yield from self._new("", headline(look.status))
        for name, sight in look.sights.items():
            if sight.live is not None:
                yield from self._nearer(name, sight.live)
            # The number of attempts grows, and says nothing new.
            trouble = re.sub(r", attempt \d+", " fails, and is tried again", sight.trouble)
            if trouble:
                yield from self._new(f"{name} trouble", f"{name}: {trouble}")
            else:
                self._told.pop(f"{name} trouble", None)

    def _service(self, service: ServiceStatus, look: Look) -> Iterator[str]:
        at = look.canaries.get(service.service) or service
        name = f"{service.service} {service.version}"
        if at.verdict is not None:
            verdict = at.verdict
            line = f"{name}: {verdict.kind}: {verdict.sentence}"
            yield from self._new(f"{service.service} verdict", line)
        if service.lane is not None:
            yield from self._new(f"{service.service} lane", f"{name}: {service.lane.text}")
        parts = [f"{name}: {at.phase.value} at {at.gets.replace(' %', '%')}"]
        if at.cause is not None and at.cause != look.status.cause:
            parts.append(at.cause.text)
        if at.waits_for and not at.phase.closed:
            parts.append(f"waits for {at.waits_for}")
        yield from self._new(service.service, "; ".join(parts))

    def _new(self, key: str, line: str) -> Iterator[str]:
        line = one_line(line)
        if self._told.get(key) != line:
            self._told[key] = line
            yield line

    def _nearer(self, name: str, live: Live) -> Iterator[str]:
        """A bake that is a quarter closer to FAIL than it was ever before."""
        since, before = self._nearest.get(name, (live.started_at, 0))
        if since != live.started_at:
            before = 0
        quarter = int(live.to_fail * _QUARTERS)
        self._nearest[name] = (live.started_at, max(quarter, before))
        if quarter > before:
            share = 100 * quarter // _QUARTERS
            text = f"{name}: {share} % of the way to FAIL at {live.weight:g}%; {live.sentence}"
            yield one_line(text)
