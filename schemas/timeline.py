"""The timeline of one release, as read from the histories of its workflows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from schemas.alert import Alert
from schemas.base import Duration, Model, Percent, ReleaseId, ServiceName, Version
from schemas.chain import ChainEnd
from schemas.decisions import Did
from schemas.event_kinds import MomentKind
from schemas.lane_counts import LaneCounts
from schemas.live import Live
from schemas.release import CanaryPhase, Cause, ReleasePhase, ReleasePlan, ServicePlan
from schemas.verdict import Verdict


class Moment(Model):
    """One thing that happened."""

    at: datetime
    kind: MomentKind
    service: ServiceName | None = Field(default=None, description="None: the whole release.")
    text: str = Field(description="One sentence that a person understands.")
    by: str = Field(default="", description="Who, for what a person did.")
    reason: str = Field(default="", description="In that person's words.")
    weight: Percent | None = Field(default=None, description="Of the canary, from then on.")
    whom: str = Field(
        default="",
        exclude_if=lambda name: not name,
        description="Name of the audience whose requests the weight is a share of; empty: "
        "everybody's.",
    )
    step: int | None = Field(default=None, description="Index from 0.")
    verdict: Verdict | None = None
    alert: Alert | None = None
    did: Did | None = Field(
        default=None,
        description="What an alert, a command or somebody else's change did, as the canary "
        "recorded it; None where that is not recorded yet.",
    )
    cause: Cause | None = None


class Judging(Model):
    """One call of the judge: a bake, or watching at one weight until told."""

    service: ServiceName
    run_id: str = Field(description="Of the canary.")
    stable: Version
    canary: Version
    weight: Percent
    began_at: datetime
    ended_at: datetime | None = None
    bake_min: Duration | None = Field(default=None, description="None: until told.")
    bake_max: Duration | None = None
    verdict: Verdict | None = Field(
        default=None, description="None while it goes on, and where it ended without a word."
    )
    stopped: bool = Field(
        default=False, description="Whether its canary told it to stop, as when it goes back."
    )
    evidence_series: dict[str, Any] | None = Field(
        default=None, description="The result's `evidence_series`, as it is in the history."
    )
    live: Live | None = Field(
        default=None, description="While it goes on: what it has seen so far."
    )
    lane: LaneCounts | None = Field(
        default=None, description="How many came with the lane; None where nobody counts it."
    )


class CanaryRun(Model):
    """One run of a service's canary workflow; a second one mends what a lost first one left."""

    run_id: str
    started_at: datetime
    ended_at: datetime | None = None
    ended: str = Field(default="", description="completed, terminated, failed …; empty: it runs.")
    seen: bool = Field(default=True, description="Whether its history could be read.")


class ServiceTimeline(Model):
    """One service of the release."""

    plan: ServicePlan
    phase: CanaryPhase
    weight: Percent = 0.0
    stable: Version | None = Field(default=None, description="The version before, once known.")
    runs: tuple[CanaryRun, ...] = ()
    judgings: tuple[Judging, ...] = ()


class Timeline(Model):
    """Everything that is known of one release, in the order in which it happened."""

    release: ReleaseId
    run_id: str
    execution: str = Field(description="Temporal's word: running, completed, terminated …")
    plan: ReleasePlan = Field(description="As it was when the release started.")
    phase: ReleasePhase
    cause: Cause | None = None
    started_at: datetime
    finished_at: datetime | None = None
    services: dict[ServiceName, ServiceTimeline] = Field(description="In dependency order.")
    moments: tuple[Moment, ...] = ()
    audit: ChainEnd | None = Field(
        default=None, description="End of the hash chain of its events, once it has ended."
    )
    unseen: tuple[str, ...] = Field(
        default=(), description="What could not be read, in words: nothing is left out silently."
    )

    def of(self, service: str) -> tuple[Moment, ...]:
        """The moments of one service."""
        return tuple(one for one in self.moments if one.service == service)
