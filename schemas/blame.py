"""Whose doing a symptom is: what canaries say of their exposure, and what came out."""

from __future__ import annotations

from typing import Final

from pydantic import AwareDatetime, Field

from schemas.alert import Alert
from schemas.base import Model, Percent, ReleaseId, ServiceName, Version
from schemas.outside import Text

CHANGES_MOST: Final = 60
"""Changes of a canary's weight that are remembered; the oldest are dropped first."""
RANKED_MOST: Final = 5
"""Releases of an answer."""


class WeightChange(Model):
    """A weight of a version, and since when it has it."""

    at: AwareDatetime = Field(description="When its write was sent: no effect is older.")
    weight: Percent


class Exposed(Model):
    """What a canary says of itself to whoever looks for a culprit; its outcome says it as well."""

    release: ReleaseId
    service: ServiceName
    version: Version
    before: Version | None = Field(description="The version beside it, or before it.")
    changes: tuple[WeightChange, ...] = Field(description="Of its weight, oldest first.")


class BlamedRelease(Model):
    """One release, and why it is, or is not, the culprit."""

    release: ReleaseId
    services: tuple[ServiceName, ...] = Field(description="Its suspects, the likeliest first.")
    chance: float = Field(ge=0, le=1, description="That the symptom is its doing.")
    text: Text = Field(description="What speaks for and against it, with numbers.")


class Blame(Model):
    """Whose doing a symptom is."""

    alone: bool = Field(
        default=False, description="No other release can have to do with it: nothing was judged."
    )
    known: bool = Field(
        default=True, description="Whether the metrics show the symptom; else nothing is known."
    )
    culprit: ReleaseId | None = Field(default=None, description="None: no clear answer.")
    text: Text = Field(default="", description="In one sentence.")
    ranked: tuple[BlamedRelease, ...] = Field(
        default=(), description="The likeliest first; the first five."
    )
    others: float = Field(default=1.0, ge=0, le=1, description="Chance that it is none of them.")


class Accusation(Model):
    """To a culprit's canary, from whoever found that out."""

    release: ReleaseId = Field(description="Another release's canary does not hear it.")
    service: ServiceName = Field(description="The canary that found it out.")
    alert: Alert | None = Field(default=None, description="None: a limit that was crossed.")
    text: Text

    @property
    def sentence(self) -> str:
        """What it is accused of."""
        what = f"alert {self.alert.name}" if self.alert else f"a limit of {self.service} is crossed"
        return f"{what}: {self.text} (found out by {self.service})"
