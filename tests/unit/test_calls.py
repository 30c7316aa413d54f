"""The table of a canary's calls: what a rollback needs is never given up, nor behind other work."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.workflow import ActivityCancellationType

from activities.standing import Stand
from activities.traffic import READ
from schemas.release import Tuning
from tests.unit.report.sample import plan_of
from workflows.calls import CALLS, Call, CallSpec
from workflows.stages import STAGES

PLAN, TUNING = plan_of("payments"), Tuning()
LOOK = Stand(router=PLAN.router, service="payments", target="1", within=timedelta(seconds=7))


def test_every_call_has_a_policy_and_each_stage_names_its_calls() -> None:
    assert set(CALLS) == set(Call)
    named = {call for kind in STAGES.values() for call in kind.calls}
    assert set(Call) - named == {Call.ASK_DECIDED}, "what is done between stages"


@pytest.mark.parametrize(
    "spec", [one for one in CALLS.values() if one.writes or one.activity == READ]
)
def test_routes_are_written_for_ever_on_the_queue_of_the_workflows(spec: CallSpec) -> None:
    policy = spec.policy(None, PLAN, TUNING)
    assert spec.queue("aviary") == "aviary"
    assert spec.for_ever
    assert policy.schedule_to_close is None
    assert policy.retry.maximum_interval == TUNING.retry_cap


def test_whatever_else_takes_time_has_a_queue_of_its_own() -> None:
    others = [one for one in CALLS.values() if not one.writes and one.activity != READ]
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
