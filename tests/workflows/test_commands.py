"""What a person may say, when it is refused, and what an alert does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from adapters.errors import Retryable
from schemas.alert import Alert, AlertStatus
from schemas.event_kinds import EventType, NoticeKind
from schemas.ids import (
    SIGNAL_ALERT,
    SIGNAL_ALERTS,
    SIGNAL_APPROVE,
    SIGNAL_FINALIZE,
    SIGNAL_ORDER_ROLLBACK,
    SIGNAL_PAUSE,
    SIGNAL_RESUME,
    SIGNAL_ROLLBACK,
    SIGNAL_SKIP,
)
from schemas.release import CanaryPhase, CanaryState, Command, ReleasePhase
from schemas.route import Route
from schemas.verdict import VerdictKind
from tests.workflows.kit import Release, World, eventually

ANN = Command(by="ann", reason="looks fine")
BAKING = {"steps": [10, 50], "bake": "1h"}


async def _refused(release: Release, word: str, command: Command | None = None) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await release.handle.execute_update(word, command)
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.failure is not None
    assert not cause.failure.stack_trace, "an answer for a person"
    return cause.message


async def test_a_gate_opens_by_approval_alone(world: World) -> None:
    gate = {"steps": [{"weight": 10, "gate": "is the dashboard green?"}]}
    release = await world.release({"a": []}, strategy=gate)
    status = await release.until(a="gated")
    assert "is the dashboard green?" in status.services[0].waits_for
    await eventually(
        lambda: NoticeKind.WAITING in {notice.kind for notice in world.notifier.notices}
    )
    answer = await release.handle.execute_update(SIGNAL_APPROVE, ANN)
    assert answer.startswith("approved by ann: looks fine")
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_an_inconclusive_bake_waits_for_a_person(world: World) -> None:
    world.judge.says[(world.service("a"), 10)] = VerdictKind.INCONCLUSIVE
    release = await world.release({"a": []})
    await release.until(a="gated")
    await release.handle.signal(SIGNAL_APPROVE)
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_an_inconclusive_bake_rolls_back_where_the_strategy_says_so(world: World) -> None:
    world.judge.says[(world.service("a"), 10)] = VerdictKind.INCONCLUSIVE
    strategy = {"steps": [10], "bake": "1m", "on_inconclusive": "roll_back"}
    release = await world.release({"a": []}, strategy=strategy)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


async def test_skip_ends_the_bake(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    release = await world.release({"a": []})
    await release.until(a="baking")
    await release.handle.execute_update(SIGNAL_SKIP, ANN)
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_pause_holds_the_weight_until_resume(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    release = await world.release({"a": [], "b": ["a"]})
    await release.until(a="baking")
    await release.handle.execute_update(SIGNAL_PAUSE, ANN)
    await eventually(release.is_paused)
    world.judge.blocked.clear()
    status = await release.until(a="paused")
    assert status.paused
    assert status.services[0].weight == 10
    await release.handle.execute_update(SIGNAL_RESUME, ANN)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    types = [event.type for event in world.log.events]
    assert types.index(EventType.RELEASE_PAUSED) < types.index(EventType.RELEASE_RESUMED)


async def test_a_paused_canary_is_judged_on(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    release = await world.release({"a": []})
    await release.until(a="baking")
    await release.handle.signal(SIGNAL_PAUSE)
    await eventually(release.is_paused)
    world.judge.blocked.clear()
    await release.until(a="paused")
    world.judge.failing.add(world.service("a"))
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


async def test_wrong_commands_are_refused_with_a_reason(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    release = await world.release({"a": []})
    await release.until(a="baking")
    a = world.service("a")
    refusal = await _refused(release, SIGNAL_APPROVE)
    assert refusal == f"no gate is open; {a} is baking step 1 of 3"
    assert await _refused(release, SIGNAL_RESUME) == "the release is not paused"
    unknown = await _refused(release, SIGNAL_SKIP, Command(service="nobody"))
    assert unknown == f"service: nobody is not in this release: {a}"
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await release.canary("a").execute_update(SIGNAL_APPROVE)
    assert "no gate is open" in str(caught.value.cause)
    await release.handle.execute_update(SIGNAL_ROLLBACK, ANN)
    done = await release.result()
    assert done.cause is not None
    assert (done.cause.by, done.cause.text) == ("ann", "rolled back by ann: looks fine")


@pytest.mark.parametrize("word", [SIGNAL_ORDER_ROLLBACK, SIGNAL_ROLLBACK])
async def test_a_word_that_comes_before_the_first_act_counts(world: World, word: str) -> None:
    canary = await world.canary({"steps": [10]}, first_word=word)
    assert (await canary.result()).phase is CanaryPhase.ROLLED_BACK
    assert not world.router.applied, "it was not begun"


async def test_an_approval_that_the_next_run_hears_first_opens_the_gate(world: World) -> None:
    service = world.service("ledger")
    route = Route.split(service=service, stable="1", canary="2", weight=10, generation=1, owner="r")
    await world.router.register(service, "1")
    await world.router.apply(route)
    fields = CanaryState.model_fields
    nothing = {name: None for name, field in fields.items() if field.is_required()}
    numbers = {"step": 0, "at": 3, "sequence": 3, "weight": 10, "alerts_seen": 0, "go_on": 0}
    flags = {"first": False, "approved": False, "skip": False, "finalize": False}
    flags |= {"alerted": False, "let_by": False, "overrule": False}
    more = {"phase": "gated", "route": route, "alerts": (), "touched": (2,), "decisions": ()}
    waits = CanaryState.model_validate({**nothing, **numbers, **flags, **more})
    gate = {"steps": [{"weight": 10, "gate": {"text": "look"}}]}
    canary = await world.canary(gate, first_word=SIGNAL_APPROVE, resume=waits)
    await canary.signal(SIGNAL_FINALIZE)
    assert (await canary.result()).phase is CanaryPhase.FINALIZED


async def test_rollback_of_one_service_may_overtake_a_stuck_dependent(world: World) -> None:
    strategy = {"steps": [50], "soak": "1h"}
    release = await world.release({"a": [], "b": ["a"]}, strategy=strategy)
    await release.until(a="holding", b="holding")
    world.router.broken.add(world.service("b"))
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.until(b="stuck", a="holding")
    await release.handle.execute_update(
        SIGNAL_ROLLBACK, Command(by="ann", service=world.service("a"))
    )
    await release.until(a="rolled_back", b="stuck")
    world.router.broken.clear()
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


def _alert(**over: object) -> Alert:
    return Alert.model_validate(
        {
            "status": AlertStatus.FIRING,
            "fingerprint": "f1",
            "labels": {"alertname": "Errors", "severity": "critical"},
            "starts_at": datetime.now(UTC),
            **over,
        }
    )


async def test_a_resolved_alert_and_a_repeat_do_nothing(world: World) -> None:
    release = await world.release({"a": []}, strategy={"steps": [50], "soak": "1h"})
    await release.until(a="holding")
    resolved = _alert(status=AlertStatus.RESOLVED)
    warning = _alert(labels={"alertname": "Slow", "severity": "warning"})
    for alert in (resolved, warning, warning):
        await release.canary("a").signal(SIGNAL_ALERT, alert)
    status = await release.canary_status("a")
    assert (status.alerts_seen, status.paused, status.phase) == (2, True, CanaryPhase.HOLDING)
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()


async def test_a_batch_holds_alerts_on_dependents_that_pause_and_on_the_service(
    world: World,
) -> None:
    release = await world.release({"a": []}, strategy={"steps": [50], "soak": "1h"})
    await release.until(a="holding")
    dependent = _alert(labels={"alertname": "Errors", "severity": "critical", "service": "shop"})
    await release.canary("a").signal(SIGNAL_ALERTS, [dependent, {"status": "odd"}, dependent])
    await eventually(release.is_paused)
    status = await release.canary_status("a")
    assert (status.alerts_seen, status.phase) == (1, CanaryPhase.HOLDING)
    own = _alert(fingerprint="f2", labels={"severity": "critical", "service": world.service("a")})
    await release.canary("a").signal(SIGNAL_ALERTS, [dependent, own])
    done = await release.result()
    assert done.cause is not None
    assert done.cause.text == f"alert f2 fired on {world.service('a')}"


@pytest.mark.parametrize(
    "alert",
    [
        _alert(labels={"alertname": "Errors", "severity": "critical", "version": "0"}),
        _alert(starts_at=datetime.now(UTC) - timedelta(hours=1)),
    ],
    ids=["names the stable version", "began before the canary"],
)
async def test_an_alert_that_is_not_the_canarys_pauses(world: World, alert: Alert) -> None:
    release = await world.release({"a": []}, strategy={"steps": [50], "soak": "3s"})
    await release.until(a="holding")
    await release.canary("a").signal(SIGNAL_ALERT, alert)
    await eventually(release.is_paused)
    waits_for = (await release.canary_status("a")).waits_for
    assert "resume: alert Errors fired on" in waits_for, "also before it comes to the pause"
    await eventually(
        lambda: any(
            notice.kind is NoticeKind.WAITING and "resume: alert Errors" in notice.text
            for notice in world.notifier.notices
        )
    )
    assert (await release.status()).phase is ReleasePhase.SOAKING
    await eventually(lambda: release.resumes(ANN))
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_canary_waits_visibly_while_an_alert_fires_before_it(world: World) -> None:
    name = world.service("a")
    world.alerts.alerts = [_alert(labels={"alertname": "Errors", "service": name})]
    release = await world.release({"a": []})

    await eventually(lambda: release.waits_for("Errors"))
    assert world.router.weights(name) == []
    world.alerts.alerts = []
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_an_alert_of_the_stable_version_does_not_hold_its_successor_back(
    world: World,
) -> None:
    """The fix must not wait for what it fixes, nor pause when the old alert is repeated."""
    name = world.service("a")
    labels = {"alertname": "Errors", "severity": "critical", "service": name, "version": "v0"}
    fires = _alert(labels=labels, starts_at=datetime.now(UTC) - timedelta(hours=1))
    world.alerts.alerts = [fires]
    world.judge.blocked.add((name, 10))
    release = await world.release({"a": []})
    await release.until(a="baking")
    await release.canary("a").signal(SIGNAL_ALERT, fires)
    assert not (await release.canary_status("a")).paused
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED


@pytest.mark.parametrize(
    ("labels", "alerts"),
    [
        ({"version": "0"}, {"stable_holds": True}),
        ({"version": "2"}, {}),
        ({"version": "7"}, {}),
        ({}, {}),
    ],
    ids=["stable, where the catalog says so", "its own version", "a third version", "no version"],
)
@pytest.mark.parametrize("word", [SIGNAL_SKIP, SIGNAL_APPROVE])
async def test_what_holds_a_canary_back_is_ended_by_a_person(
    world: World, labels: dict[str, str], alerts: dict[str, bool], word: str
) -> None:
    name = world.service("a")
    fires = _alert(labels={"alertname": "Errors", "service": name, **labels})
    world.alerts.alerts = [fires]
    world.judge.blocked.add((name, 10))
    release = await world.release({"a": []}, defaults={"alerts": alerts})
    await eventually(lambda: release.waits_for("to end"))
    waits_for = (await release.status()).services[0].waits_for
    assert waits_for.endswith("; `skip` or `approve` goes on all the same")
    assert "Errors" in waits_for
    assert world.router.weights(name) == []
    answer = await release.handle.execute_update(word, ANN)
    assert "by ann" in answer
    await release.until(a="baking")
    await release.canary("a").signal(SIGNAL_ALERT, fires)
    assert not (await release.canary_status("a")).paused, "what a person has let by is no news"
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_canary_begins_by_a_persons_word_though_nobody_says_what_fires(
    world: World,
) -> None:
    world.alerts.failure = Retryable("Alertmanager is away")
    release = await world.release({"a": []})
    await release.until(a="preflight")
    by_name = Command(by="ann", service=world.service("a"))
    await eventually(lambda: _began(release, by_name))
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def _began(release: Release, skip: Command) -> bool:
    """The canary refuses until it has come to asking."""
    await release.handle.execute_update(SIGNAL_SKIP, skip)
    return (await release.phases())["a"] != "preflight"


async def test_many_alerts_make_a_sentence_of_bounded_size(world: World) -> None:
    name = world.service("a")
    world.alerts.alerts = [
        _alert(
            fingerprint=f"f{number}",
            labels={"alertname": f"A{number}" + "x" * 1000, "service": name},
        )
        for number in range(1000)
    ]
    release = await world.release({"a": []})
    await eventually(lambda: release.waits_for("to end"))
    waits_for = (await release.status()).services[0].waits_for
    assert "and 995 more" in waits_for
    assert len(waits_for) < 5000
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()


async def test_bakes_without_metrics_are_timers(world: World) -> None:
    release = await world.release(
        {"a": []}, strategy={"steps": [10], "bake": "100ms"}, metrics=False
    )
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.judge.requests == []
