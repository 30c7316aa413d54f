"""Taking back a release that has ended: what stands in the way, and what it would do."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

from pydantic import Field

from schemas.base import Model, ReleaseId, ServiceName, Version
from schemas.outside import Text

_ID_MOST: Final = 128


class ObstacleKind(StrEnum):
    """Why a release can't be taken back; a closed set."""

    NOT_ENDED = "not_ended"
    """It runs: `rollback` takes it back."""
    WENT_BACK = "went_back"
    """It went back by itself."""
    REVERTED = "reverted"
    """It was taken back already, or is being."""
    NOTHING_CHANGED = "nothing_changed"
    """All of its versions were stable before it."""
    NOTHING_BEFORE = "nothing_before"
    """A service had no version before."""
    NEWER = "newer"
    """A later release has changed a service, or is about to."""
    CONTRACTED = "contracted"
    """What only the version before needs was taken away, or that is not known."""


class Obstacle(Model):
    """One reason why a release can't be taken back."""

    kind: ObstacleKind
    service: ServiceName | None = Field(default=None, description="None: all of them.")
    text: Text


class WayBack(Model):
    """One service of a release that is taken back."""

    service: ServiceName
    version: Version = Field(description="That is taken back.")
    to: Version = Field(description="That served before.")
    notes: tuple[Text, ...] = Field(default=(), description="What is to be known of it before.")


class RevertPreview(Model):
    """What taking a release back would do."""

    release: ReleaseId
    revert: ReleaseId = Field(description="The release that does it.")
    obstacles: tuple[Obstacle, ...] = Field(default=(), description="None: it can be done.")
    stages: tuple[tuple[WayBack, ...], ...] = Field(
        default=(), description="Services that go back at once, dependents first."
    )

    @property
    def reverted(self) -> bool:
        """Whether it is done already, or under way."""
        return any(one.kind is ObstacleKind.REVERTED for one in self.obstacles)

    @property
    def refusal(self) -> str:
        """Why it is not done, for a person; empty where it can be."""
        return "; ".join(one.text for one in self.obstacles)


def revert_id(release: str, attempt: int = 1) -> str:
    """The id of the release that takes another one back: one for each attempt.

    Args:
        release: the one that is taken back.
        attempt: number from 1; another one only after one that went back itself.
    """
    suffix = ".revert" if attempt == 1 else f".revert-{attempt}"
    if len(release) + len(suffix) <= _ID_MOST:
        return release + suffix
    digest = "-" + hashlib.sha256(release.encode()).hexdigest()[:12]
    return release[: _ID_MOST - len(suffix) - len(digest)] + digest + suffix
