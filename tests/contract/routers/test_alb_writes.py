"""What an ALB's API does not give, and what befalls a write there: over moto's server."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import pytest

from adapters.errors import ForeignChange, Retryable, StaleGeneration, Terminal
from adapters.kinds import Shared
from adapters.ports import Routing
from adapters.routers.alb import AlbConnection, AlbOptions
from adapters.routers.alb.capabilities import CAPABILITIES, kept
from adapters.routers.alb.client import Elb
from adapters.routers.alb.counting import CountingAlbRouter, balancer_of
from adapters.routers.alb.router import AlbRouter, Pace
from adapters.routers.alb.tags import ASKS, SERVICE, tags_of
from aviary.kinds import registry
from aviary.routers import make_router
from schemas.capabilities import Counting
from schemas.route import Route
from schemas.router_spec import RouterSpec
from tests.contract.routers.live_alb import REGION, LiveAlb
from tests.contract.routers.names import new_name
from tests.groups import ROOT

OLD, NEW = "1.4.1", "1.4.2"
PACE = Pace(confirm_within=20.0, poll_every=0.05, fresh_for=0.0)
Before = Callable[[dict[str, Any]], None]


class Shaky(Elb):
    """The API, where something happens right before or after a call of one operation."""

    def __init__(self, live: LiveAlb) -> None:
        super().__init__(live.client)
        self.alb = live
        self.calls: list[str] = []
        self.before: dict[str, Callable[[], Any]] = {}
        self.after: dict[str, Callable[[], Any]] = {}

    async def call(self, operation: str, **given: Any) -> dict[str, Any]:
        self.calls.append(operation)
        if (happens := self.before.pop(operation, None)) is not None and (
            waiting := happens()
        ) is not None:
            await waiting
        answer = await super().call(operation, **given)
        if (happens := self.after.pop(operation, None)) is not None and (
            waiting := happens()
        ) is not None:
            await waiting
        return answer


@pytest.fixture
def shaky(alb: LiveAlb) -> Shaky:
    return Shaky(alb)


@pytest.fixture
def router(alb: LiveAlb, shaky: Shaky) -> AlbRouter:
    return AlbRouter(shaky, alb.listeners, can=CAPABILITIES, pace=PACE)


@pytest.fixture
async def service(alb: LiveAlb, router: AlbRouter) -> str:
    name = alb.add_service(OLD, NEW)
    await router.register(name, OLD)
    return name


def shifted(service: str, weight: float, generation: int, owner: str = "shop-1") -> Route:
    return Route.split(service, OLD, NEW, weight, generation=generation, owner=owner)


def back(service: str, generation: int) -> Route:
    return Route.split(service, OLD, generation=generation, owner="shop-1")


def raises(error: Exception) -> Callable[[], Any]:
    def happens() -> None:
        raise error

    return happens


async def test_a_route_is_in_every_rule_with_tags_of_its_generation_alone(
    alb: LiveAlb, router: AlbRouter, service: str
) -> None:
    await router.apply(shifted(service, 10, 1))
    await router.apply(shifted(service, 50, 2))
    rules = alb.rules(service)
    assert len(rules) == 4, "two for those that ask for a version"
    for rule in rules:
        tags = alb.tags(rule["RuleArn"])
        tags.pop(ASKS, None)
        assert tags == {SERVICE: service, **tags_of(shifted(service, 50, 2))}


async def test_another_aviary_finds_the_route(alb: LiveAlb, service: str) -> None:
    one = AlbRouter(Elb(alb.client), alb.listeners, can=CAPABILITIES, pace=PACE)
    await one.apply(shifted(service, 10, 7))
    other = AlbRouter(Elb(alb.client), alb.listeners, can=CAPABILITIES, pace=PACE)
    assert await other.read(service) == shifted(service, 10, 7)


@pytest.mark.parametrize("operation", ["add_tags", "modify_rule", "remove_tags"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_write_that_dies_anywhere_is_made_good_by_the_same_write(
    router: AlbRouter, shaky: Shaky, service: str, operation: str, moment: str
) -> None:
    await router.apply(shifted(service, 10, 1))
    getattr(shaky, moment)[operation] = raises(Retryable("killed"))
    with pytest.raises(Retryable, match="killed"):
        await router.apply(shifted(service, 50, 2), over=shifted(service, 10, 1))
    await router.apply(shifted(service, 50, 2), over=shifted(service, 10, 1))
    assert await router.read(service) == shifted(service, 50, 2)
    assert await router.changed(shifted(service, 50, 2)) == ""
    for rule in shaky.alb.rules(service):
        ours = shaky.alb.tags(rule["RuleArn"]).keys() - {SERVICE, ASKS}
        assert ours == tags_of(shifted(service, 50, 2)).keys()
    await router.apply(back(service, 3))
    assert set(shaky.alb.draw(service, "abcdef").values()) == {OLD}


@pytest.mark.parametrize("operation", ["add_tags", "modify_rule"])
async def test_a_late_write_that_got_past_its_look_puts_the_newer_one_back(
    alb: LiveAlb, router: AlbRouter, shaky: Shaky, service: str, operation: str
) -> None:
    """There is no compare-and-set: the rollback comes between the look and the write."""
    await router.apply(shifted(service, 10, 1))
    other = AlbRouter(Elb(alb.client), alb.listeners, can=CAPABILITIES, pace=PACE)
    shaky.before[operation] = lambda: other.apply(back(service, 3))
    with pytest.raises(StaleGeneration, match="generation 2 was overtaken by 3"):
        await router.apply(shifted(service, 50, 2))
    assert await router.read(service) == back(service, 3)
    assert await router.changed(back(service, 3)) == ""
    assert set(alb.draw(service, "abcdef").values()) == {OLD}


async def test_what_the_race_leaves_is_found_as_a_change(
    router: AlbRouter, shaky: Shaky, alb: LiveAlb, service: str
) -> None:
    """The late writer dies before its second look; the docs say so."""
    await router.apply(shifted(service, 10, 1))
    other = AlbRouter(Elb(alb.client), alb.listeners, can=CAPABILITIES, pace=PACE)
    shaky.before["modify_rule"] = lambda: other.apply(back(service, 3))
    shaky.after["modify_rule"] = raises(Retryable("killed"))
    with pytest.raises(Retryable, match="killed"):
        await router.apply(shifted(service, 50, 2))
    assert await router.read(service) == back(service, 3)
    assert "found 1.4.1 50 %, 1.4.2 50 %" in await router.changed(back(service, 3))
    with pytest.raises(ForeignChange):
        await router.apply(shifted(service, 10, 4), over=back(service, 3))
    await router.apply(back(service, 5))
    assert await router.changed(back(service, 5)) == ""


async def test_what_is_not_shown_yet_is_looked_at_again(
    router: AlbRouter, shaky: Shaky, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Describe calls may show what was before, for a while."""
    stale: list[dict[str, Any]] = []
    real = Elb.call

    async def call(self: Elb, operation: str, **given: Any) -> dict[str, Any]:
        answer = await real(self, operation, **given)
        if operation == "describe_rules" and "RuleArns" in given:
            stale.append(answer)
            return stale[max(0, len(stale) - 3)]  # what was so two looks ago
        return answer

    monkeypatch.setattr(Elb, "call", call)
    confirmation = await router.apply(shifted(service, 50, 1))
    assert confirmation.route == shifted(service, 50, 1)


