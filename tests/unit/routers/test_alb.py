"""What is sent to an ALB's API, held against what AWS publishes of it (botocore's model)."""

from __future__ import annotations

import re
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import ThrottledRetryableChecker
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Retryable, Terminal, UnknownRoute
from adapters.routers.alb.actions import split_in, wanted, with_split
from adapters.routers.alb.capabilities import MOST_WEIGHT, WEIGHTS
from adapters.routers.alb.client import refused
from adapters.routers.alb.tags import keys_of, older_than, route_in, tags_of
from schemas.capabilities import can_do
from schemas.route import Route

MODEL = botocore.session.get_session().get_service_model("elbv2")
ARN = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:{}"
GROUPS = {version: ARN.format(f"targetgroup/{version}/6d0ecf831eec9f09") for version in "12"}

weights = st.integers(0, 10_000).map(lambda share: share / 100)
owners = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
versions = st.one_of(
    st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}\Z"), st.just(f"sha256:{'ab' * 32}")
)
generations = st.integers(0, 10**18)


def said(code: str, status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "as it says"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "ModifyRule")


def check(operation: str, **given_: Any) -> None:
    shape = MODEL.operation_model(operation).input_shape
    report = ParamValidator().validate(given_, shape)
    assert not report.has_errors(), report.generate_report()


@given(weight=weights, sticky=st.integers(0, 604_800))
def test_every_action_keeps_to_the_limits_that_are_published(weight: float, sticky: int) -> None:
    route = Route.split("ledger", "1", "2", weight)
    if not can_do(WEIGHTS, weight):
        return
    split = wanted(route, GROUPS, sticky)
    actions = with_split([{"Type": "fixed-response"}], split)
    check("ModifyRule", RuleArn=ARN.format("listener-rule/app/e/1/2/3"), Actions=actions)
    (action,) = actions
    groups = action["ForwardConfig"]["TargetGroups"]
    arns = [one["TargetGroupArn"] for one in groups]
    assert 1 <= len(set(arns)) == len(arns) <= 5
    assert all(0 <= one["Weight"] <= MOST_WEIGHT for one in groups)
    assert sum(one["Weight"] for one in groups) > 0
    kept = action["ForwardConfig"]["TargetGroupStickinessConfig"]
    assert kept["Enabled"] == (sticky > 0 and len(groups) > 1)
    assert not kept["Enabled"] or 1 <= kept["DurationSeconds"] <= 604_800
    assert split_in(actions) == split
    share = 100 * split.weights.get(GROUPS["2"], 0) / sum(split.weights.values())
    assert round(share, 2) == weight


@given(stable=versions, canary=versions, weight=weights, generation=generations, owner=owners)
def test_every_tag_is_one_that_aws_takes_and_is_read_back(
    stable: str, canary: str, weight: float, generation: int, owner: str
) -> None:
    if stable == canary:
        return
    route = Route.split("ledger", stable, canary, weight, generation=generation, owner=owner)
    tags = tags_of(route)
    given_ = [{"Key": key, "Value": value} for key, value in tags.items()]
    check("AddTags", ResourceArns=[ARN.format("listener-rule/app/e/1/2/3")], Tags=given_)
    for name, shape in (("Key", "TagKey"), ("Value", "TagValue")):
        limits = MODEL.shape_for(shape).metadata
        taken = re.compile(r"[\w_.:/=+\-@ ]*")  # its own pattern, in Python's words
        for one in given_:
            assert limits["min"] <= len(one[name]) <= limits["max"]
            assert taken.fullmatch(one[name])
            assert not one[name].startswith("aws:")
    assert route_in("ledger", tags) == route


@given(generation=generations, foreign=st.dictionaries(st.text(max_size=30), st.text(max_size=30)))
def test_the_newest_whole_route_counts_whatever_else_is_there(
    generation: int, foreign: dict[str, str]
) -> None:
    route = Route.split("ledger", "1", "2", 5, generation=generation + 1, owner="r")
    older = Route.split("ledger", "1", generation=generation)
    half = {f"aviary:{generation + 2}:stable": "1"}
    wrong = {f"aviary:{generation + 3}:{name}": "x y" for name in ("stable", "weight", "owner")}
    tags = {**foreign, **tags_of(older), **tags_of(route), **half, **wrong}
    assert route_in("ledger", tags) == route
    assert set(older_than(generation + 1, tags_of(older) | tags_of(route))) == set(tags_of(older))
    assert set(keys_of(generation + 1, tags)) == set(tags_of(route))


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Throttling", 400, Retryable),
        ("ThrottlingException", 400, Retryable),
        ("RequestLimitExceeded", 503, Retryable),
        ("InternalFailure", 500, Retryable),
        ("ServiceUnavailable", 503, Retryable),
        ("AccessDenied", 403, Retryable),
        ("ExpiredToken", 403, Retryable),
        ("HealthUnavailable", 500, Retryable),
        ("OperationNotPermitted", 400, Retryable),
        ("RuleNotFound", 400, UnknownRoute),
        ("TargetGroupNotFound", 400, UnknownRoute),
        ("TargetGroupAssociationLimit", 400, Terminal),
        ("TooManyTags", 400, Terminal),
        ("InvalidLoadBalancerAction", 400, Terminal),
        ("ValidationError", 400, Terminal),
    ],
)
def test_each_code_of_the_api_is_what_it_means(
    code: str, status: int, kind: type[Exception]
) -> None:
    error = refused("modify_rule", said(code, status))
    assert type(error) is kind
    assert str(error) == f"modify_rule: {code}: as it says"


@pytest.mark.parametrize("code", sorted(ThrottledRetryableChecker._THROTTLED_ERROR_CODES))
def test_every_code_of_a_throttle_that_the_client_knows_may_pass(code: str) -> None:
    if code in {"BandwidthLimitExceeded", "LimitExceededException", "EC2ThrottledException"}:
        return  # of other services
    if code in {"ProvisionedThroughputExceededException", "TransactionInProgressException"}:
        return
    assert type(refused("describe_rules", said(code))).__name__ == "Retryable"
