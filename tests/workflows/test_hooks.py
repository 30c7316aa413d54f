"""Hooks: each moment comes when it should, once; each answer does what the catalog says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Literal

import httpx
import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from adapters.errors import Retryable, Terminal
from adapters.hooks.http.connection import HttpHookConnection
from adapters.hooks.tokens import Called
from aviary.answer_door import PATH, AnswerDoor, ByTemporal, tokens_of, with_door
from aviary.hook_answers import Given, give
from aviary.settings import load_settings
from aviary.webhook import WebhookOptions, create_app
from schemas.decisions import Did, Heard
from schemas.hooks import HookAnswer, HookMoment, LateAnswer, NotTaken, Said
from schemas.ids import (
    SIGNAL_APPROVE,
    SIGNAL_HOOK_ANSWER,
    SIGNAL_ROLLBACK,
    SIGNAL_SKIP,
    hook_workflow_id,
)
from schemas.release import CanaryOutcome, CanaryPhase, CauseKind, Command, ReleasePhase
from schemas.verdict import VerdictKind
from tests.unit.ingestion.fakes import FakeWriter
from tests.workflows.kit import Release, World, eventually
from tests.workflows.test_resets import reset

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CONNECTION = HttpHookConnection.model_validate({"url": "http://127.0.0.1:9/", "secret": SECRET})
ONE_STEP = {"steps": [50], "bake": "1m"}
FORWARD = ("before_canary", "before_step", "during_bake", "after_step", "before_finalize")
EVERY = [moment.value for moment in HookMoment]
ANN = Command(by="ann")
DOOR_SETTINGS: Final = load_settings(
    hook_answer_secret="a-secret-of-24-characters",
    hook_answer_url="https://aviary.example/hooks/answer",
)
DOOR: Final = with_door(DOOR_SETTINGS)


async def hooked(
    world: World, when: Any, strategy: Mapping[str, Any] = ONE_STEP, **more: Any
) -> Release:
    """A release of one service with one hook."""
    world.connections = {"c": CONNECTION}
    hook = {"name": "h", "when": when, "call": {"kind": "http", "connection": "c"}, **more}
    return await world.release({"a": []}, strategy=strategy, hooks=[hook])


def shares(world: World) -> list[float]:
    return world.router.weights(world.service("a"))


async def outcome(release: Release) -> CanaryOutcome:
    canary = release.canary("a").id
    handle = release.world.client.get_workflow_handle(canary, result_type=CanaryOutcome)
    found: CanaryOutcome = await handle.result()
    return found


async def test_each_moment_comes_in_its_turn_and_once(world: World) -> None:
    world.hook.look = lambda: shares(world)
    release = await hooked(world, EVERY, {"steps": [10, 50], "bake": "1m"})
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    expected = [
        ("before_canary", None, []),
        *(("before_step", 1, []), ("during_bake", 1, [10]), ("after_step", 1, [10])),
        *(("before_step", 2, [10]), ("during_bake", 2, [10, 50]), ("after_step", 2, [10, 50])),
        *(("before_step", 3, [10, 50]), ("after_step", 3, [10, 50, 100])),
        ("before_finalize", None, [10, 50, 100]),
    ]

    def told() -> bool:
        return ("after_finalized", None) in world.hook.moments

    await eventually(told)
    called = [(*one, seen) for one, seen in zip(world.hook.moments, world.hook.seen, strict=True)]
    assert called[: len(expected)] == expected
    assert world.hook.moments[len(expected) :] == [("after_finalized", None)]


async def test_a_hook_is_told_what_it_is_about(world: World) -> None:
    release = await hooked(world, "before_step")
    await release.result()
    first, last = world.hook.calls
    assert first.data.service == first.subject == world.service("a")
    assert (first.data.version, first.data.stable) == ("2", "0")
    assert (first.data.step, first.data.steps, first.data.weight) == (1, 2, 0)
    assert (last.data.step, last.data.weight) == (2, 50)
    assert first.data.answer_by == first.time + timedelta(minutes=5)
    assert first.source == f"/aviary/release/{first.data.release}"
    assert first.id != last.id


@pytest.mark.parametrize("moment", FORWARD)
async def test_a_no_takes_the_release_back(world: World, moment: str) -> None:
    world.hook.says_no()
    release = await hooked(world, moment)
    status = await release.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert status.cause.kind is CauseKind.HOOK
    assert status.cause.text == "hook h said no: 3 of 12 requests failed"
    if moment in {"before_canary", "before_step"}:
        assert shares(world) == [], "no request was moved"
    (record,) = (await outcome(release)).decisions
    assert (record.heard, record.did) == (Heard.HOOK, Did.BACK)


@pytest.mark.parametrize("moment", FORWARD)
async def test_a_no_may_ask_a_person(world: World, moment: str) -> None:
    world.hook.says_no()
    strategy = {**ONE_STEP, "on_inconclusive": "roll_back"}
    release = await hooked(world, moment, strategy, on_no="gate")
    gates = 2 if moment in {"before_step", "after_step"} else 1
    for _ in range(gates):
        await release.until(a="gated")
        assert await release.waits_for("hook h said no: 3 of 12 requests failed")
        await release.handle.execute_update(SIGNAL_APPROVE, ANN)

        async def gone_on() -> bool:
            return (await release.phases())["a"] != "gated"

        await eventually(gone_on)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    noted = [one for one in (await outcome(release)).decisions if one.heard is Heard.HOOK]
    assert {one.did for one in noted} == {Did.ASKED}


async def test_a_no_may_be_recorded_alone(world: World) -> None:
    world.hook.says_no()
    release = await hooked(world, list(FORWARD), on_no="ignore")
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    noted = [one for one in (await outcome(release)).decisions if one.heard is Heard.HOOK]
    assert {one.text for one in noted} == {"hook h said no: 3 of 12 requests failed"}


async def test_silence_is_a_no_once_the_deadline_is_over(world: World) -> None:
    world.hook.failure = Retryable("HTTP 503: warming up")
    release = await hooked(world, "before_canary", deadline="4s")
    status = await release.result()
    assert status.cause is not None
    assert status.cause.text == "hook h gave no answer in 4s: HTTP 503: warming up"
    assert len(world.hook.calls) > 1
    assert len({(one.id, one.time) for one in world.hook.calls}) == 1, "the same call each time"


async def test_what_is_not_answered_is_told_while_it_is_tried(world: World) -> None:
    world.hook.failure = Retryable("HTTP 503: warming up")
    release = await hooked(world, "before_canary")
    await eventually(lambda: release.waits_for("HTTP 503: warming up"))
    assert await release.waits_for("hook h, before the canary")
    world.hook.failure = None
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_it_is_called_again_so_many_times(world: World) -> None:
    world.hook.failure = Retryable("HTTP 503")
    release = await hooked(world, "before_canary", retries=4)
    status = await release.result()
    assert status.cause is not None
    assert status.cause.text == "hook h gave no answer in 4 retries: HTTP 503"
    assert len(world.hook.calls) == 5


async def test_what_can_never_be_asked_is_a_no(world: World) -> None:
    world.hook.failure = Terminal("hook kind http: not installed")
    status = await (await hooked(world, "before_canary")).result()
    assert status.cause is not None
    assert status.cause.text.endswith("hook kind http: not installed")


# --- later ---


async def test_an_answer_may_come_later_by_asking_again(world: World) -> None:
    later = HookAnswer(said=Said.LATER, ask_again=timedelta(milliseconds=20))
    world.hook.answers["h"] = later
    release = await hooked(world, "before_canary")
    await eventually(lambda: len(world.hook.calls) > 2)
    del world.hook.answers["h"]
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert len({one.id for one in world.hook.calls}) == 1


@pytest.mark.parametrize("verdict", ["yes", "no"])
async def test_an_answer_may_come_later_by_itself(world: World, verdict: str) -> None:
    world.hook.answers["h"] = HookAnswer(said=Said.LATER)
    release = await hooked(world, "before_canary")
    await eventually(lambda: bool(world.hook.calls))
    call = world.hook.calls[0].id
    canary = release.canary("a")
    for wrong in (None, {"id": call}, {"id": "msg_0", "verdict": "yes"}):
        with pytest.raises(WorkflowUpdateFailedError):
            await canary.execute_update(SIGNAL_HOOK_ANSWER, wrong)
    word = {"id": call, "verdict": verdict, "reason": "looked at it", "by": "ann"}
    await canary.execute_update(SIGNAL_HOOK_ANSWER, word)
    status = await release.result()
    if verdict == "yes":
        assert status.phase is ReleasePhase.FINALIZED
    else:
        assert status.cause is not None
        assert status.cause.text == "hook h said no: looked at it (ann)"


async def test_junk_in_place_of_an_answer_does_nothing(world: World) -> None:
    world.hook.answers["h"] = HookAnswer(said=Said.LATER)
    release = await hooked(world, "before_canary")
    await eventually(lambda: bool(world.hook.calls))
    for junk in (None, "yes", 7, {"verdict": "yes"}, {"id": world.hook.calls[0].id}):
        await release.canary("a").signal(SIGNAL_HOOK_ANSWER, junk)
    word = {"id": world.hook.calls[0].id, "verdict": "yes"}
    await release.canary("a").signal(SIGNAL_HOOK_ANSWER, word)
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_an_answer_that_comes_twice_or_too_late_says_so(world: World) -> None:
    world.hook.answers["h"] = HookAnswer(said=Said.LATER)
    release = await hooked(world, ["before_canary", "before_step"], deadline="2s", on_no="gate")
    service = world.service("a")

    async def given(call: str, verdict: Literal["yes", "no"]) -> Given:
        late = LateAnswer(id=call, verdict=verdict)
        patience = timedelta(seconds=10)
        return await give(world.client, service, late, cell=world.cell, patience=patience)

    await eventually(lambda: bool(world.hook.calls))
    first = world.hook.calls[0].id
    assert (await given("msg_0", "yes")).untaken is NotTaken.UNKNOWN
    assert await given(first, "yes") == Given("the hook has answered")
    again = await given(first, "yes")
    assert (again.untaken, again.heard) == (NotTaken.ALIKE, True)
    assert again.text == "hook h has answered already: yes"
    other = await given(first, "no")
    assert (other.untaken, other.heard) == (NotTaken.OTHERWISE, False)
    await release.until(a="gated")
    second = world.hook.calls[-1].id
    late = await given(second, "yes")
    assert (late.untaken, late.text) == (
        NotTaken.TOO_LATE,
        "too late: hook h gave no answer in 2s",
    )
    shown = (await release.canary_status("a")).hooks
    assert [(one.id, one.step, one.waits) for one in shown] == [
        (first, None, False),
        (second, 1, False),
    ]
    await release.handle.execute_update(SIGNAL_ROLLBACK, ANN)
    await release.result()
    gone = await given(second, "yes")
    assert (gone.untaken, gone.text) == (
        NotTaken.TOO_LATE,
        f"too late: no canary of {service} is under way",
    )


async def test_no_history_has_the_token_that_a_hook_is_given(server: WorkflowEnvironment) -> None:
    world = World(server.client)
    world.with_door = DOOR
    async with world.working():
        await _answers_with_its_token(world)


async def _answers_with_its_token(world: World) -> None:
    world.hook.answers["h"] = HookAnswer(said=Said.LATER)
    world.judge.blocked.add((world.service("a"), 50))
    release = await hooked(world, ["before_canary", "after_finalized"])
    await eventually(lambda: bool(world.hook.calls))
    asked = world.hook.calls[0]
    token = asked.data.answer_token
    assert asked.data.answer_url == "https://aviary.example/hooks/answer"
    tokens = tokens_of(DOOR_SETTINGS)
    assert tokens is not None
    called = tokens.read(token)
    assert called == Called(world.service("a"), asked.id)
    address = world.client.service_client.config.target_host
    found = DOOR_SETTINGS.model_copy(update={"temporal_address": address, "cell": world.cell.name})
    door = AnswerDoor(tokens, ByTemporal(found))
    app = create_app(WebhookOptions(), FakeWriter(), lambda _: None, door=door)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://webhook") as http:
        for taken in (True, False):
            headers = {"authorization": f"Bearer {token}"}
            answer = await http.post(PATH, json={"verdict": "yes"}, headers=headers)
            assert (answer.status_code, answer.json()["taken"]) == (200, taken), answer.text
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    kept = str((await release.canary("a").fetch_history()).events)
    assert asked.id in kept
    assert token.rsplit("/", 1)[1] not in kept
    await eventually(lambda: ("after_finalized", None) in world.hook.moments)
    assert world.hook.calls[-1].data.answer_token == "", "it is told, and not asked"


async def test_a_person_may_skip_the_wait(world: World) -> None:
    world.hook.blocked.add(HookMoment.BEFORE_CANARY)
    release = await hooked(world, "before_canary")
    await release.until(a="checking")
    await release.handle.execute_update(SIGNAL_SKIP, ANN)
    assert (await release.result()).phase is ReleasePhase.FINALIZED


# --- beside the judge ---


async def test_a_no_during_a_bake_ends_the_bake(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 50))
    world.hook.says_no()
    status = await (await hooked(world, "during_bake")).result()
    assert status.cause is not None
    assert status.cause.kind is CauseKind.HOOK


async def test_a_bake_waits_for_its_hook(world: World) -> None:
    world.hook.blocked.add(HookMoment.DURING_BAKE)
    release = await hooked(world, "during_bake")
    await eventually(lambda: release.waits_for("the hooks of the bake of step 1 of 2 to answer"))
    assert shares(world) == [50]
    world.hook.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_verdict_on_made_traffic_says_so(world: World) -> None:
    release = await hooked(world, "during_bake", makes_traffic=True)
    status = await release.result()
    verdict = status.services[0].verdict
    assert verdict is not None
    assert verdict.sentence.endswith("; judged on traffic that hook h made")


async def test_what_has_traffic_is_judged_while_a_hook_is_asked(world: World) -> None:
    world.hook.blocked.add(HookMoment.AFTER_STEP)
    release = await hooked(world, "after_step")
    await release.until(a="checking")
    world.judge.failing.add(world.service("a"))
    status = await release.result()
    assert status.cause is not None
    assert status.cause.kind is CauseKind.VERDICT


# --- going back ---


@pytest.mark.parametrize("moment", ["before_rollback", "after_rolled_back"])
async def test_no_rollback_waits_for_a_hook(world: World, moment: str) -> None:
    world.judge.blocked.add((world.service("a"), 50))
    world.hook.blocked.add(HookMoment(moment))
    release = await hooked(world, [moment])
    await release.until(a="baking")
    await release.alert("a")
    status = await release.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert shares(world) == [50, 0]
    await eventually(lambda: bool(world.hook.calls))
    (call,) = world.hook.calls
    assert call.data.moment == moment
    assert call.data.answer_token == ""
    assert "Errors" in call.data.cause
    world.hook.blocked.clear()
    workflow = hook_workflow_id(call.id, world.cell)
    told = await world.client.get_workflow_handle(workflow).result()
    assert told["answer"]["said"] == "yes"


async def test_after_a_rollback_means_after_it_was_verified(world: World) -> None:
    world.judge.says[world.service("a"), 50] = VerdictKind.FAIL
    world.hook.look = lambda: shares(world)
    release = await hooked(world, "after_rolled_back")
    await release.result()
    await eventually(lambda: bool(world.hook.seen))
    assert world.hook.seen == [[50, 0]]


async def test_an_alert_ends_the_wait_for_a_hook(world: World) -> None:
    world.hook.blocked.add(HookMoment.AFTER_STEP)
    release = await hooked(world, "after_step")
    await release.until(a="checking")
    await release.alert("a")
    status = await release.result()
    assert status.cause is not None
    assert status.cause.kind is CauseKind.ALERT
    assert shares(world) == [50, 0]


# --- once ---


async def test_a_reset_calls_nobody_anew(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 50))
    moments = ["before_canary", "before_rollback", "after_rolled_back"]
    release = await hooked(world, moments)
    await release.until(a="baking")
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()
    await eventually(lambda: len(world.hook.moments) == len(moments))
    await reset(world.client, release.canary("a"), 0.9)
    assert (await outcome(release)).phase is CanaryPhase.ROLLED_BACK
    assert [one.data.moment.value for one in world.hook.calls] == moments
