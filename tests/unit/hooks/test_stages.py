"""Where the calls of hooks stand among the stages of a canary."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.hooks import Hook
from schemas.stages import BakeStage, HookStage, stages_of
from schemas.strategy import Strategy

STEPS = Strategy.model_validate({"steps": [10, 50], "bake": "1m"})
CERTAIN = Strategy.model_validate({"steps": [10], "bake": "1m", "on_inconclusive": "roll_back"})
RAMP = Strategy.model_validate({"ramp": {"budget": 100}})


def hook(when: Any, name: str = "h", **more: Any) -> Hook:
    call = {"kind": "http", "connection": "c"}
    return Hook.model_validate({"name": name, "when": when, "call": call, **more})


def line(strategy: Strategy, *hooks: Hook, last_point: int = 0) -> list[str]:
    found = []
    for stage in stages_of(strategy, last_point, hooks):
        words: list[str] = [stage.kind]
        if isinstance(stage, HookStage):
            words += [stage.hook.name, stage.moment.value]
        if isinstance(stage, BakeStage) and stage.hooks:
            words += [one.name for one in stage.hooks]
        found.append(" ".join(words))
    return found


def test_without_hooks_there_are_no_more_stages() -> None:
    assert stages_of(STEPS) == stages_of(STEPS, 0, [hook(["before_rollback", "after_finalized"])])


def test_each_moment_has_its_place() -> None:
    every = [
        *("before_canary", "before_step", "during_bake", "after_step", "before_finalize"),
        *("after_finalized", "before_rollback", "after_rolled_back"),
    ]
    step = ["hook h before_step", "shift"]
    assert line(STEPS, hook(every)) == [
        *("preflight", "hook h before_canary", "first_deployment"),
        *(*step, "bake h", "hook h after_step", "gate"),
        *(*step, "bake h", "hook h after_step", "gate"),
        *(*step, "hook h after_step"),
        *("hook h before_finalize", "hold", "promote"),
    ]


@pytest.mark.parametrize(
    ("moment", "before_the_gate"),
    [
        ("before_canary", "hook h before_canary"),
        ("before_step", "hook h before_step"),
        ("during_bake", "bake h"),
        ("after_step", "hook h after_step"),
        ("before_finalize", "hook h before_finalize"),
    ],
)
def test_a_gate_follows_where_a_no_asks_a_person(moment: str, before_the_gate: str) -> None:
    found = line(CERTAIN, hook(moment, on_no="gate"))
    places = [at for at, words in enumerate(found) if words == before_the_gate]
    assert places
    assert all(found[at + 1] == "gate" for at in places)
    assert "gate" not in line(CERTAIN, hook(moment))


def test_hooks_of_a_moment_are_asked_in_their_order_with_one_gate_behind() -> None:
    found = line(CERTAIN, hook("before_canary", "x", on_no="gate"), hook("before_canary", "y"))
    assert found[1:4] == ["hook x before_canary", "hook y before_canary", "gate"]


def test_a_group_comes_together_before_the_next_step_is_asked_about() -> None:
    found = line(CERTAIN, hook("before_step"), last_point=2)
    assert found[2:7] == ["hook h before_step", "shift", "bake", "in_step", "hook h before_step"]


def test_a_ramp_is_one_step() -> None:
    assert line(RAMP, hook(["before_step", "after_step"])) == [
        *("preflight", "first_deployment", "hook h before_step", "ramp", "gate"),
        *("shift", "hook h after_step", "hold", "promote"),
    ]
