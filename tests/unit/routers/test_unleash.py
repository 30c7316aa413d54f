"""A flag of Unleash: what is written for a route, what is read, and what no answer may be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.errors import Retryable, Terminal, UnknownRoute
from adapters.routers.flag_people import People
from adapters.routers.flag_shares import check_share
from adapters.routers.unleash import UnleashConnection, UnleashOptions
from adapters.routers.unleash.api import UnleashApi
from adapters.routers.unleash.definitions import (
    MARK,
    Feature,
    Flag,
    serving,
    strategy_for,
    variant_name,
    version_named,
)
from adapters.routers.unleash.evaluation import Evaluation
from schemas.route import Route

FLAG = "new-checkout"
KEPT = ("default", FLAG)
STRANGERS = People(Route.split(FLAG, "off"), sticky="userId")
VERSIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}", fullmatch=True)


def flag_of(*strategies: dict[str, Any], enabled: bool = True, **more: Any) -> Flag:
    environment = {"name": "production", "enabled": enabled, "strategies": list(strategies)}
    other = {"name": "development", "enabled": False}
    feature = {"name": FLAG, "environments": [other, environment], **more}
    return Flag(Feature.model_validate(feature), "production")


def ours(rollout: str = "0", *variants: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "name": "flexibleRollout",
        "title": "aviary",
        "parameters": {"rollout": rollout, "stickiness": "default", "groupId": FLAG},
        "variants": [
            {"name": one, "weight": 0 if number else 1000} for number, one in enumerate(variants)
        ],
        **more,
    }


def on(weight: float, generation: int = 1) -> Route:
    return Route.split(FLAG, "off", "on", weight, generation=generation, owner="shop-1")


def written(route: Route, flag: Flag) -> Flag:
    """The flag after a write, as Unleash would hand it back."""
    return flag_of({"id": "1", **strategy_for(route, KEPT, flag.variants)})


@pytest.mark.parametrize("weight", [1, 5, 25, 99])
def test_so_many_of_ten_thousand_users_get_it_as_the_weight_says(weight: int) -> None:
    flag = written(on(weight), flag_of(ours()))
    evaluation = Evaluation([flag.definition(flag.evaluated)])
    chosen = evaluation.with_variant(FLAG, "on", range(10_000), STRANGERS)
    check_share(FLAG, "on", weight, len(chosen), 10_000)


@pytest.mark.parametrize(
    ("route", "rollout", "weights"),
    [
        (on(25), "25", ()),
        (on(0), "0", ()),
        (Route.split(FLAG, "on", "off", 25), "75", ()),
        (Route.split(FLAG, "off"), "0", ()),
        (Route.split(FLAG, "on"), "100", ()),
        (Route.split(FLAG, "red", "blue", 10), "100", (("blue", 100), ("red", 900))),
        (Route.split(FLAG, "off", "blue", 10), "10", (("blue", 1000),)),
        (Route.split(FLAG, "red", "off", 10), "90", (("red", 1000),)),
        (Route.split(FLAG, "blue"), "100", (("blue", 1000),)),
    ],
)
def test_on_and_off_are_the_rollout_and_variants_are_its_parts(
    route: Route, rollout: str, weights: tuple[tuple[str, int], ...]
) -> None:
    wanted = serving(route, KEPT)
    assert (wanted.rollout, wanted.weights) == (rollout, weights)


@given(st.integers(0, 100), st.sampled_from([("off", "on"), ("on", "off"), ("red", "blue")]))
def test_a_route_is_read_as_it_was_written(weight: int, arms: tuple[str, str]) -> None:
    route = Route.split(FLAG, *arms, weight, generation=2**53, owner="shop-1")
    there = flag_of(ours("0", *(set(arms) - {"on", "off"})))
    flag = written(route, there)
    assert flag.marked(FLAG) == route
    assert flag.served == serving(route, KEPT)


@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=4),
    st.sampled_from([("off", "on"), ("on", "off"), ("red", "blue"), ("blue", "red")]),
)
def test_who_has_it_keeps_it_while_it_grows(weights: list[int], arms: tuple[str, str]) -> None:
    had: set[int] = set()
    there = flag_of(ours("0", *sorted(set(arms) - {"on", "off"})))
    for weight in sorted(weights):
        flag = written(Route.split(FLAG, *arms, weight), there)
        evaluation = Evaluation([flag.definition(flag.evaluated)])
        now = evaluation.with_variant(FLAG, arms[1], range(100), STRANGERS)
        assert had <= now
        had = now


def test_on_a_busy_machine_a_tenth_of_the_users_is_enough() -> None:
    flag = written(on(50), flag_of(ours()))
    evaluation = Evaluation([flag.definition(flag.evaluated)])
    chosen, looked = evaluation.sample(FLAG, "on", 1_000, STRANGERS, within=0)
    assert looked == 100
    assert chosen == evaluation.with_variant(FLAG, "on", range(looked), STRANGERS)
    assert evaluation.sample(FLAG, "on", 100, STRANGERS, within=60)[1] == 100


def test_payloads_and_variants_that_nobody_gets_stay() -> None:
    payload = {"type": "string", "value": "#00f"}
    there = ours("0", "red", "blue", "green")
    there["variants"][1]["payload"] = payload
    body = strategy_for(Route.split(FLAG, "red", "blue", 30), KEPT, flag_of(there).variants)
    assert [(one["name"], one["weight"], one["weightType"]) for one in body["variants"]] == [
        ("red", 700, "variable"),
        ("blue", 300, "fix"),
        ("green", 0, "fix"),
    ]
    assert body["variants"][1]["payload"] == payload


@given(st.lists(VERSIONS, min_size=2, max_size=2, unique=True))
def test_any_two_versions_have_two_names_that_unleash_takes(versions: list[str]) -> None:
    names = [variant_name(version) for version in versions]
    assert len(set(names)) == 2
    assert all(len(name) <= 100 and not set(name) & set("+:%/ ") for name in names)
    assert all(
        version_named(name) == version
        for name, version in zip(names, versions, strict=True)
        if len(version) < 30
    )


@pytest.mark.parametrize(
    "mark",
    [
        "",
        "7",
        "[" * 10_000,
        "{}",
        '{"generation": -1, "stable": "off"}',
        '{"generation": "many", "stable": "off"}',
        '{"generation": 1, "stable": "off", "canary": "on", "weight": 101}',
        '{"generation": 1, "stable": "off", "canary": "on", "weight": 12.5}',
        '{"generation": 1, "stable": "off", "canary": "off"}',
        '{"generation": 1, "stable": "off", "weight": 10}',
        '{"generation": 1, "stable": "no version"}',
        {"generation": 1, "stable": "off"},
    ],
)
def test_a_mark_that_is_no_route_is_an_error_that_names_it(mark: Any) -> None:
    there = ours()
    there["parameters"][MARK] = mark
    with pytest.raises(Terminal, match=f"flag {FLAG} has a parameter aviary that is no route"):
        flag_of(there).marked(FLAG)


def test_of_strategies_one_is_aviarys_and_the_others_are_the_teams() -> None:
    staff = {"id": "2", "name": "userWithId", "parameters": {"userIds": "ann"}}
    off = {"id": "3", "name": "default", "disabled": True}
    twin = {**ours(), "id": "4"}
    marked = {"id": "5", **strategy_for(on(5), KEPT, {})}
    flag = flag_of(staff, off, twin, marked)
    assert flag.ours is not None
    assert (flag.ours.id, [one.id for one in flag.surplus]) == ("5", ["4"])
    assert [one.id for one in flag.others] == ["2"]


def test_a_flag_that_is_archived_or_elsewhere_is_none_to_release() -> None:
    with pytest.raises(UnknownRoute, match="is archived"):
        flag_of(archived=True)
    feature = Feature.model_validate({"name": FLAG, "environments": []})
    with pytest.raises(UnknownRoute, match="has environments none, expected it in production"):
        Flag(feature, "production")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flag", "a/b"),
        ("flag", ""),
        ("flag", "x" * 101),
        ("environment", "../admin"),
        ("project", "a b"),
        ("stickiness", "random"),
        ("group_id", "a?b"),
        ("token", "secret"),
    ],
)
def test_what_is_no_name_in_unleash_is_refused(field: str, value: str) -> None:
    with pytest.raises(ValidationError, match=field):
        UnleashOptions.model_validate({field: value})


@pytest.mark.parametrize("url", ["unleash", "http://user:pass@host", "ftp://host", "http://a b"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        UnleashConnection.model_validate({"url": url, "token": "t"})


def test_authorities_that_can_not_be_read_are_refused() -> None:
    given = {"url": "https://unleash", "token": "t", "ca_file": "/nowhere.pem"}
    with pytest.raises(ValidationError, match="ca_file: expected a readable PEM file, got /nowh"):
        UnleashConnection.model_validate(given)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[UnleashApi]:
    """A server that says this to whoever asks."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    given = {"url": f"http://127.0.0.1:{port}", "token": "*:*.secret", "client_token": "*:p.more"}
    api = UnleashApi(UnleashConnection.model_validate(given), "default", "production")
    async with server:
        yield api
        await api.aclose()


