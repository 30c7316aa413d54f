"""Requests that CloudWatch has counted: each whole minute once, whenever it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import botocore.session
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from adapters.routers.alb.client import Elb
from adapters.routers.alb.counting import balancer_of
from adapters.routers.alb.counts import CloudWatchCounts
from adapters.routers.alb.groups import TargetGroups

START = datetime(2026, 11, 29, 12, 0, 20, tzinfo=UTC)
LATE = timedelta(minutes=3)
MODEL = botocore.session.get_session().get_service_model("cloudwatch")
GROUP = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/ledger-{}/6d0ecf831ee"


class Groups(TargetGroups):
    def __init__(self) -> None:
        pass

    async def of(self, service: str) -> dict[str, str]:
        return {version: GROUP.format(version) for version in "12"} if service == "ledger" else {}


class Watch(Elb):
    """CloudWatch that has one request in each minute for version 1, and ten for version 2."""

    def __init__(self) -> None:
        self.asked: list[tuple[datetime, datetime]] = []

    async def call(self, operation: str, **given: Any) -> dict[str, Any]:
        shape = MODEL.operation_model("GetMetricData").input_shape
        assert operation == "get_metric_data"
        assert not ParamValidator().validate(given, shape).has_errors()
        start, end = given["StartTime"], given["EndTime"]
        assert start < end
        assert start.second == end.second == 0
        if "NextToken" not in given:
            self.asked.append((start, end))
        minutes = round((end - start) / timedelta(minutes=1))
        queries = given["MetricDataQueries"]
        first = "NextToken" not in given
        answers = [
            {"Id": one["Id"], "Values": [_rate(one)] * minutes}
            for one in (queries[: len(queries) // 2] if first else queries[len(queries) // 2 :])
        ]
        return {"MetricDataResults": answers, **({"NextToken": "more"} if first else {})}


def _rate(query: dict[str, Any]) -> float:
    dimensions = query["MetricStat"]["Metric"]["Dimensions"]
    (group,) = [one["Value"] for one in dimensions if one["Name"] == "TargetGroup"]
    return 10.0 if group == "targetgroup/ledger-2/6d0ecf831ee" else 1.0


async def _read(after_s: Sequence[int], watch: Watch) -> list[dict[str, int]]:
    moment = START
    balancers = ["app/edge/50dc", "app/inner/77aa"]
    counts = CloudWatchCounts(watch, Groups(), balancers, LATE, lambda: moment)
    found = [await counts.requests("ledger")]
    for seconds in after_s:
        moment += timedelta(seconds=seconds)
        found.append(await counts.requests("ledger"))
    return found


@given(st.lists(st.integers(0, 600), max_size=20))
def test_every_whole_minute_is_counted_once(after_s: list[int]) -> None:
    watch = Watch()
    found = asyncio.run(_read(after_s, watch))
    assert found[0] == {"1": 0, "2": 0}
    # The first whole minute after what is late by then begins at 11:58.
    first = START.replace(minute=58, hour=11, second=0)
    whole = (START + timedelta(seconds=sum(after_s)) - LATE - first) // timedelta(minutes=1)
    minutes = max(0, whole)
    assert found[-1] == {"1": 2 * minutes, "2": 20 * minutes}, "of two load balancers"
    assert all(end == start for (_, end), (start, _) in pairwise(watch.asked))
    assert not watch.asked or watch.asked[0][0] == first


async def test_another_begins_anew_and_a_service_without_groups_has_nothing() -> None:
    moment = START
    counts = CloudWatchCounts(Watch(), Groups(), ["app/edge/50dc"], LATE, lambda: moment)
    await counts.requests("ledger")
    moment += timedelta(minutes=5)
    assert (await counts.requests("ledger"))["2"] == 40
    assert (await counts.anew().requests("ledger"))["2"] == 0
    assert await counts.anew().requests("nobody") == {}


def test_a_listener_names_its_load_balancer() -> None:
    arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/edge/50dc6c/f2f7dc"
    assert balancer_of(arn) == "app/edge/50dc6c"
