"""Taking a release back that has ended, as a watch asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from temporalio import activity

from activities.policy import Policy, forever, terminal_errors
from schemas.base import Model, ReleaseId
from schemas.outside import Text
from schemas.watching import Reverted

REVERT: Final = "aviary.release.revert"
REVERT_POLICY: Final = Policy(
    start_to_close=timedelta(minutes=1), retry=forever(timedelta(seconds=10))
)


class Revert(Model):
    """Take a release back, unless something stands in the way."""

    queue: str
    release: ReleaseId
    because: Text


class RevertActivities:
    """Activities over the releases that Temporal remembers.

    Args:
        take_back: takes one back; to ask twice is to ask once.
    """

    def __init__(self, take_back: Callable[[Revert], Awaitable[Reverted]]) -> None:
        self._take_back = take_back

    @activity.defn(name=REVERT)
    async def revert(self, request: Revert) -> Reverted:
        """Begin to take a release back, or say what stands in the way."""
        with terminal_errors():
            return await self._take_back(request)
