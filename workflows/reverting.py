"""A deploy event that asks for the version that is stable now: it means "roll back". Pure.

The release that it starts finds its services taken, and tells those that have them what it wants;
each of those sees for itself whether that is what it would go back to.
"""

from __future__ import annotations

from datetime import datetime

from schemas.admission import Revert
from schemas.release import Cause, CauseKind
from workflows.service_states import ServiceStates

REMEMBERED = 20
"""Releases that are heard at a time; they wait behind this one, the newest count."""


class RevertRequests:
    """What later releases want of the services of this one."""

    def __init__(self, states: ServiceStates, began_at: datetime) -> None:
        self._states = states
        self._began_at = began_at
        self._wanted: dict[str, Revert] = {}

    def take(self, revert: Revert) -> None:
        """Remember it: the version to go back to may only be known later."""
        if revert.since < self._began_at:
            return  # it was asked for before this release was
        self._wanted.pop(revert.release, None)
        self._wanted[revert.release] = revert
        while len(self._wanted) > REMEMBERED:
            del self._wanted[next(iter(self._wanted))]

    def cause(self, now: datetime) -> Cause | None:
        """Why this release goes back; None while no later one wants a stable version again.

        One service is enough: a release goes out and comes back as a whole.
        """
        for revert in self._wanted.values():
            for service, version in revert.services.items():
                if self._states.goes_back_to(service) == version:
                    text = (
                        f"release {revert.release} asks for {service} {version}, which is stable: "
                        "it reverts this release"
                    )
                    return Cause(kind=CauseKind.SUPERSEDED, service=service, text=text, at=now)
        return None
