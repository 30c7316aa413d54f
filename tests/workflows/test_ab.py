"""An A/B test on the real server: half of the users, a person's pick, and the loser taken back."""

from __future__ import annotations

from typing import Any

import pytest

from aviary.api.source import TemporalReleases
from aviary.releases.picking import picked, words_of
from aviary.settings import load_settings
from schemas.event_kinds import EventType
from schemas.release import Command, ReleasePhase
from schemas.verdict import VerdictKind
from tests.workflows.kit import World

AB: dict[str, Any] = {"shape": "ab", "ab": {"metric": "orders", "lasts": "1h"}}
ORDERS = {"name": "orders", "kind": "ratio", "bad": "vector(0)", "total": "vector(1)"}
METRICS: dict[str, Any] = {
    "defaults": {"router": {"kind": "memory"}, "metrics": [ORDERS], "strategy": "test"}
}


@pytest.mark.parametrize(
    ("kind", "winner", "ends"),
    [
        (VerdictKind.PASS, "2", ReleasePhase.FINALIZED),
        (VerdictKind.PASS, "0", ReleasePhase.ROLLED_BACK),
        (VerdictKind.INCONCLUSIVE, "2", ReleasePhase.FINALIZED),
    ],
)
async def test_a_person_picks_the_winner_whatever_was_shown(
    world: World, kind: VerdictKind, winner: str, ends: ReleasePhase
) -> None:
    ledger = world.service("ledger")
    world.judge.says[ledger, 50.0] = kind
    release = await world.release({"ledger": []}, strategy=AB, **METRICS)
    status = await release.until(ledger="gated")
    (service,) = status.services
    assert service.weight == 50
    assert service.picks == ("0", "2")
    assert "the winner, 0 or 2 (approve is 2, rollback is 0): " in service.waits_for
    assert f"{ledger} at 50 %: {kind}" in service.waits_for
    canaries = {ledger: await release.canary_status("ledger")}
    _, word = picked(canaries, "r", winner, None)
    await release.handle.signal(word, Command(by="ann", reason=f"picked {winner}"))
    ended = await release.result()
    assert ended.phase is ends
    assert not ended.services[0].picks
    weights = [one.weight for one in world.router.applied if one.canary == "2"]
    assert weights[0] == 50
    last = world.router.applied[-1]
    assert last.stable == winner
    assert last.canary is None
    if winner == "0":
        assert ended.cause is not None
        assert "picked 0" in ended.cause.text
        assert 100 not in weights
    asked = [one for one in world.judge.requests if one.bake is not None]
    assert [one.compare for one in asked] == ["orders"]
    assert all(one.dry_run for one in asked[0].metrics)
    # While nobody has picked yet, it is judged on, and nothing compares.
    assert {one.compare for one in world.judge.requests if one.bake is None} <= {""}
    assert any(one.type == EventType.CANARY_GATED for one in world.log.events)


async def test_a_pick_that_is_said_over_http_counts_once_and_is_found_again(world: World) -> None:
    ledger = world.service("ledger")
    world.judge.says[ledger, 50.0] = VerdictKind.PASS
    release = await world.release({"ledger": []}, strategy=AB, **METRICS)
    await release.until(ledger="gated")
    name = release.handle.id.removeprefix("release/")
    source = TemporalReleases(load_settings(), world.client)
    assert await source.answered(name, "a-key") is None
    look = await source.look(name)
    service, word = picked(look.canaries, name, "2", None)
    command = words_of("2", service, word, "token:ann", "more orders")
    said = await source.say(word, name, command, "a-key")
    assert "token:ann: picked 2: more orders" in said.answer
    assert await source.answered(name, "a-key") == said
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert await source.answered(name, "a-key") == said
    assert await source.answered(name, "another-key") is None


async def test_what_fails_while_a_test_goes_on_takes_it_back(world: World) -> None:
    ledger = world.service("ledger")
    world.judge.says[ledger, 50.0] = VerdictKind.FAIL
    release = await world.release({"ledger": []}, strategy=AB, **METRICS)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
