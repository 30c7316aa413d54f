"""How long the router waits for Traefiks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Pace:
    """How long the router waits, in seconds."""

    confirm_within: float = 3.0
    """For all Traefiks to serve a route; keep it below the time-out of the calling activity, and
    above Traefik's `providersThrottleDuration`."""
    answer_within: float = 1.0
    """For one answer of a Traefik."""
    endpoints_within: float = 10.0
    """For all Traefiks to have the instances that they were told."""
    poll_every: float = 0.025
    """Between two questions to a Traefik."""
    pools_within: float = 0.5
    """For a pool that no Traefik knows; one that some know is waited for as long as for a route."""


PACE: Final = Pace()
