"""Where a release and its canaries can be, and why they go back.

Plain words: the command line offers them as choices, and reads them without the models they are in.
"""

from __future__ import annotations

from enum import StrEnum


class CanaryPhase(StrEnum):
    """Where one service of a release is."""

    WAITING = "waiting"
    """Not begun: a dependency in this release does not hold yet."""
    PREFLIGHT = "preflight"
    """Begun, no traffic yet: an alert already fires on the service, or the route is being read."""
    SHIFTING = "shifting"
    BAKING = "baking"
    GATED = "gated"
    """Waits for a person: a gate of the strategy, or a bake that ended inconclusive."""
    PAUSED = "paused"
    HOLDING = "holding"
    FINALIZING = "finalizing"
    FINALIZED = "finalized"
    ROLLING_BACK = "rolling_back"
    STUCK = "stuck"
    """A rollback that still fails; it is retried for ever."""
    VERIFYING = "verifying"
    """The router confirmed that stable has everything; whether it does so is being looked at."""
    ROLLED_BACK = "rolled_back"
    SKIPPED = "skipped"
    """Never begun, because the release went back first."""

    @property
    def closed(self) -> bool:
        """Whether nothing more will happen to the service in this release."""
        return self in {CanaryPhase.FINALIZED, CanaryPhase.ROLLED_BACK, CanaryPhase.SKIPPED}

    @property
    def back(self) -> bool:
        """Whether what it depends on may go back: it has no traffic by the router's word."""
        return self.closed or self is CanaryPhase.VERIFYING

    def weight(self, sent: float, *, stable: bool = False) -> float:
        """The share of requests that the version has here, percent: the one place that says it.

        Args:
            sent: as the router confirmed it for a canary; a version that is stable is none.
            stable: whether the version is the stable one already.
        """
        if self is CanaryPhase.ROLLED_BACK:
            return 0.0
        return 100.0 if stable or self is CanaryPhase.FINALIZED else sent


class ReleasePhase(StrEnum):
    """Where a release is."""

    QUEUED = "queued"
    """Waits until all its services are its own; nothing of it has begun."""
    RUNNING = "running"
    SOAKING = "soaking"
    FINALIZING = "finalizing"
    ROLLING_BACK = "rolling_back"
    FINALIZED = "finalized"
    ROLLED_BACK = "rolled_back"

    @property
    def forward(self) -> bool:
        """Whether it may still be told to go back, pause or resume."""
        return self in {ReleasePhase.QUEUED, ReleasePhase.RUNNING, ReleasePhase.SOAKING}

    @property
    def closed(self) -> bool:
        """Whether the release has ended."""
        return self in {ReleasePhase.FINALIZED, ReleasePhase.ROLLED_BACK}


class CauseKind(StrEnum):
    """Why something went back; a closed set, the same in logs, metrics, notices and events."""

    VERDICT = "verdict"
    ALERT = "alert"
    COMMAND = "command"
    CANCELLED = "cancelled"
    BUSY = "busy"
    """Another release has the same service, and the catalog says `reject`."""
    ROUTER = "router"
    """The router refused a write for good."""
    ERROR = "error"
    """An activity failed for good."""
    NOT_READY = "not_ready"
    """A router does not know a service, or no instances of its new version; nothing was touched."""
    SUPERSEDED = "superseded"
    """A newer release of the same services takes its place, or asks for what was stable before."""
    RELEASE = "release"
    """Another service of the same release went back."""
