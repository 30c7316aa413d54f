"""A feature flag that has been fully on for so long that it should go: what it is told by."""

from __future__ import annotations

from typing import Final

from pydantic import AwareDatetime

from schemas.base import Model, ReleaseId, SomeDuration
from schemas.outside import Text
from schemas.step_flags import WantedFlag

OFF: Final = "off"
"""The variant of a flag that is on for nobody: it does not become stale."""


class StaleInput(Model):
    """Starts the wait until a flag is stale, or tells one that goes on what the flag is now."""

    release: ReleaseId
    environment: str = "default"
    flag: WantedFlag
    after: SomeDuration
    since: AwareDatetime
    """When everybody had the variant; a newer order is later."""
    look_at: AwareDatetime
    """When it is looked whether everybody still has it."""


class StaleEnded(Model):
    """How the wait ended."""

    told: bool
    text: Text
    """In a sentence, for people."""
