"""What the judging activity leaves for people: in its result, over restarts, never in evidence."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.judge import JudgeResult
from schemas.evidence_series import EvidenceSeries
from tests.unit.test_judge_activity import T0, Shop, _judge, _request


async def _interrupted(after_s: float) -> list[Any]:
    """The heartbeats of an attempt whose worker goes away."""
    shop = Shop(bad=0.02)
    environment = ActivityEnvironment()
    heartbeats: list[Any] = []

    def on_heartbeat(*details: Any) -> None:
        heartbeats.append(json.loads(json.dumps(details[0])))
        if shop.now >= T0 + timedelta(seconds=after_s):
            raise ConnectionError("the worker is gone")

    environment.on_heartbeat = on_heartbeat
    with pytest.raises(ApplicationError, match="the worker is gone"):
        await _judge(shop, _request(), environment)
    return heartbeats


async def _resumed(*details: Any) -> JudgeResult:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        ActivityEnvironment.default_info(), heartbeat_details=details
    )
    shop = Shop(bad=0.02)
    shop.now = T0 + timedelta(seconds=6)
    return await _judge(shop, _request(), environment)


async def test_a_bake_leaves_its_series_and_keeps_it_out_of_the_evidence() -> None:
    result = await _judge(Shop(), _request())
    evidence_series = EvidenceSeries.model_validate(result.evidence_series)
    assert evidence_series.began_at == T0
    assert evidence_series.at == tuple(range(11))
    assert (
        sum(evidence_series.metrics["errors"].streams[0].canary)
        == result.verdict.metrics[0].canary.total
    )
    assert "evidence_series" not in result.evidence


async def test_the_next_step_has_a_series_of_its_own() -> None:
    first = await _judge(Shop(), _request())
    shop = Shop()
    shop.now = T0 + timedelta(seconds=20)
    over: dict[str, Any] = {
        "evidence": first.evidence,
        "started_at": shop.now,
        "weight_changed_at": shop.now,
    }
    second = await _judge(shop, _request(**over))
    evidence_series = EvidenceSeries.model_validate(second.evidence_series)
    assert evidence_series.began_at == T0 + timedelta(seconds=20)
    assert sum(evidence_series.metrics["errors"].streams[0].canary) == 100 * evidence_series.at[-1]


async def test_another_attempt_goes_on_with_the_series() -> None:
    heartbeats = await _interrupted(5)
    evidence_series = EvidenceSeries.model_validate(
        (await _resumed(heartbeats[-1])).evidence_series
    )
    assert evidence_series.began_at == T0
    assert evidence_series.at[:7] == (0, 1, 2, 3, 4, 5, 6)


async def test_a_heartbeat_without_a_series_is_gone_on_from() -> None:
    heartbeats = await _interrupted(5)
    del heartbeats[-1]["evidence_series"]
    evidence_series = EvidenceSeries.model_validate(
        (await _resumed(heartbeats[-1])).evidence_series
    )
    assert evidence_series.began_at == T0 + timedelta(seconds=6)


async def test_a_result_of_before_there_were_series_still_loads() -> None:
    result = await _judge(Shop(), _request())
    plain = result.model_dump(mode="json")
    del plain["evidence_series"]
    assert JudgeResult.model_validate(plain).evidence_series is None


async def test_without_metrics_there_is_none() -> None:
    assert (await _judge(Shop(), _request(metrics=()))).evidence_series is None
