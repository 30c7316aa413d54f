"""What Temporal itself knows of a canary that runs: its judge's heartbeat, and what is retried."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.client import WorkflowExecutionDescription

from activities.judge import JUDGE
from activities.observe import SEE_BACK
from activities.preflight import PREFLIGHT
from activities.ramp import BEGIN_RAMP
from activities.traffic import APPLY, READ
from aviary.history.events import innermost
from aviary.history.fetch import live_of
from schemas.live import Live

_DOING = {
    APPLY: "writing the route",
    READ: "reading the route",
    PREFLIGHT: "asking for alerts",
    BEGIN_RAMP: "measuring stable",
    SEE_BACK: "watching the requests",
    JUDGE: "judging",
}


@dataclass(frozen=True)
class Sight:
    """One canary."""

    live: Live | None = None
    """What its judge has seen so far."""
    trouble: str = ""
    """What fails and is tried again, in words."""


def sight_of(described: WorkflowExecutionDescription) -> Sight:
    """Read the description of a canary's workflow."""
    troubles = []
    for pending in described.raw_description.pending_activities:
        what = _DOING.get(pending.activity_type.name)
        if what is not None and pending.attempt > 1:
            why = " ".join(innermost(pending.last_failure).split())
            troubles.append(f"{what}, attempt {pending.attempt}" + (f": {why}" if why else ""))
    return Sight(live=live_of(described), trouble="; ".join(troubles))
