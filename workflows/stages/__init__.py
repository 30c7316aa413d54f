"""The stages of a canary: one module a kind, its *do* beside its *undo*.

What belongs here: how a kind of stage is done and undone, the calls that it makes, its words for
people. What does not: which stage is next (`workflows/canary_plan.py`), and anything that a stage
would have to know of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from workflows.stages import (
    bake,
    deploy,
    first_deployment,
    flags,
    gate,
    hold,
    hook,
    in_step,
    mirror,
    preflight,
    preview,
    promote,
    ramp,
    retire,
    shift,
    stale,
    watch,
)
from workflows.stages.context import StageKind

STAGES: Final[Mapping[str, StageKind]] = {
    "deploy": deploy.KIND,
    "preflight": preflight.KIND,
    "hook": hook.KIND,
    "first_deployment": first_deployment.KIND,
    "ramp": ramp.KIND,
    "flags": flags.KIND,
    "preview": preview.KIND,
    "mirror": mirror.KIND,
    "shift": shift.KIND,
    "bake": bake.KIND,
    "gate": gate.KIND,
    "in_step": in_step.KIND,
    "hold": hold.KIND,
    "promote": promote.KIND,
    "retire": retire.KIND,
    "watch": watch.KIND,
    "stale": stale.KIND,
}
"""Every kind of `schemas.stages.KINDS`, and how it is done."""
