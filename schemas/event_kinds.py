"""What Aviary tells of: types of events, kinds of notices and of moments of a timeline.

Closed sets of plain words, read without the models of what is told.
"""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """Every type of event that Aviary publishes."""

    RELEASE_QUEUED = "dev.aviary.release.queued.v1"
    RELEASE_STARTED = "dev.aviary.release.started.v1"
    RELEASE_SOAKING = "dev.aviary.release.soaking.v1"
    RELEASE_FINALIZING = "dev.aviary.release.finalizing.v1"
    RELEASE_FINALIZED = "dev.aviary.release.finalized.v1"
    RELEASE_ROLLINGBACK = "dev.aviary.release.rollingback.v1"
    RELEASE_ROLLEDBACK = "dev.aviary.release.rolledback.v1"
    RELEASE_PAUSED = "dev.aviary.release.paused.v1"
    RELEASE_RESUMED = "dev.aviary.release.resumed.v1"
    CANARY_PREFLIGHT = "dev.aviary.canary.preflight.v1"
    CANARY_CHECKING = "dev.aviary.canary.checking.v1"
    CANARY_SHIFTED = "dev.aviary.canary.shifted.v1"
    CANARY_BAKING = "dev.aviary.canary.baking.v1"
    CANARY_GATED = "dev.aviary.canary.gated.v1"
    CANARY_PAUSED = "dev.aviary.canary.paused.v1"
    CANARY_HOLDING = "dev.aviary.canary.holding.v1"
    CANARY_FINALIZED = "dev.aviary.canary.finalized.v1"
    CANARY_ROLLINGBACK = "dev.aviary.canary.rollingback.v1"
    CANARY_ROLLEDBACK = "dev.aviary.canary.rolledback.v1"
    CANARY_STUCK = "dev.aviary.canary.stuck.v1"
    CANARY_CHANGED = "dev.aviary.canary.changed.v1"
    CANARY_JUDGED = "dev.aviary.canary.judged.v1"
    DRIFT_FOUND = "dev.aviary.drift.found.v1"
    DEPLOY_STALE = "dev.aviary.deploy.stale.v1"
    ALERT_STALE = "dev.aviary.alert.stale.v1"
    ALERT_UNMATCHED = "dev.aviary.alert.unmatched.v1"


class CDEventType(StrEnum):
    """The CDEvents that Aviary publishes beside its own events (`schemas.cdevents_out`)."""

    SERVICE_UPGRADED = "dev.cdevents.service.upgraded.0.2.0"
    SERVICE_ROLLEDBACK = "dev.cdevents.service.rolledback.0.2.0"
    INCIDENT_DETECTED = "dev.cdevents.incident.detected.0.2.0"


class NoticeKind(StrEnum):
    """Why a person is told."""

    STARTED = "started"
    WAITING = "waiting"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    STUCK = "stuck"
    FINISHED = "finished"
    DRIFT = "drift"
    """Traffic on a canary that nobody looked after; it is being taken back."""

    @property
    def ends(self) -> bool:
        """Whether it tells of a release's end."""
        return self in {NoticeKind.FINISHED, NoticeKind.ROLLED_BACK}


class MomentKind(StrEnum):
    """What happened; a closed set."""

    STARTED = "started"
    """The release's workflow began."""
    QUEUED = "queued"
    """Other releases have its services, or are ahead of it."""
    ADMITTED = "admitted"
    """All its services are its own."""
    BEGUN = "begun"
    """The canary of a service began; with a cause: another run takes its traffic back."""
    BUSY = "busy"
    """Another release has a canary of the service."""
    PREFLIGHT = "preflight"
    """Alerts fired before the first request; their end is waited for."""
    CHECKING = "checking"
    """A hook is asked whether it may go on."""
    SHIFTED = "shifted"
    """The router confirmed a weight for the canary."""
    BAKING = "baking"
    """Judging began, at a weight."""
    JUDGED = "judged"
    """The judge said its word."""
    IN_STEP = "in_step"
    """The others of its group have not ended the step yet."""
    GATED = "gated"
    """A person must approve."""
    APPROVED = "approved"
    PAUSED = "paused"
    RESUMED = "resumed"
    SKIPPED_BAKE = "skipped_bake"
    ALERT = "alert"
    """An alert came in; `did` says what was done."""
    CHANGED = "changed"
    """Somebody else has changed the route; `did` says what was done."""
    HOLDING = "holding"
    """The canary has everything, and waits for the rest of the release."""
    SOAKING = "soaking"
    """All hold together."""
    FINALIZING = "finalizing"
    """The point of no return."""
    FINALIZED = "finalized"
    """Of a service: its canary is stable now. Without one: the release has ended."""
    ROLLBACK = "rollback"
    """Going back was decided; `cause` says why."""
    TOLD_BACK = "told_back"
    """A person said `rollback`."""
    KEPT = "kept"
    """A person kept the new version, because the one to go back to has no healthy instance."""
    ROLLING_BACK = "rolling_back"
    """A service began to go back."""
    RESTORED = "restored"
    """The router confirmed that stable has everything."""
    STUCK = "stuck"
    VERIFYING = "verifying"
    """Whether requests still start on the version that went back."""
    ROLLED_BACK = "rolled_back"
    """Of a service: it is back. Without one: the release has ended."""
    SKIPPED = "skipped"
    """The service was never begun."""
    CANCELLED = "cancelled"
    """Somebody cancelled the workflow."""
    TERMINATED = "terminated"
    """Somebody terminated the workflow."""
    LOST = "lost"
    """The release learned that a canary ended without a word."""
    FAILED = "failed"
    """A step of the machinery failed for good: the router's refusal, or the metrics'."""
