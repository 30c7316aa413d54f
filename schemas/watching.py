"""What a version is watched by once it is stable: the input and the end of that workflow."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from schemas.base import Model, ReleaseId, Version
from schemas.outside import Text
from schemas.release import ServicePlan
from schemas.reverting import Obstacle


class WatchInput(Model):
    """Starts a watch, or gives one that goes on a newer version to watch."""

    release: ReleaseId
    environment: str = "default"
    plan: ServicePlan = Field(description="Of the service, with the version that is watched.")
    before: Version = Field(description="The version that it would go back to.")
    began_at: AwareDatetime = Field(description="When the version first got requests.")
    stable_at: AwareDatetime = Field(description="When it became stable; a newer order is later.")
    until: AwareDatetime = Field(description="How long an alert takes the release back.")
    limits_until: AwareDatetime = Field(description="How long limits do.")
    alerts: tuple[str, ...] = Field(
        default=(), description="Identities of alerts that an earlier run has seen, oldest first."
    )


class Reverted(Model):
    """What became of a release that was to be taken back."""

    revert: ReleaseId = Field(description="The release that does it.")
    obstacles: tuple[Obstacle, ...] = Field(default=(), description="None: it was begun.")

    @property
    def refusal(self) -> str:
        """Why it was not begun, for a person; empty where it was."""
        return "; ".join(one.text for one in self.obstacles)


class Watched(Model):
    """How a watch ended."""

    release: ReleaseId
    reverted_by: ReleaseId | None = Field(
        default=None, description="The release that takes it back; None: it was not."
    )
    text: Text = Field(description="In a sentence, for people.")
