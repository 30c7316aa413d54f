"""Steps of a canary Rollout as steps of a strategy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from aviary.moving.argo_templates import Analysis
from aviary.moving.drafts import FULL, ZERO, StepDraft
from aviary.moving.lengths import length
from aviary.moving.rows import Rows
from aviary.moving.source import Node, RefusedError, quoted

_LONGEST: Final = timedelta(days=366)
INSTEAD: Final = {
    "setCanaryScale": "a deployer has as many instances ready as a weight needs: `deploy.scale`",
    "setHeaderRoute": "no step for some users alone; a version can be asked for by header or "
    "cookie, "
    "where the router can (docs/how-to/routers.md)",
    "setMirrorRoute": "write it as a step by hand: {mirror: 25}",
    "experiment": "no baseline beside the canary: it is compared with stable",
    "plugin": "no plug-in of Argo: a hook at before_step can call another system "
    "(docs/how-to/hooks.md)",
    "replicaProgressThreshold": "a deployer waits for as many instances as a weight needs",
}
Judge = Callable[[Node], Analysis]


def read_steps(steps: Node, most: float, judge: Judge, rows: Rows) -> list[StepDraft]:
    """All steps.

    Args:
        steps: the list.
        most: the weight that is all requests.
        judge: reads the analysis of a step.
        rows: what became of each.

    Raises:
        RefusedError: weights fall, or a step is not understood.
    """
    found: list[StepDraft] = []
    for node in steps.items():
        kinds = [name for name in node.fields() if node.get(name) is not None]
        for kind in kinds:
            if kind in INSTEAD:
                rows.none(node.need(kind), INSTEAD[kind])
        kinds = [kind for kind in kinds if kind not in INSTEAD]
        if len(kinds) > 1 or not node.fields():
            raise RefusedError(node.place, f"one kind of step expected, got {len(kinds)}")
        for kind in kinds:
            if kind == "setWeight":
                _weight(node.need(kind), most, found, rows)
            elif kind == "pause":
                _pause(node.need(kind), found, rows)
            elif kind == "analysis":
                _analysis(node.need(kind), found, judge, rows)
            else:
                raise RefusedError(node.place, f"{quoted(kind)} is no step that is known here")
    if not found:
        rows.differs(steps, "no weight: 100 % at once, in one write of the route")
    return found or [StepDraft(FULL)]


def _weight(node: Node, most: float, found: list[StepDraft], rows: Rows) -> None:
    written = node.number()
    weight = round(written / most * FULL, 2)
    if not 0 <= written <= most:
        raise node.refuse(f"a weight from 0 to {most:g}")
    if weight == 0:
        rows.none(
            node,
            "a version that is up without requests is no step: it is ready before its first "
            "weight, "
            "and a hook at before_canary can test it (docs/how-to/hooks.md)",
        )
        if found:
            raise node.refuse("a weight that grows: falling weights are no steps here")
        return
    last = found[-1].weight if found else 0.0
    if weight < last:
        raise node.refuse(f"a weight that grows, after {last:g}: falling weights are no steps here")
    if weight == last:
        rows.differs(node, "the same weight again: it is one step, held as long as both")
        return
    found.append(StepDraft(weight))
    if most == FULL:
        rows.same(node, f"weight: {weight:g}")
    else:
        rows.differs(node, f"of a maxTrafficWeight of {most:g}: {weight:g} %")


def _pause(node: Node, found: list[StepDraft], rows: Rows) -> None:
    duration = node.get("duration")
    if not found:
        rows.none(
            node,
            "no request goes to the version yet: approve in the pipeline before the event, or by "
            "a hook "
            "at before_canary with on_no: gate (docs/how-to/hooks.md)",
        )
        return
    step = found[-1]
    if duration is None:
        if step.gate:
            rows.differs(node, "a second approval at one weight: asked once")
        else:
            rows.same(node, "gate: true")
        step.gate = True
        return
    if step.gate:
        rows.differs(node, "after the approval there; here a bake comes before its gate")
    else:
        rows.same(node, "bake: what is judged at all, is judged meanwhile")
    step.hold(length(duration))
    _short(step, node)


def _analysis(node: Node, found: list[StepDraft], judge: Judge, rows: Rows) -> None:
    analysis = judge(node)
    if not found:
        rows.none(
            node.place,
            "before the first weight, so that there are no requests to judge: its metrics are "
            "judged "
            "from the first weight on",
        )
        return
    add_run(found[-1], analysis, node)
    rows.differs(
        node,
        "its metrics are judged at every weight, and not in this step alone: stricter; the step "
        "is held "
        "as long as the analysis runs",
    )


def add_run(step: StepDraft, analysis: Analysis, node: Node) -> None:
    """Hold a step as long as an analysis runs.

    Raises:
        RefusedError: it never ends.
    """
    if any(run is None for run in analysis.runs):
        text = "an interval without a count: it never ends, which Argo refuses as a step as well"
        raise RefusedError(node.place, text)
    runs = [run for run in analysis.runs if run is not None]
    shortest = max((run.shortest for run in runs), default=ZERO)
    step.hold(shortest, max((run.longest for run in runs), default=ZERO))
    _short(step, node)


def _short(step: StepDraft, node: Node) -> None:
    if step.longest > _LONGEST:
        raise RefusedError(node.place, "a weight that is held for more than 366 days")
