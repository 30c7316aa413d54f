"""The trail that the judging activity leaves: in its result, over restarts, never in evidence."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.judge import JudgeResult
from schemas.trail import Trail
from tests.unit.test_judge_activity import T0, Shop, _judge, _request


async def _interrupted(after_s: float) -> list[Any]:
    """The heartbeats of an attempt whose worker goes away."""
    shop = Shop(bad=0.02)
    environment = ActivityEnvironment()
    beats: list[Any] = []

    def on_heartbeat(*details: Any) -> None:
        beats.append(json.loads(json.dumps(details[0])))
        if shop.now >= T0 + timedelta(seconds=after_s):
            raise ConnectionError("the worker is gone")

    environment.on_heartbeat = on_heartbeat
    with pytest.raises(ConnectionError):
        await _judge(shop, _request(), environment)
    return beats


async def _resumed(*details: Any) -> JudgeResult:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        ActivityEnvironment.default_info(), heartbeat_details=details
    )
    shop = Shop(bad=0.02)
    shop.now = T0 + timedelta(seconds=6)
    return await _judge(shop, _request(), environment)


async def test_a_bake_leaves_its_trail_and_keeps_it_out_of_the_evidence() -> None:
    result = await _judge(Shop(), _request())
    trail = Trail.model_validate(result.trail)
    assert trail.began_at == T0
    assert trail.at == tuple(range(11))
    assert sum(trail.metrics["errors"].streams[0].canary) == result.verdict.metrics[0].canary.total
    assert "trail" not in result.evidence


async def test_the_next_step_has_a_trail_of_its_own() -> None:
    first = await _judge(Shop(), _request())
    shop = Shop()
    shop.now = T0 + timedelta(seconds=20)
    over: dict[str, Any] = {
        "evidence": first.evidence,
        "started_at": shop.now,
        "weight_changed_at": shop.now,
    }
    second = await _judge(shop, _request(**over))
    trail = Trail.model_validate(second.trail)
    assert trail.began_at == T0 + timedelta(seconds=20)
    assert sum(trail.metrics["errors"].streams[0].canary) == 100 * trail.at[-1]


async def test_another_attempt_goes_on_with_the_trail() -> None:
    beats = await _interrupted(5)
    trail = Trail.model_validate((await _resumed(beats[-1])).trail)
    assert trail.began_at == T0
    assert trail.at[:7] == (0, 1, 2, 3, 4, 5, 6)


async def test_a_heartbeat_without_a_trail_is_gone_on_from() -> None:
    beats = await _interrupted(5)
    del beats[-1]["trail"]
    trail = Trail.model_validate((await _resumed(beats[-1])).trail)
    assert trail.began_at == T0 + timedelta(seconds=6)


async def test_a_result_of_before_there_were_trails_still_loads() -> None:
    result = await _judge(Shop(), _request())
    plain = result.model_dump(mode="json")
    del plain["trail"]
    assert JudgeResult.model_validate(plain).trail is None


async def test_without_metrics_there_is_none() -> None:
    assert (await _judge(Shop(), _request(metrics=()))).trail is None
