"""The plan of a canary: any order of what is heard and how things end, and some ways in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decisions import Did
from schemas.release import CanaryPhase, Cause, CauseKind
from schemas.stages import KINDS, Effect, Stage, When, stages_of
from schemas.strategy import OnInconclusive, Strategy
from workflows import canary_plan
from workflows.canary_plan import (
    Action,
    AskRelease,
    Do,
    End,
    HandOver,
    Interrupt,
    Keep,
    Pause,
    State,
    Undo,
    Way,
)
from workflows.outcomes import AGAIN, DONE, INTERRUPTED, TOO_LONG, Failed, Outcome
from workflows.stages import STAGES

STEPS = Strategy.model_validate({"steps": [5, {"weight": 50, "gate": "go on?"}], "bake": "1m"})
CAUSE = Cause(kind=CauseKind.ALERT, text="errors", at=datetime(2026, 1, 1, tzinfo=UTC))
ORDER = CAUSE.model_copy(update={"kind": CauseKind.RELEASE, "text": "the release goes back"})


@st.composite
def strategies(draw: st.DrawFn) -> Strategy:
    if draw(st.booleans()):
        return Strategy.model_validate({"ramp": {"budget": 10}})
    weights = draw(st.lists(st.integers(1, 100), min_size=1, max_size=3, unique=True))
    steps = [
        {"weight": weight, "bake": draw(st.sampled_from(["0s", "1m"])), "gate": draw(st.booleans())}
        for weight in sorted(weights)
    ]
    unsure = draw(st.sampled_from(["gate", "roll_back"]))
    return Strategy.model_validate({"steps": steps, "on_inconclusive": unsure})


class Simulation:
    """Carries out the plan as the workflow does; Hypothesis picks what happens."""

    def __init__(self, stages: tuple[Stage, ...], *, routed: bool, unchanged: bool) -> None:
        self.state = State(stages, routed=routed, unchanged=unchanged)
        self.ended: CanaryPhase | None = None
        self.back = False
        """Whether something was heard that takes it back."""
        self.promoted = False
        self.log: list[Action] = []
        self.settle()

    def settle(self) -> None:
        """Begin what is next, unless something is under way; stop what is not to go on."""
        while self.ended is None:
            action = canary_plan.next_action(self.state)
            match action:
                case None:
                    return
                case Interrupt():
                    self.end(INTERRUPTED)
                case End(phase):
                    self.ended = phase
                case _:
                    self.begin(action)

    def begin(self, action: Action) -> None:
        state = self.state
        assert state.under_way is None, "never two at once"
        stage = state.stages[action.index] if isinstance(action, Do) else None
        if stage is not None:
            assert not self.back or self.promoted, f"{stage} after a cause to go back"
        if stage is not None and stage.kind == "promote":
            assert state.finalize, "promoted without being told"
            self.promoted = True
        if stage is not None and stage.moves:
            assert state.pause is None
            assert state.begun or not state.alerted, "an alert was not asked about"
        if stage is not None and stage.when is When.CHANGED:
            assert not state.unchanged
        if isinstance(action, Undo | Keep):
            assert state.way is Way.BACK
        if isinstance(action, Undo) and state.stages[action.index].effect is Effect.INSTANCES:
            left = {state.stages[at].effect for at in state.touched} - state.undone
            assert left == {Effect.INSTANCES}, "instances go last"
        self.log.append(action)
        self.state = canary_plan.began(state, action)
        if stage is not None and stage.effect is not None:
            begun = state.begun or stage.moves
            self.state = replace(canary_plan.touches(self.state), begun=begun)
        if stage is not None and stage.kind == "preflight":
            self.state = canary_plan.asked(self.state)

    def end(self, outcome: Outcome) -> None:
        action = self.state.under_way
        assert action is not None
        self.state = canary_plan.ended(self.state, outcome)
        if isinstance(outcome, Failed):
            self.back |= self.state.way is Way.BACK
        if (
            outcome is DONE
            and isinstance(action, Do)
            and self.state.stages[action.index].kind == "first_deployment"
        ):
            self.state = replace(self.state, routed=True, begun=True, unchanged=True)
        if outcome is DONE and isinstance(action, HandOver):
            self.hand_over()

    def hand_over(self) -> None:
        """What `schemas.release.CanaryState` carries, and what the route tells again."""
        now = self.state
        self.state = State(
            now.stages,
            at=now.at,
            touched=now.touched,
            cause=now.cause,
            finalize=now.finalize,
            pause=now.pause,
            alerted=now.alerted,
            routed=now.routed,
            unchanged=now.unchanged,
            begun=now.begun,
            orphaned=now.orphaned,
        )

    def happenings(self) -> Mapping[str, Any]:
        """What the world may do next: how what is under way ends, and what is heard."""
        state = self.state
        possible: dict[str, Any] = dict.fromkeys(
            ("trouble", "ordered back", "alerted", "pause", "resume", "orphaned", "reset")
        )
        if state.holding or state.reset:
            possible["ordered final"] = None
        match state.under_way:
            case Do(index) if state.stages[index].kind == "hold":
                possible |= {"too long": TOO_LONG, "judged bad": None}
            case Do(index) if state.way is Way.FINAL:
                possible["done"] = DONE
            case Do():
                possible |= {
                    "done": DONE,
                    "again": AGAIN,
                    "fails": Failed(CAUSE),
                    "too long": TOO_LONG,
                }
            case Pause():
                possible |= {"fails": Failed(CAUSE), "too long": TOO_LONG}
                if state.pause is None:
                    possible["done"] = DONE
            case AskRelease():
                possible |= {"had finalized": None, "had not": None}
            case Undo() | Keep() | HandOver():
                possible["done"] = DONE
        return possible

    def happen(self, what: str) -> None:
        outcome = self.happenings()[what]
        state = self.state
        match what:
            case "trouble" | "judged bad":
                self.state, did = canary_plan.trouble(state, CAUSE)
                assert (did is Did.BACK) == (self.state.way is not state.way)
            case "ordered back":
                self.state, _ = canary_plan.ordered_back(state, ORDER)
            case "ordered final":
                self.state, _ = canary_plan.ordered_final(state)
            case "alerted":
                self.state = canary_plan.alerted(state)
            case "pause":
                self.state = canary_plan.paused(state, "ann")
            case "resume":
                self.state = canary_plan.paused(state, None)
            case "orphaned":
                self.state = replace(state, orphaned=True)
            case "reset":
                self.state = replace(state, reset=True)
            case "had finalized" | "had not":
                self.state = canary_plan.release_decided(state, final=what == "had finalized")
                self.end(DONE)
            case _:
                self.end(outcome)
        self.back |= self.state.way is Way.BACK
        self.settle()

    def finish(self) -> None:
        """Nothing more is heard but the release's order to go back: it must come to its end."""
        self.happen("ordered back")
        for _ in range(20):
            if self.ended is None:
                self.happen("done")


