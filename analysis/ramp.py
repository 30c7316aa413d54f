"""A ramp that spends no more than a budget of extra failed requests.

The canary may be shown m more requests only while `bound * (routed + m)` stays within the budget,
and half of what is left is kept for the lag between routing and seeing. With probability 1 - beta
the extra failures so far never pass `routed * bound`; with a constant excess the whole rollout
stays within the budget. A fault that appears only at high load is not covered: lower the cap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from schemas.judging import JudgeSpec, RampSpec

_RESERVE = 0.5
_POINTS = 24
_LEAST_SHARE = 0.0001


class Decision(NamedTuple):
    """What the ramp does next."""

    weight: float
    """Percent, rounded down to 0.01; 0 once the budget does not allow one more request."""
    accepted: bool
    """The bound is within the tolerance."""
    full: bool
    """Accepted, and seen long enough at high weight: the canary gets everything."""
    allowed: float
    """Requests that the canary may get until the next decision."""


class Ramp:
    """The state of one ramp: what was routed, and for how long at high weight.

    Args:
        spec: budget, cap and times.
    """

    def __init__(self, spec: RampSpec) -> None:
        self._spec = spec
        self.routed = 0.0
        self.seen_at_full = 0.0
        self._rps = 0.0

    def observe(self, weight: float, seconds: float, canary: float, everything: float) -> None:
        """Count one interval of traffic, judged or not.

        Args:
            weight: percent during it.
            seconds: its length.
            canary: requests that the canary got.
            everything: requests that both versions got.

        Raises:
            ValueError: the interval has no length.
        """
        if seconds <= 0:
            raise ValueError(f"seconds: expected a positive length, got {seconds:g}")
        self.routed += canary
        self._rps = everything / seconds
        if weight >= min(self._spec.full_weight, 100.0):
            self.seen_at_full += seconds

    def decide(self, bound: float, *, rps: float | None = None, unseen: float = 0.0) -> Decision:
        """The weight until the next decision.

        Args:
            bound: upper bound on the canary's extra share of failures; 1 before any data.
            rps: requests per second of both versions; the last observed ones if left out.
            unseen: requests that the canary was sent and that `observe` has not been told of.

        Raises:
            ValueError: no request rate is known.
        """
        rate = self._rps if rps is None else rps
        if rate <= 0:
            raise ValueError("rps: expected a positive request rate, or an observed interval")
        spec = self._spec
        accepted = bound <= spec.tolerance
        if accepted and self.seen_at_full >= spec.full_after.total_seconds():
            return Decision(100.0, accepted, True, math.inf)
        spent = self.routed + unseen
        room = max(spec.budget / bound - spent, 0.0) if bound > 0 else math.inf
        allowed = exposure(_RESERVE * room)
        ceiling = max(spec.cap, spec.full_weight) if accepted else spec.cap
        weight = min(100.0 * allowed / (rate * spec.interval.total_seconds()), ceiling)
        return Decision(math.floor(weight * 100) / 100, accepted, False, allowed)

    def dump(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"routed": self.routed, "seen_at_full": self.seen_at_full, "rps": self._rps}

    @classmethod
    def load(cls, spec: RampSpec, state: Mapping[str, Any]) -> Self:
        """Take up a dumped state."""
        ramp = cls(spec)
        ramp.routed, ramp.seen_at_full = state["routed"], state["seen_at_full"]
        ramp._rps = state["rps"]
        return ramp


def exposure(allowance: float) -> float:
    """Requests m with m + 3 * sqrt(m) = allowance: room for arrival noise of 3 deviations."""
    if math.isinf(allowance):
        return allowance
    root = math.sqrt(allowance + 2.25) - 1.5
    return root * root if root > 0 else 0.0


def bound_cluster(spec: RampSpec, judge: JudgeSpec) -> int:
    """Errors that may come as one, as the ramp's bound assumes."""
    return judge.bound_cluster if spec.pace == "robust" else 1


class Feasibility(NamedTuple):
    """Whether a healthy canary can be accepted within the budget."""

    feasible: bool
    smallest: float
    """About the smallest budget with which it can."""
    message: str


def feasibility(
    spec: RampSpec, *, rate: float, rps: float, cluster: int, beta: float
) -> Feasibility:
    """Check a ramp at plan time.

    Near acceptance the bound is about `(price + sqrt(2 * price * p * N / (1 - w))) / N` with
    `price = cluster * (ln(1/beta) + ln 24)`; the budget must cover bound * N when the bound has
    come down to the tolerance, and one more step of the router's smallest weight.

    Args:
        spec: the ramp.
        rate: stable's share of failed requests, 0 to 1.
        rps: requests per second of both versions.
        cluster: errors that may come as one.
        beta: chance that the bound is too low.
    """
    price = cluster * (math.log(1 / beta) + math.log(_POINTS))
    split = max(1.0 - spec.cap / 100.0, _LEAST_SHARE)
    noise = math.sqrt(2.0 * price * rate / (spec.tolerance * split))
    proof = ((noise + math.sqrt(noise * noise + 4.0 * price)) / 2.0) ** 2
    least = _LEAST_SHARE * rps * spec.interval.total_seconds()
    first = (least + 3.0 * math.sqrt(least)) / _RESERVE
    smallest = math.ceil(proof + first)
    seconds = proof / spec.tolerance / (rps * spec.cap / 100.0) + spec.full_after.total_seconds()
    if spec.budget < smallest:
        text = (
            f"ramp.budget: {spec.budget:g} extra failed requests can't show a canary to be within "
            f"{100 * spec.tolerance:g} % of a stable version that fails {100 * rate:g} % at "
            f"{rps:g} requests per second; expected at least about {smallest:g}, or a larger "
            "tolerance"
        )
    elif seconds > spec.hold_after.total_seconds():
        text = (
            f"ramp.hold_after: {spec.hold_after.total_seconds() / 60:.0f} min is too short at "
            f"{rps:g} requests per second; expected at least about {seconds / 60:.0f} min, or a "
            "larger tolerance"
        )
    else:
        return Feasibility(True, smallest, f"ramp.budget: {spec.budget:g} is enough")
    return Feasibility(False, smallest, text)
