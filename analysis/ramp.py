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

from analysis.bound import ExcessBound
from analysis.evalues import Tally
from schemas.judging import JudgeSpec, RampSpec

_RESERVE = 0.5
_NOISE = 1.5
"""Times the budget that does without noise: what chance may take."""
_PRECISION = 1.1
_COARSE = 12.0
"""Intervals before acceptance grow to this part of the time gone: quick, and never too hopeful."""
_FULL_PARTS = 10.0
_MOST_LOOKS = 5000
_MOST_CAP = 50.0
"""Above it stable has ever less traffic to compare with, so it proves nothing sooner."""
_TIMES_LONGER = 20.0
"""How far beyond `hold_after` a time that would do is looked for."""
_GROWTH = 1.5
_POINTS = 24


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
    """About the smallest budget with which it can, with room for noise."""
    message: str


class _Service(NamedTuple):
    rate: float
    rps: float
    cluster: int
    beta: float


def feasibility(
    spec: RampSpec, *, rate: float, rps: float, cluster: int, beta: float
) -> Feasibility:
    """Check a ramp at plan time, by rehearsing it for a canary that is as good as stable.

    The smallest budget is found by halving between budgets that end and budgets that do not; the
    rehearsal has expected counts, and half as much again is kept for chance.

    Args:
        spec: the ramp.
        rate: stable's share of failed requests, 0 to 1.
        rps: requests per second of both versions; above 0.
        cluster: errors that may come as one.
        beta: chance that the bound is too low.
    """
    service = _Service(rate, rps, cluster, beta)
    patience = spec.hold_after.total_seconds()
    capped = spec.model_copy(update={"cap": min(spec.cap, _MOST_CAP)})
    rich = capped.model_copy(update={"budget": math.inf})
    needed = _NOISE * _time_to_full(rich, service, _TIMES_LONGER * patience)
    in_time = None if needed > patience else patience
    smallest = float(math.ceil(_NOISE * _smallest(capped, service, in_time)))
    obstacle = _obstacle(spec, service, needed, smallest)
    return Feasibility(
        obstacle is None, smallest, obstacle or f"ramp.budget: {spec.budget:g} is enough"
    )


def _obstacle(spec: RampSpec, service: _Service, needed: float, smallest: float) -> str | None:
    """Why a healthy canary can't be accepted, and what would do; None if it can.

    Args:
        spec: the ramp.
        service: its traffic.
        needed: seconds that it takes whatever the budget; inf if too many to rehearse.
        smallest: the smallest budget that does.
    """
    at = f"at {service.rps:g} requests per second"
    patience = spec.hold_after.total_seconds()
    if needed > patience:
        known = math.isfinite(needed)
        more = f"at least about {needed / 60:.0f} min" if known else "more traffic"
        return (
            f"ramp.hold_after: {patience / 60:.0f} min is too short {at}; expected {more}, or a "
            "larger tolerance"
        )
    if spec.budget < smallest:
        return (
            f"ramp.budget: {spec.budget:g} extra failed requests can't show a canary to be within "
            f"{100 * spec.tolerance:g} % of a stable version that fails {100 * service.rate:g} % "
            f"{at}; expected at least about {smallest:g}, or a larger tolerance"
        )
    if spec.cap > _MOST_CAP and _time_to_full(spec, service, patience) > patience:
        return (
            f"ramp.cap: {spec.cap:g} % leaves stable too little traffic to compare with {at}; "
            f"expected at most {_MOST_CAP:g} %"
        )
    return None


def _smallest(spec: RampSpec, service: _Service, patience: float | None) -> float:
    high = _proof(spec, service)
    if patience is None:
        return high

    def ends(budget: float) -> bool:
        one = spec.model_copy(update={"budget": budget})
        return _time_to_full(one, service, patience) <= patience

    while not ends(high):
        high *= _GROWTH
    low = high / _GROWTH
    while high / low > _PRECISION:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if ends(middle) else (middle, high)
    return high


def _proof(spec: RampSpec, service: _Service) -> float:
    """Less than any budget that does: what acceptance alone takes, with the cap from the start.

    Near acceptance the bound is about `(price + sqrt(2 * price * p * N / (1 - w))) / N`, with
    `price = cluster * ln(24 / beta)`; the budget must cover bound * N at bound = tolerance.
    """
    price = service.cluster * math.log(_POINTS / service.beta)
    split = 1.0 - spec.cap / 100.0
    noise = math.sqrt(2.0 * price * service.rate / (spec.tolerance * split))
    return float(((noise + math.sqrt(noise * noise + 4.0 * price)) / 2.0) ** 2)


def _time_to_full(spec: RampSpec, service: _Service, patience: float) -> float:
    """Seconds until a healthy canary gets everything, without noise; inf if not in time."""
    interval, full = spec.interval.total_seconds(), spec.full_after.total_seconds()
    ramp, bound = Ramp(spec), ExcessBound(service.beta, service.cluster)
    at, unseen = 0.0, None
    while at <= patience:
        sent = 0.0 if unseen is None else unseen[2].n_c
        decision = ramp.decide(bound.upper(), rps=service.rps, unseen=sent)
        if decision.full:
            return at
        if decision.weight <= 0:
            return math.inf
        length = max(interval, full / _FULL_PARTS if decision.accepted else at / _COARSE)
        if spec.cap > _MOST_CAP:  # more is not always better there: look at each interval
            length = max(interval, patience / _MOST_LOOKS)
        if unseen is not None:
            weight, seconds, tally = unseen
            bound.add(tally)
            ramp.observe(weight, seconds, tally.n_c, tally.n_c + tally.n_b)
        everything = service.rps * length
        n_c = everything * decision.weight / 100.0
        # The weight was set for one interval; a longer one sends no more than was allowed.
        n_c = min(n_c, decision.allowed)
        n_b = everything - n_c
        unseen = (decision.weight, length, Tally(service.rate * n_c, n_c, service.rate * n_b, n_b))
        at += length
    return math.inf
