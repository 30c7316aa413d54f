"""Releases as they tell of themselves, moment by moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.chain import Chain
from schemas.event_kinds import EventType
from schemas.events import CloudEvent, event
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.release import Cause, CauseKind

BEGAN = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    """So long after the beginning of everything."""
    return BEGAN + timedelta(seconds=seconds)


class Telling:
    """Tells what happens to a release.

    Args:
        release: its id.
        at: seconds after the beginning.
        services: their new versions.
        labels: of its deploy event.
        environment: where.
    """

    def __init__(
        self,
        release: str,
        at: float = 0.0,
        services: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        environment: str = "production",
    ) -> None:
        self.release, self.now, self.environment = release, at, environment
        self.services = dict(services or {"checkout": "2"})
        self.labels = dict(labels or {})
        self.events: list[CloudEvent] = []
        self._chain = Chain()

    def wait(self, seconds: float) -> Telling:
        """Let time pass."""
        self.now += seconds
        return self

    def at(self, phase: ReleasePhase, cause: Cause | None = None) -> Telling:
        """The release enters a phase."""
        plain = None if cause is None else cause.model_dump(mode="json")
        data: dict[str, Any] = {"labels": self.labels, "cause": plain}
        if phase is ReleasePhase.RUNNING:
            data["services"] = self.services
        return self._tell(phase.about.event, self.release, data)

    def canary(
        self,
        phase: CanaryPhase,
        weight: float = 0.0,
        service: str = "checkout",
        **more: Any,
    ) -> Telling:
        """A service of it is somewhere."""
        data = {
            "service": service,
            "version": self.services[service],
            "stable": "1",
            "phase": phase.value,
            "weight": weight,
            **more,
        }
        return self._tell(phase.about.event or EventType.CANARY_CHANGED, service, data)

    def _tell(self, kind: EventType, subject: str, data: Mapping[str, Any]) -> Telling:
        said = event(
            f"release/{self.release}",
            len(self.events),
            kind,
            release=self.release,
            subject=subject,
            time=after(self.now),
            data={"release": self.release, "environment": self.environment, **data},
        )
        self.events.append(self._chain.link(said))
        return self

    def finalized(self) -> Telling:
        """It goes through, in 100 s, of which 40 wait for a person."""
        self.at(ReleasePhase.RUNNING).canary(CanaryPhase.PREFLIGHT).wait(10)
        self.canary(CanaryPhase.BAKING, 5).wait(50).canary(CanaryPhase.GATED, 5).wait(40)
        self.canary(CanaryPhase.HOLDING, 100).at(ReleasePhase.FINALIZING)
        return self.canary(CanaryPhase.FINALIZED, 100).at(ReleasePhase.FINALIZED)

    def rolled_back(self, kind: CauseKind = CauseKind.VERDICT) -> Telling:
        """It goes back after 30 s at 5 %, and is restored 4 s later."""
        self.at(ReleasePhase.RUNNING).canary(CanaryPhase.PREFLIGHT).wait(10)
        self.canary(CanaryPhase.BAKING, 5).wait(30)
        cause = Cause(kind=kind, service="checkout", text="it failed", at=after(self.now))
        self.canary(CanaryPhase.ROLLING_BACK, 5).at(ReleasePhase.ROLLING_BACK, cause).wait(4)
        self.canary(CanaryPhase.RETIRING).wait(6).canary(CanaryPhase.ROLLED_BACK)
        return self.at(ReleasePhase.ROLLED_BACK, cause)


def plain(*releases: Telling) -> list[dict[str, Any]]:
    """All of their events as readers have them, by time."""
    told = [one.model_dump(mode="json") for each in releases for one in each.events]
    return sorted(told, key=lambda one: datetime.fromisoformat(one["time"]))
