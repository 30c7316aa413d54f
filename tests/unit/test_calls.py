"""The table of a canary's calls: what a rollback needs is never given up, nor behind other work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.workflow import ActivityCancellationType

from activities.judge import JUDGE
from activities.ramp import BEGIN_RAMP
from activities.standing import REGISTER, Stand
from activities.traffic import APPLY, READ
from aviary.activity_set import Outside, activity_set
from schemas.ids import deploying_queue, effects_queue, judging_queue, waiting_queue
from schemas.release import Tuning
from tests.unit.report.sample import plan_of
from workflows.calls import CALLS, Call, CallSpec
from workflows.stages import STAGES

PLAN, TUNING = plan_of("payments"), Tuning()
LOOK = Stand(router=PLAN.router, service="payments", target="1", within=timedelta(seconds=7))


def test_every_call_has_a_policy_and_each_stage_names_its_calls() -> None:
    assert set(CALLS) == set(Call)
    named = {call for kind in STAGES.values() for call in kind.calls}
    beside = {Call.ASK_DECIDED, Call.KEEP_LEASE, Call.BLAME}
    assert set(Call) - named == beside, "what is done beside stages"


ROUTES = {READ, APPLY, REGISTER}


@pytest.mark.parametrize("spec", [one for one in CALLS.values() if one.activity in ROUTES])
def test_routes_are_written_for_ever_on_the_queue_of_the_workflows(spec: CallSpec) -> None:
    policy = spec.policy(None, PLAN, TUNING)
    assert spec.queue("aviary") == "aviary"
    assert spec.for_ever
    assert policy.schedule_to_close is None
    assert policy.retry.maximum_interval == TUNING.retry_cap


BOUNDED = {Call.CALL_HOOK, Call.PUT_UP, Call.SCALE, Call.TAKE_DOWN}
"""Given up in time: no answer of a hook is a no, a version that is not up takes the canary back,
and what is not taken down is left to a retirement, which is never given up."""


@pytest.mark.parametrize(
    "spec", [one for call, one in CALLS.items() if one.writes and call not in BOUNDED]
)
def test_what_writes_is_never_given_up(spec: CallSpec) -> None:
    assert spec.for_ever
    assert spec.policy(None, PLAN, TUNING).schedule_to_close is None


def test_every_call_is_served_on_its_queue() -> None:
    @activity.defn(name=JUDGE)
    async def judge() -> None: ...

    @activity.defn(name=BEGIN_RAMP)
    async def begin_ramp() -> None: ...

    none: Any = None
    outside = Outside(
        routers=none,
        hooks=none,
        catalog=none,
        log=none,
        notifier=none,
        alerts=none,
        reports=none,
        runs=none,
        judge=judge,
        begin_ramp=begin_ramp,
    )
    served = activity_set(none, outside)
    lists = {
        "aviary": served.routers,
        judging_queue("aviary"): served.judging,
        effects_queue("aviary"): served.effects,
        waiting_queue("aviary"): served.waiting,
        deploying_queue("aviary"): served.deploying,
    }
    names = {
        (queue, getattr(one, "__temporal_activity_definition").name)
        for queue, members in lists.items()
        for one in members
    }
    missing = {(one.queue("aviary"), one.activity) for one in CALLS.values()} - names
    assert missing == set(), "expected in aviary/activity_set.py"


def test_whatever_else_takes_time_has_a_queue_of_its_own() -> None:
    others = [one for one in CALLS.values() if one.activity not in ROUTES]
    assert all(one.queue("aviary") != "aviary" for one in others)


def test_only_the_judge_is_waited_for_when_it_is_cancelled() -> None:
    waits = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
    assert [call for call, one in CALLS.items() if one.cancellation is waits] == [Call.JUDGE]


def test_a_look_takes_as_much_longer_as_the_instances_may_take() -> None:
    spec = CALLS[Call.LOOK_AT_INSTANCES]
    plain = spec.policy(LOOK.model_copy(update={"within": timedelta(0)}), PLAN, TUNING)
    longer = spec.policy(LOOK, PLAN, TUNING)
    assert longer.start_to_close - plain.start_to_close == LOOK.within
    assert plain.schedule_to_close is not None
    assert longer.schedule_to_close == plain.schedule_to_close + timedelta(seconds=7)
