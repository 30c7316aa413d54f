"""A ramp rehearsed: which weights it would set, for given rates, without noise."""

from __future__ import annotations

from typing import NamedTuple

from analysis.bound import ExcessBound
from analysis.evalues import Tally
from analysis.judge import Judge, counted_metrics
from analysis.ramp import Ramp, bound_cluster
from schemas.judging import JudgeSpec, RampSpec

_METRIC = "errors"


class Moment(NamedTuple):
    """One decision of the rehearsal."""

    seconds: float
    weight: float
    """Percent, from now until the next decision."""
    routed: float
    """Canary requests so far."""
    harm: float
    """Extra failed requests so far."""
    bound: float
    e_value: float
    event: str
    """shift, full, rolled back, held, or budget spent: a person is asked."""


class Rates(NamedTuple):
    """What is assumed of the service."""

    stable: float
    canary: float
    rps: float


def rehearse(spec: RampSpec, judge_spec: JudgeSpec, rates: Rates) -> list[Moment]:
    """The schedule of one ramp with expected counts, data lagging by one interval."""
    length = spec.interval.total_seconds()
    judge = Judge(judge_spec, counted_metrics([_METRIC]))
    bound = ExcessBound(judge_spec.beta, bound_cluster(spec, judge_spec))
    ramp, moments, harm, unseen = Ramp(spec), list[Moment](), 0.0, None
    looks = int(spec.hold_after.total_seconds() / length)
    for look in range(looks + 1):
        at = look * length
        sent = 0.0 if unseen is None else unseen[1].n_c
        upper = bound.upper()
        decision = ramp.decide(upper, rps=rates.rps, unseen=sent)
        event = "full" if decision.full else "shift"
        weight = decision.weight
        if judge.failure is not None:
            event, weight = "rolled back", 0.0
        elif weight <= 0:
            event = "budget spent"
        elif look == looks and not decision.full:
            event = "held"
        moments.append(Moment(at, weight, ramp.routed + sent, harm, upper, judge.e_value, event))
        if event != "shift":
            break
        if unseen is not None:
            judge.observe_counts({_METRIC: unseen[1]}, at - length, at)
            bound.add(unseen[1])
            ramp.observe(unseen[0], length, unseen[1].n_c, rates.rps * length)
        unseen = (weight, _expected(rates, weight, length))
        harm += (rates.canary - rates.stable) * unseen[1].n_c
    return moments


def _expected(rates: Rates, weight: float, length: float) -> Tally:
    everything = rates.rps * length
    n_c = everything * weight / 100.0
    n_b = everything - n_c
    return Tally(rates.canary * n_c, n_c, rates.stable * n_b, n_b)