@given(strategies(), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_any_canary_ends_as_it_must(
    strategy: Strategy, deploys: bool, routed: bool, unchanged: bool, data: st.DataObject
) -> None:
    stages = stages_of(strategy, deploys=deploys)
    run = Simulation(stages, routed=routed, unchanged=routed and unchanged)
    for _ in range(data.draw(st.integers(0, 40))):
        if run.ended is not None:
            break
        possible = sorted(run.happenings())
        assert possible, "nothing can come any more"
        run.happen(data.draw(st.sampled_from(possible)))
    if run.ended is None:
        run.finish()
    assert run.ended is not None, f"never ends: {run.state}"
    if run.back and not run.promoted:
        assert run.state.first or run.ended is CanaryPhase.ROLLED_BACK
        if run.state.touched:
            undone = run.log[-1]
            assert isinstance(undone, Undo), "it may have traffic"
    else:
        assert run.promoted
        assert run.ended is CanaryPhase.FINALIZED


class Other(StrEnum):
    """Effects of stages that are still to come."""

    DEPLOYMENT = "deployment"
    HOOK = "hook"
    MIRROR = "mirror"


@dataclass(frozen=True)
class Made:
    """A stage as far as the plan looks at it."""

    kind: str
    effect: Effect | Other | None = None
    moves: bool = False
    when: When = When.ALWAYS


MANY = cast(
    "tuple[Stage, ...]",
    (
        Made("deploy", Other.DEPLOYMENT),
        Made("mirror", Other.MIRROR),
        Made("shift", Effect.TRAFFIC),
        Made("hook", Other.HOOK),
        Made("shift", Effect.TRAFFIC),
        Made("deploy", Other.DEPLOYMENT),
        Made("hold"),
        Made("promote"),
    ),
)


@given(st.frozensets(st.integers(0, 5)), st.booleans())
def test_what_was_done_is_undone_in_reverse_but_for_the_route_which_is_first(
    touched: frozenset[int], reset: bool
) -> None:
    order = canary_plan.undo_order(State(MANY, touched=touched, reset=reset))
    done = range(6) if reset else touched
    effects = [MANY[index].effect for index in order]
    assert set(effects) == {MANY[index].effect for index in done}
    assert len(effects) == len(set(effects)), "once for each effect"
    rest = order[1:] if effects and effects[0] is Effect.TRAFFIC else order
    assert Effect.TRAFFIC not in {MANY[index].effect for index in rest}
    assert rest == sorted(rest, reverse=True)
    assert all(
        max(at for at in done if MANY[at].effect == MANY[one].effect) == one for one in order
    )


# --- some ways in full ---


def way(state: State, *steps: tuple[str, Any]) -> list[str]:
    """What is done, stage by stage, when everything goes well but for what is heard on the way."""
    said, done = dict(steps), 0
    heard: list[str] = []
    while True:
        action = canary_plan.next_action(state)
        if isinstance(action, End):
            return [*heard, f"end {action.phase}"]
        if action is None:
            raise AssertionError(f"waits: {heard}")
        if isinstance(action, Interrupt):
            heard.append("interrupt")
            state = canary_plan.ended(state, INTERRUPTED)
            continue
        name = named(state, action)
        heard.append(name)
        state = canary_plan.began(state, action)
        if isinstance(action, Do) and state.stages[action.index].effect is not None:
            state = replace(canary_plan.touches(state), begun=True)
        change = said.pop(name, None)
        if change is not None:
            state = change(state)
        if canary_plan.next_action(state) is None:
            state = canary_plan.ended(state, DONE)
        done += 1
        assert done < 50, heard


def named(state: State, action: Action) -> str:
    match action:
        case Do(index) | Pause(index) | Undo(index):
            stage = state.stages[index]
            place = "" if stage.step is None else f" {stage.step}"
            return f"{type(action).__name__.lower()} {stage.kind}{place}"
        case _:
            return type(action).__name__.lower()


def back(state: State) -> State:
    return canary_plan.trouble(state, CAUSE)[0]


def ordered(state: State) -> State:
    return canary_plan.ordered_back(state, ORDER)[0]


def final(state: State) -> State:
    return canary_plan.ordered_final(state)[0]


ROUTED = State(stages_of(STEPS), routed=True)
FORWARD = [
    "do preflight",
    "do shift 0",
    "do bake 0",
    "do gate 0",
    "do shift 1",
    "do bake 1",
    "do gate 1",
    "do shift 2",
    "do hold",
]


def test_a_healthy_canary() -> None:
    assert way(ROUTED, ("do hold", final)) == [
        *FORWARD,
        "interrupt",
        "do promote",
        "end finalized",
    ]


DEPLOYED = State(stages_of(STEPS, deploys=True), routed=True)


def test_a_version_is_put_up_first_and_the_old_one_goes_last() -> None:
    assert way(DEPLOYED, ("do hold", final)) == [
        "do deploy",
        *FORWARD,
        "interrupt",
        "do promote",
        "do retire",
        "end finalized",
    ]


def test_instances_go_after_the_route() -> None:
    assert way(DEPLOYED, ("do bake 1", back)) == [
        "do deploy",
        *FORWARD[:6],
        "interrupt",
        "undo shift 1",
        "undo deploy",
        "end rolled_back",
    ]


def test_what_is_not_ready_in_time_goes_without_a_route_write() -> None:
    assert way(DEPLOYED, ("do deploy", back)) == [
        "do deploy",
        "interrupt",
        "undo deploy",
        "end rolled_back",
    ]


def test_a_version_that_a_person_keeps_keeps_its_instances() -> None:
    def keeps(state: State) -> State:
        return canary_plan.kept(state, "ann")

    kept = way(DEPLOYED, ("do bake 0", back), ("undo shift 0", keeps))
    assert kept[-3:] == ["undo shift 0", "keep", "end finalized"]


def test_only_an_order_ends_holding() -> None:
    holding = canary_plan.began(replace(ROUTED, at=9), Do(9))
    assert canary_plan.next_action(canary_plan.ended(holding, DONE)) == Do(9)


def test_an_alert_in_a_bake() -> None:
    assert way(ROUTED, ("do bake 1", back)) == [
        *FORWARD[:6],
        "interrupt",
        "undo shift 1",
        "end rolled_back",
    ]


def test_an_alert_before_the_first_request() -> None:
    assert way(ROUTED, ("do preflight", back)) == ["do preflight", "interrupt", "end rolled_back"]


def test_an_alert_while_holding_waits_for_the_release() -> None:
    assert canary_plan.trouble(replace(ROUTED, at=9), CAUSE)[1] is Did.TOLD
    told = [*FORWARD, "interrupt", "undo shift 2", "end rolled_back"]
    assert way(ROUTED, ("do hold", lambda state: ordered(back(state)))) == told


@pytest.mark.parametrize("finalized", [True, False])
def test_an_alert_while_holding_without_a_release(finalized: bool) -> None:
    ends = ["do promote", "end finalized"] if finalized else ["undo shift 2", "end rolled_back"]
    assert way(
        ROUTED,
        ("do hold", lambda state: replace(back(state), orphaned=True)),
        ("askrelease", lambda state: canary_plan.release_decided(state, final=finalized)),
    ) == [*FORWARD, "interrupt", "askrelease", "interrupt", *ends]


def test_a_pause_comes_before_the_next_requests() -> None:
    assert way(
        ROUTED,
        ("do bake 0", lambda state: canary_plan.paused(state, "ann")),
        ("pause shift 1", lambda state: canary_plan.paused(state, None)),
        ("do hold", final),
    )[3:6] == ["do gate 0", "pause shift 1", "do shift 1"]


def test_an_alert_before_the_first_request_is_asked_about() -> None:
    def heard(state: State) -> State:
        return canary_plan.alerted(canary_plan.asked(state))

    once, again = (canary_plan.began(ROUTED, Do(0)) for _ in range(2))
    once = canary_plan.ended(canary_plan.asked(once), DONE)
    assert canary_plan.next_action(once) == Do(2)
    again = canary_plan.ended(heard(again), DONE)
    assert canary_plan.next_action(again) == Do(0)
    assert canary_plan.next_action(replace(again, pause="ann")) == Pause(2)
    again = canary_plan.ended(canary_plan.asked(canary_plan.began(again, Do(0))), DONE)
    assert canary_plan.next_action(again) == Do(2)


def test_a_first_deployment() -> None:
    unrouted = State(stages_of(STEPS))
    routed = {"routed": True, "unchanged": True, "first": True}
    assert way(
        unrouted,
        ("do first_deployment", lambda state: replace(state, **routed)),
        ("do hold", final),
    ) == [
        "do preflight",
        "do first_deployment",
        "do hold",
        "interrupt",
        "do promote",
        "end finalized",
    ]
    assert way(
        unrouted,
        ("do first_deployment", lambda state: replace(state, **routed)),
        ("do hold", ordered),
    )[-3:] == ["interrupt", "undo first_deployment", "end finalized"], "nothing is to go back to"


def test_a_version_that_is_stable_already_holds() -> None:
    assert way(replace(ROUTED, unchanged=True), ("do hold", final))[:2] == [
        "do preflight",
        "do hold",
    ]


def test_one_that_was_reset_goes_back_for_all_that_it_may_have_done() -> None:
    reset = replace(ROUTED, reset=True)
    assert way(reset, ("do preflight", back)) == [
        "do preflight",
        "interrupt",
        "undo shift 2",
        "undo first_deployment",
        "end rolled_back",
    ]


def test_one_that_was_reset_and_is_told_to_finalize_does_so_at_once() -> None:
    reset = replace(ROUTED, reset=True)
    assert way(reset, ("do bake 0", final))[-3:] == ["interrupt", "do promote", "end finalized"]


def test_an_order_that_comes_too_early_waits_for_holding() -> None:
    early = canary_plan.ordered_final(replace(ROUTED, at=3, under_way=Do(3)))[0]
    assert canary_plan.next_action(early) is None, "the bake goes on"
    assert way(ROUTED, ("do bake 0", final)) == [*FORWARD[:-1], "do promote", "end finalized"]


def test_one_that_only_promotes_hears_no_cause() -> None:
    state = canary_plan.promoting(ROUTED.stages)
    assert canary_plan.trouble(state, CAUSE) == (state, Did.TOO_LATE)
    assert way(state, ("do promote", back)) == ["do promote", "end finalized"]


def test_one_that_only_restores_undoes_whatever_may_have_been_done() -> None:
    state = canary_plan.restoring(ROUTED.stages, CAUSE)
    assert way(state) == ["undo shift 2", "undo first_deployment", "end rolled_back"]


def test_what_a_person_keeps_stays() -> None:
    kept = ("undo shift 2", lambda state: canary_plan.kept(state, "kept by ann"))
    ended = way(canary_plan.restoring(ROUTED.stages, CAUSE), kept)
    assert ended == ["undo shift 2", "undo first_deployment", "keep", "end finalized"]


def test_a_long_history_is_handed_over_and_a_cause_comes_first() -> None:
    long = canary_plan.ended(canary_plan.began(ROUTED, Do(0)), TOO_LONG)
    assert canary_plan.next_action(long) == HandOver()
    begun = canary_plan.began(long, HandOver())
    assert canary_plan.next_action(back(begun)) == Interrupt()
    assert isinstance(canary_plan.next_action(canary_plan.ended(back(begun), INTERRUPTED)), End)


def test_the_tables_have_the_same_kinds() -> None:
    assert list(KINDS) == list(STAGES)
    assert all(KINDS[kind].model_fields["kind"].default == kind for kind in KINDS)
    for kind, done in STAGES.items():
        assert (KINDS[kind].effect is not None) == (done.undo is not None), kind


def names(stages: Iterable[Stage]) -> list[str]:
    return [f"{one.kind} {one.step}" if one.step is not None else one.kind for one in stages]


def test_a_strategy_makes_its_stages() -> None:
    assert names(stages_of(STEPS)) == [
        "preflight",
        "first_deployment",
        *(f"{kind} {step}" for step in (0, 1) for kind in ("shift", "bake", "gate")),
        "shift 2",
        "hold",
        "promote",
    ]
    by_silence = STEPS.model_copy(update={"on_inconclusive": OnInconclusive.ROLL_BACK})
    assert "gate 0" not in names(stages_of(by_silence))
    assert "gate 1" in names(stages_of(by_silence))
    ramp = Strategy.model_validate({"ramp": {"budget": 5}})
    assert names(stages_of(ramp))[2:5] == ["ramp", "gate", "shift 0"]
