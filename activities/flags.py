"""Feature flags: whether everybody has a variant, as the provider itself has it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from pydantic import Field
from temporalio import activity

from activities.policy import Policy, forever, terminal_errors
from adapters.ports import Routing
from schemas.base import Model
from schemas.outside import Text
from schemas.router_spec import RouterSpec
from schemas.step_flags import WantedFlag

LOOK_AT_FLAG: Final = "aviary.flags.look"
LOOK_AT_FLAG_POLICY: Final = Policy(
    start_to_close=timedelta(seconds=15), retry=forever(timedelta(seconds=10))
)
"""A provider that does not answer is asked again: nothing is judged beside a flag unseen."""


class FlagLook(Model):
    """What was seen of a flag."""

    found: Text = Field(
        default="", description="What users have instead of the variant; empty: all have it."
    )


class FlagActivities:
    """Activities over the providers of flags.

    Args:
        router_for: finds the router of a specification.
    """

    def __init__(self, router_for: Callable[[RouterSpec], Routing]) -> None:
        self._router_for = router_for

    @activity.defn(name=LOOK_AT_FLAG)
    async def look(self, wanted: WantedFlag) -> FlagLook:
        """Read the flag, and whether somebody else has changed it since it was written."""
        with terminal_errors():
            routing = self._router_for(wanted.router)
            route = await routing.router.read(wanted.flag)
            shares = {arm.version: arm.weight for arm in route.arms if arm.weight}
            if set(shares) != {wanted.variant}:
                return FlagLook(found=f"found {route.text}")
            return FlagLook(found=await routing.changed(route) if route.generation else "")
