"""What a canary decided when it heard something: recorded then, and never worked out again."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from schemas.base import Model
from schemas.causes import CauseKind
from schemas.outside import Name, cut

DECISIONS_MOST: Final = 50
"""Kept of one canary; the oldest are dropped first."""
NEWEST: Final = 3
"""Carried by each report."""
OUTCOME_MOST: Final = 20
"""Carried by the outcome: a release of thousands of services has thousands of them."""

Sentence = Annotated[str, AfterValidator(lambda text: cut(text, 300))]
"""A sentence of at most 300 characters."""


class Heard(StrEnum):
    """What was heard; a closed set."""

    ALERT = "alert"
    COMMAND = "command"
    """A person's."""
    ORDER = "order"
    """The release's, or a later release's that wants the version before."""
    VERDICT = "verdict"
    HOOK = "hook"
    """A hook's answer, or that there is none in time."""
    ERROR = "error"
    """An activity failed for good."""
    FOREIGN_CHANGE = "foreign_change"
    """Somebody else has changed the route."""
    CANCELLED = "cancelled"
    """Somebody cancelled the canary in Temporal."""
    SENTINEL = "sentinel"
    """It had given stable everything, after too long without a sign of life."""


_HEARD: Final = {
    CauseKind.ALERT: Heard.ALERT,
    CauseKind.COMMAND: Heard.COMMAND,
    CauseKind.VERDICT: Heard.VERDICT,
    CauseKind.HOOK: Heard.HOOK,
    CauseKind.CANCELLED: Heard.CANCELLED,
    CauseKind.SUPERSEDED: Heard.ORDER,
    CauseKind.LEASE: Heard.SENTINEL,
}


def heard_as(kind: CauseKind) -> Heard:
    """What was heard where a cause to go back came up."""
    return _HEARD.get(kind, Heard.ERROR)


class Did(StrEnum):
    """What it did; a closed set."""

    BACK = "back"
    """The canary goes back."""
    TOLD = "told"
    """It holds: its release was told, and orders the way back, dependents first."""
    FORWARD = "forward"
    """It becomes stable."""
    PAUSED = "paused"
    RESUMED = "resumed"
    APPROVED = "approved"
    SKIPPED = "skipped"
    KEPT = "kept"
    ASKED = "asked"
    """The gate that follows asks a person."""
    RECORDED = "recorded"
    """Nothing; the text says why."""
    KNOWN = "known"
    """Nothing: it was so already."""
    OVERRULED = "overruled"
    """Somebody else's change was written over: past the point of no return."""
    TOO_LATE = "too_late"
    """Nothing: past the point of no return."""


class DecisionRecord(Model):
    """One thing that was heard, and what it did."""

    number: int = Field(
        default=0, ge=0, description="Of the decisions of one workflow, from 0, without gaps."
    )
    at: datetime
    heard: Heard
    did: Did
    name: Name = Field(default="", description="Of the alert or the command.")
    by: Name = Field(default="", description="Who, for a command.")
    identity: Name = Field(default="", description="Of the alert, as the canary remembers it.")
    text: Sentence = Field(default="", description="One sentence, with the deciding reason.")
    ranked: tuple[Sentence, ...] = Field(
        default=(),
        exclude_if=lambda ranked: not ranked,
        description="Where several releases could be it: each with what speaks for and against "
        "it, the likeliest first.",
    )