async def test_what_is_never_shown_is_not_called_done(
    alb: LiveAlb, shaky: Shaky, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(confirm_within=0.0, poll_every=0.0, fresh_for=0.0)
    router = AlbRouter(shaky, alb.listeners, can=CAPABILITIES, pace=pace)
    real = Elb.call

    async def call(self: Elb, operation: str, **given: Any) -> dict[str, Any]:
        return {} if operation == "modify_rule" else await real(self, operation, **given)

    monkeypatch.setattr(Elb, "call", call)
    with pytest.raises(Retryable, match=r"generation 1 was written but is not shown by rule"):
        await router.apply(shifted(service, 50, 1))


async def test_two_groups_of_one_version_are_not_guessed_between(
    alb: LiveAlb, router: AlbRouter, service: str
) -> None:
    alb.add_version(service, NEW)
    with pytest.raises(Terminal, match="two target groups are tagged as 1.4.2"):
        await router.apply(shifted(service, 5, 1))


async def test_a_rule_that_is_new_gets_the_route_with_the_next_write(
    alb: LiveAlb, router: AlbRouter, service: str
) -> None:
    await router.apply(shifted(service, 50, 1))
    alb.add_rule(service, alb.listeners[0])
    assert await router.read(service) == shifted(service, 50, 1)
    await router.apply(back(service, 2))
    assert len(alb.rules(service)) == 5
    assert set(alb.draw(service, "abcdef").values()) == {OLD}


async def test_a_rule_that_forwards_to_one_version_already_is_on_that(
    alb: LiveAlb, router: AlbRouter
) -> None:
    service = alb.add_service(OLD, NEW)
    alb.set_weights(service, {OLD: 1})
    assert await router.read(service) == Route.split(service, OLD)
    assert await router.register(service, NEW) == Route.split(service, OLD)
    await router.apply(shifted(service, 5, 1), over=Route.split(service, OLD))
    assert await router.read(service) == shifted(service, 5, 1)


async def test_lost_tags_are_no_first_deployment(
    alb: LiveAlb, router: AlbRouter, service: str
) -> None:
    """Another tool took away what it does not know."""
    await router.apply(shifted(service, 50, 1))
    for rule in alb.rules(service):
        keys = [key for key in alb.tags(rule["RuleArn"]) if key not in {SERVICE, ASKS}]
        alb.elb.remove_tags(ResourceArns=[rule["RuleArn"]], TagKeys=keys)
    with pytest.raises(ForeignChange, match=r"forward to 1\.4\.1, 1\.4\.2, expected their tags"):
        await router.read(service)
    await router.apply(back(service, 2))
    assert await router.read(service) == back(service, 2)


async def test_a_sign_in_before_the_forward_stays(
    alb: LiveAlb, router: AlbRouter, service: str
) -> None:
    rule = alb.rules(service)[-1]
    sign_in = {
        "Type": "authenticate-oidc",
        "Order": 1,
        "AuthenticateOidcConfig": {
            "Issuer": "https://id.example",
            "AuthorizationEndpoint": "https://id.example/auth",
            "TokenEndpoint": "https://id.example/token",
            "UserInfoEndpoint": "https://id.example/user",
            "ClientId": "shop",
            "ClientSecret": "hidden",
        },
    }
    forward = {**rule["Actions"][-1], "Order": 2}
    alb.elb.modify_rule(RuleArn=rule["RuleArn"], Actions=[sign_in, forward])
    await router.apply(shifted(service, 50, 1))
    (now,) = [one for one in alb.rules(service) if one["RuleArn"] == rule["RuleArn"]]
    assert [action["Type"] for action in now["Actions"]] == ["authenticate-oidc", "forward"]


async def test_users_stay_by_a_cookie_of_the_group_while_there_are_two(
    alb: LiveAlb, shaky: Shaky, service: str
) -> None:
    router = AlbRouter(shaky, alb.listeners, can=kept(3600), sticky=3600, pace=PACE)
    await router.apply(shifted(service, 50, 1))
    for rule in alb.rules(service)[2:]:
        config = rule["Actions"][-1]["ForwardConfig"]
        assert config["TargetGroupStickinessConfig"] == {"Enabled": True, "DurationSeconds": 3600}
    await router.apply(back(service, 2))
    for rule in alb.rules(service):
        (group,) = rule["Actions"][-1]["ForwardConfig"]["TargetGroups"]
        assert alb.groups(service)[group["TargetGroupArn"]] == OLD


async def test_it_is_made_of_a_catalog_with_credentials_of_the_environment(
    alb: LiveAlb, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    given = {"kind": "alb", "connection": "eu", "listeners": list(alb.listeners), "sticky": "1h"}
    spec = RouterSpec.model_validate(given)
    connections = {"eu": AlbConnection(endpoint=alb.url)}
    async with httpx.AsyncClient() as client:
        routing = make_router(spec, registry(), connections, Shared(client))
        assert routing.capabilities.pinned
        assert (await routing.router.read(service)).stable == OLD
        assert (await routing.locator.locate(service, NEW)).startswith("targetgroup/group-")
        await routing.router.aclose()


async def test_without_credentials_it_is_tried_again(
    alb: LiveAlb, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    given = {"kind": "alb", "connection": "eu", "listeners": list(alb.listeners)}
    spec = RouterSpec.model_validate(given)
    connections = {"eu": AlbConnection(endpoint=alb.url)}
    async with httpx.AsyncClient() as client:
        routing = make_router(spec, registry(), connections, Shared(client))
        with pytest.raises(Retryable, match="Unable to locate credentials"):
            await routing.router.read("ledger")


def test_the_region_is_that_of_the_listeners() -> None:
    kind = registry().routers.get("alb")
    arn = "arn:aws:elasticloadbalancing:{}:123456789012:listener/app/edge/50dc6c495c0c9188/f2f7dc8"
    options = AlbOptions(listeners=(arn.format(REGION), arn.format("us-east-1")))
    (finding,) = kind.check(options, None)
    assert finding.path == ("listeners", 1)
    assert "region of the first, eu-central-1" in finding.expected
    assert AlbOptions(listeners=(arn.format(REGION),), sticky=timedelta(hours=1)).sticky_s == 3600


async def test_what_the_page_makes_is_found(
    alb: LiveAlb, router: AlbRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of docs/how-to/alb.md, with a client of the server here."""
    page = (ROOT / "docs/how-to/alb.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    with monkeypatch.context() as patched:
        patched.setattr(boto3, "client", lambda _: alb.elb)
        exec(compile(code, "alb.md", "exec"), names)
    service = new_name()
    old = names["put_up"](service, OLD, "page-1", alb.vpc, "10.0.0.7", "10.0.0.8")
    names["take_in"](service, "page.example", alb.listeners[0], 900, old)
    assert await router.read(service) == Route.split(service, OLD)
    names["put_up"](service, NEW, "page-2", alb.vpc, "10.0.0.9")
    await router.apply(shifted(service, 5, 1), over=Route.split(service, OLD))
    assert await router.read(service) == shifted(service, 5, 1)
    health = await router.instances(service)
    assert health is not None
    assert {version: one.known for version, one in health.items()} == {OLD: 2, NEW: 1}


async def test_cloudwatch_counts_what_each_target_group_got(alb: LiveAlb, service: str) -> None:
    """Moto takes data points in the name of ELB; AWS keeps that to itself."""
    watch = alb.client("cloudwatch")
    moment = datetime.now(UTC).replace(second=30, microsecond=0) - timedelta(minutes=20)
    elb = Elb(alb.client)
    router = CountingAlbRouter(
        elb,
        alb.listeners,
        watch=Elb(lambda: watch),
        late=timedelta(minutes=3),
        wall_clock=lambda: moment,
        can=kept(0, Counting.METRICS),
    )
    counts = Routing.of(router, kept(0, Counting.METRICS)).counting()
    assert counts is not None
    assert await counts.requests(service) == {OLD: 0, NEW: 0}
    for version, requests in ((OLD, 95), (NEW, 5)):
        dimensions = [
            {"Name": "TargetGroup", "Value": await router.locate(service, version)},
            {"Name": "LoadBalancer", "Value": balancer_of(alb.listeners[0])},
        ]
        for minutes in range(5):
            point = {
                "MetricName": "RequestCount",
                "Dimensions": dimensions,
                "Timestamp": moment + timedelta(minutes=minutes),
                "Value": requests,
            }
            watch.put_metric_data(Namespace="AWS/ApplicationELB", MetricData=[point])
    moment += timedelta(minutes=5)
    assert await counts.requests(service) == {OLD: 190, NEW: 10}, "of the two that are whole"
    await elb.aclose()


async def test_those_that_ask_are_no_part_of_what_a_rule_says_before_its_first_route(
    alb: LiveAlb, router: AlbRouter
) -> None:
    service = alb.add_service(OLD, NEW)
    alb.set_weights(service, {OLD: 1})
    action = {"Type": "forward", "TargetGroupArn": await _group(router, service, NEW)}
    alb.add_rule(service, alb.listeners[0], action, asks="always")
    assert await router.read(service) == Route.split(service, OLD)


async def test_a_rule_for_those_that_ask_that_was_changed_is_found(
    alb: LiveAlb, router: AlbRouter, service: str
) -> None:
    route = shifted(service, 5, 1)
    await router.apply(route)
    rule = alb.rules(service)[0]
    action = {"Type": "forward", "TargetGroupArn": await _group(router, service, OLD)}
    alb.elb.modify_rule(RuleArn=rule["RuleArn"], Actions=[action])
    assert "found 1.4.1 100 %, expected 1.4.2 100 %" in await router.changed(route)


async def _group(router: AlbRouter, service: str, version: str) -> str:
    return (await router.groups.of_versions(service, [version]))[version]
