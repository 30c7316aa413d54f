"""The weights of a Canary as steps."""

from __future__ import annotations

from typing import Final

from aviary.moving.drafts import FULL, StepDraft
from aviary.moving.rows import Rows
from aviary.moving.source import Node, RefusedError

_MOST_STEPS: Final = 99
"""And a last one of 100 %."""
_MIRROR: Final = "for matched users alone, which no step does: "


def read_weights(analysis: Node, rows: Rows) -> list[StepDraft]:
    """The steps, without how long each is held.

    Raises:
        RefusedError: weights fall, none is there, or they are of matched users alone.
    """
    match, iterations = analysis.get("match"), analysis.get("iterations")
    one, several, most = (analysis.get(name) for name in ("stepWeight", "stepWeights", "maxWeight"))
    if match is not None:
        match.take()
        what = "an A/B test" if iterations is not None else "weights"
        raise RefusedError(
            match.place, f"{what} {_MIRROR}give all users weights, or keep this Canary with Flagger"
        )
    if iterations is not None and iterations.number() > 0:
        rows.none(
            iterations,
            "blue/green: so many checks without users' requests, then all of them. Nothing is "
            "judged "
            "here before a version has requests: this is one step of 100 %; smaller ones cost "
            "fewer "
            "users a bad version",
        )
        return [StepDraft(FULL)]
    if several is not None and several.items():
        if one is None or one.number() <= 0:
            return _listed(several, rows)
        last = several.items()[-1].number()
        several.take()
        rows.differs(
            several, f"beside stepWeight only the last counts, as the end of its steps: {last:g}"
        )
        return _even(one, last, rows)
    if one is None or one.number() <= 0:
        text = "neither stepWeight, stepWeights nor iterations: Flagger never moves a weight of it"
        raise RefusedError(analysis.place, text)
    return _even(one, FULL if most is None else most.number(), rows, most)


def _listed(several: Node, rows: Rows) -> list[StepDraft]:
    found: list[StepDraft] = []
    for node in several.items():
        weight = node.number()
        last = found[-1].weight if found else 0.0
        if not 0 < weight <= FULL or weight != round(weight, 2):
            raise node.refuse("a weight of more than 0 and at most 100, in steps of 0.01")
        if weight < last:
            raise node.refuse(
                f"a weight that grows, after {last:g}: falling ones are no steps here"
            )
        if weight > last:
            found.append(StepDraft(weight))
        else:
            rows.differs(node, "the same weight again: one step")
    if len(found) > _MOST_STEPS + 1:
        raise several.refuse(f"at most {_MOST_STEPS + 1} weights")
    _promoted(several, rows)
    return found


def _even(one: Node, most: float, rows: Rows, node: Node | None = None) -> list[StepDraft]:
    by, weight = round(one.number(), 2), 0.0
    if by <= 0 or most <= 0:
        raise one.refuse("a weight of at least 0.01, and a maxWeight of more than 0")
    most = min(most, FULL)
    if most / by > _MOST_STEPS + 1:
        raise one.refuse(f"at most {_MOST_STEPS + 1} steps up to {most:g}")
    found: list[StepDraft] = []
    while weight < most and weight < FULL:
        weight = min(round(weight + by, 2), FULL)
        found.append(StepDraft(weight))
    rows.same(one, f"steps: {', '.join(f'{step.weight:g}' for step in found)}")
    if node is not None:
        if weight > most:
            rows.same(node, f"its steps go beyond it, there as well: {weight:g}")
        else:
            rows.same(node, "the last step before 100 %")
    _promoted(one, rows)
    return found


def _promoted(node: Node, rows: Rows) -> None:
    rows.differs(
        node,
        "after the last weight the primary is rolled there, and users go back to it: they are "
        "moved "
        "twice. Here the canary gets 100 % and becomes stable itself",
    )