def http(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


_NO_FLAG: list[bytes] = [
    http(200, b""),
    http(200, b"[" * 100_000),
    http(200, b"\xff\xfe"),
    http(200, b"[]"),
    http(200, json.dumps({"name": FLAG}).encode()),
    http(200, json.dumps({"name": FLAG, "environments": [{"name": "production"}]}).encode()),
    http(302, b""),
    http(401, b"no"),
    http(403, b"*:*.secret may not"),
    http(500, b"\x1b[31m"),
    b"HTTP/1.1 200 X\r\ncontent-length: 99999999999\r\n\r\n" + b" " * (17 * 1024 * 1024),
    b"nonsense",
    b"",
]


@pytest.mark.parametrize("answer", _NO_FLAG, ids=range(len(_NO_FLAG)))
async def test_an_answer_that_is_no_flag_is_waited_for_and_shows_no_token(answer: bytes) -> None:
    async with answering(answer) as api:
        with pytest.raises(Retryable) as caught:
            await api.flag(FLAG)
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable() or "\n" in str(caught.value)


async def test_a_refused_write_can_not_be_made_good_by_waiting() -> None:
    async with answering(http(400, b"weights")) as api:
        with pytest.raises(Terminal, match="answered 400: weights"):
            await api.put(flag_of(ours()), {})


@pytest.mark.parametrize("body", [b"[]", b'{"features": 7}', b"7"])
async def test_what_applications_are_sent_has_to_be_features(body: bytes) -> None:
    async with answering(http(200, body)) as api:
        with pytest.raises(Retryable, match="expected"):
            await api.served(flag_of(ours()))


@pytest.mark.parametrize("body", [b"{}", b'{"events": [7]}', b'{"events": [{"createdBy": 7}]}'])
async def test_who_changed_a_flag_may_be_unknown(body: bytes) -> None:
    for answer in (http(200, body), http(403, body)):
        async with answering(answer) as api:
            assert await api.who(FLAG) == ""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: one.update(strategies=7),
        lambda one: one.update(strategies=[{"name": "flexibleRollout", "parameters": []}]),
        lambda one: one.update(enabled="maybe"),
    ],
)
def test_flags_that_the_engine_refuses_give_nothing_to_anybody(
    spoil: Callable[[dict[str, Any]], None],
) -> None:
    flag = flag_of(ours("100"))
    definition = flag.definition(flag.evaluated)
    spoil(definition)
    try:
        found = Evaluation([definition]).with_variant(FLAG, "on", range(10), STRANGERS)
    except Retryable:
        return
    assert not found
