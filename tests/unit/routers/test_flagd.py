"""A flag in flagd's file: what is written, what is left alone, what is refused."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import ForeignChange, Retryable, Terminal, UnknownRoute, Unsupported
from adapters.routers.flag_people import People
from adapters.routers.flag_shares import USERS, check_kept, check_share, sample
from adapters.routers.flagd.definitions import Definition, serving
from adapters.routers.flagd.evaluation import Evaluation
from adapters.routers.flagd.router import FlagdRouter
from schemas.route import Audience, AudienceBy, Match, Route

FLAG: dict[str, Any] = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "metadata": {"team": "checkout"},
}
OTHER = {"state": "DISABLED", "variants": {"a": 1}, "defaultVariant": "a"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    _write(path, flag=FLAG)
    return path


def _write(path: Path, **changes: Any) -> None:
    document = {
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "flags": {"new-checkout": changes.pop("flag", FLAG), "other": OTHER},
        "metadata": {"set": "shop"},
    }
    path.write_text(json.dumps(document | changes))


def _flag(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["flags"]["new-checkout"]
    return found


def on(weight: float, generation: int = 1) -> Route:
    owner = "shop-1"
    return Route.split("new-checkout", "off", "on", weight, generation=generation, owner=owner)


OFF = Route.split("new-checkout", "off", generation=9, owner="shop-1")


@pytest.mark.parametrize("weight", [0.05, 5.0, 33.33, 99.99])
async def test_so_many_of_ten_thousand_users_get_it_as_the_weight_says(
    file: Path, weight: float
) -> None:
    router = FlagdRouter(file)
    confirmation = await router.apply(on(weight), over=await router.read("new-checkout"))
    assert confirmation.mark == "new-checkout/1"
    evaluation = Evaluation(file.read_text())
    people = People(on(weight))
    chosen = evaluation.with_variant("new-checkout", FLAG["variants"], "on", range(USERS), people)
    check_share("new-checkout", "on", weight, len(chosen), USERS)


async def test_what_is_not_aviarys_stays(file: Path) -> None:
    router = FlagdRouter(file, users=100)
    await router.apply(on(25))
    document = json.loads(file.read_text())
    assert document["$schema"].endswith("flags.json")
    assert document["metadata"] == {"set": "shop"}
    assert document["flags"]["other"] == OTHER
    assert _flag(file)["variants"] == FLAG["variants"]
    assert _flag(file)["metadata"] == {
        "team": "checkout",
        "aviary.generation": 1,
        "aviary.owner": "shop-1",
        "aviary.stable": "off",
        "aviary.canary": "on",
        "aviary.weight": 25.0,
    }


async def test_an_entry_may_have_another_name_than_its_flag(file: Path) -> None:
    router = FlagdRouter(file, "new-checkout", users=100)
    route = Route.split("dark-launch", "off", "on", 50, generation=1)
    await router.apply(route)
    assert await router.read("dark-launch") == route
    assert _flag(file)["targeting"] == {"fractional": [["on", 5000], ["off", 5000]]}


async def test_a_flag_that_was_never_released_has_its_default_variant(file: Path) -> None:
    assert await FlagdRouter(file).read("new-checkout") == Route.split("new-checkout", "off")


async def test_who_has_no_targeting_key_gets_it_once_all_do(file: Path) -> None:
    router = FlagdRouter(file, users=100)
    for weight, variant in ((99.0, "off"), (100.0, "on")):
        await router.apply(on(weight, round(weight)))
        assert Evaluation(file.read_text()).variant("new-checkout", value=True, user={}) == variant


async def test_rules_of_the_team_are_not_written_over(file: Path) -> None:
    rules = {"if": [{"ends_with": [{"var": "email"}, "@shop.example"]}, "on", None]}
    _write(file, flag=FLAG | {"targeting": rules})
    router = FlagdRouter(file, users=100)
    with pytest.raises(Terminal, match="targeting rules of its own"):
        await router.apply(on(5), over=await router.read("new-checkout"))
    assert _flag(file)["targeting"] == rules


async def test_a_flag_that_was_switched_off_by_hand_is_somebody_elses_change(file: Path) -> None:
    router = FlagdRouter(file, users=100)
    await router.apply(on(25))
    _write(file, flag=_flag(file) | {"state": "DISABLED"})
    assert "found DISABLED, off by default" in await router.changed(on(25))
    with pytest.raises(ForeignChange, match="found DISABLED"):
        await router.apply(on(50, 2), over=on(25))
    await router.apply(OFF)
    assert _flag(file)["state"] == "ENABLED"


@pytest.mark.parametrize(
    "spoilt",
    [
        {"aviary.generation": 1, "aviary.stable": 7},
        {"aviary.generation": "many", "aviary.stable": "off"},
        {
            "aviary.generation": 1,
            "aviary.stable": "off",
            "aviary.canary": "on",
            "aviary.weight": 1e9,
        },
        {"aviary.generation": 1},
    ],
)
async def test_a_mark_that_is_no_route_is_an_error_and_no_way_to_stop_a_rollback(
    file: Path, spoilt: dict[str, Any]
) -> None:
    _write(file, flag=FLAG | {"metadata": spoilt})
    router = FlagdRouter(file, users=100)
    with pytest.raises(Terminal, match="no route of Aviary's"):
        await router.read("new-checkout")
    with pytest.raises(Terminal, match="no route of Aviary's"):
        await router.apply(on(5), over=Route.split("new-checkout", "off"))
    await router.apply(OFF)
    assert await router.read("new-checkout") == OFF


async def test_a_mark_that_was_taken_away_is_somebody_elses_change(file: Path) -> None:
    router = FlagdRouter(file, users=100)
    await router.apply(on(25))
    _write(file)
    with pytest.raises(ForeignChange, match="no mark"):
        await router.apply(on(50, 2), over=on(25))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("[]", "expected an object, found list"),
        ('{"flags": []}', "flags: expected an object"),
        ('{"flags": {"new-checkout": 7}}', "expected an object with variants"),
        ('{"flags": {"new-checkout": {"variants": []}}}', "expected an object with variants"),
        ('"' + "x" * 10_000_001, "at most 10,000,000 bytes"),
        ("\xff", "expected JSON"),
    ],
)
async def test_a_file_that_is_none_is_waited_for(file: Path, text: str, said: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    router = FlagdRouter(file)
    for call in (router.read("new-checkout"), router.apply(on(5))):
        with pytest.raises(Retryable, match=said):
            await call
    assert file.read_bytes() == text.encode("latin-1")


async def test_a_missing_file_and_a_missing_flag_are_told_apart(file: Path) -> None:
    with pytest.raises(UnknownRoute, match="nobody"):
        await FlagdRouter(file).read("nobody")
    file.unlink()
    with pytest.raises(Retryable, match="No such file"):
        await FlagdRouter(file).read("new-checkout")


async def test_flags_that_openfeature_refuses_are_written_by_a_rollback_alone(file: Path) -> None:
    router = FlagdRouter(file, users=100)
    await router.apply(on(25))
    document = json.loads(file.read_text())
    document["flags"]["other"] = {"state": "MAYBE", "variants": {"a": 1}}
    file.write_text(json.dumps(document))
    with pytest.raises(Retryable, match="OpenFeature refuses the flag definitions: .*state"):
        await router.apply(on(50, 2), over=on(25))
    assert _flag(file)["metadata"]["aviary.generation"] == 1
    with pytest.raises(Retryable, match="OpenFeature refuses"):
        await router.apply(OFF)  # and again, until somebody mends the other flag
    assert _flag(file)["metadata"]["aviary.generation"] == 9
    assert _flag(file)["defaultVariant"] == "off"


async def test_a_default_that_is_no_variant_says_nothing_of_stable(file: Path) -> None:
    _write(file, flag=FLAG | {"defaultVariant": "maybe"})
    with pytest.raises(UnknownRoute, match="defaultVariant maybe, expected one of off, on"):
        await FlagdRouter(file).read("new-checkout")


async def test_an_audience_is_refused(file: Path) -> None:
    audience = Audience(any_of=(Match(by=AudienceBy.HEADER, name="x", value="y"),))
    with pytest.raises(Unsupported, match="audience"):
        await FlagdRouter(file).apply(on(5).model_copy(update={"audience": audience}))


def test_a_share_and_users_that_are_not_as_they_should_be_are_found() -> None:
    check_share("s", "on", 5, 600, USERS)
    with pytest.raises(Retryable, match="700 of 10000 users get on, expected 500 ± 110"):
        check_share("s", "on", 5, 700, USERS)
    with pytest.raises(Retryable, match="2 of 10000 users get on, expected 0 ± 1"):
        check_share("s", "on", 0, 2, USERS)
    check_kept(on(5), {1}, {1, 2})
    with pytest.raises(Retryable, match="1 of 2 users who had on lost it"):
        check_kept(on(5), {1, 2}, {2, 3})


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=4))
def test_who_has_it_keeps_it_while_it_grows(hundredths: list[int]) -> None:
    had: set[int] = set()
    for share in sorted(hundredths):
        definition = Definition("f", FLAG).with_route(on(share / 100))
        evaluation = Evaluation(json.dumps({"flags": {"f": definition}}))
        now = evaluation.with_variant("f", FLAG["variants"], "on", range(100), People(OFF))
        assert had <= now
        had = now


@given(st.integers(0, 10_000), st.integers(0, 2**53), st.text(max_size=20))
def test_a_route_is_read_as_it_was_written(share: int, generation: int, team: str) -> None:
    route = on(share / 100, generation)
    flag = Definition("f", FLAG | {"metadata": {"team": team}}).with_route(route)
    read = Definition("f", json.loads(json.dumps(flag)))
    assert read.route("new-checkout") == route
    assert read.served == serving(route)


@given(st.integers(1, 300), st.floats(0, 50), st.sets(st.integers(0, 300)))
def test_a_busy_machine_evaluates_fewer_users_but_a_tenth(
    users: int, within: float, having: set[int]
) -> None:
    seconds = count()
    chosen, looked = sample(having.__contains__, users, within, lambda: float(next(seconds)))
    assert chosen == {number for number in having if number < looked}
    assert min(users, max(users // 10, 1)) <= looked <= users
    assert looked == users or looked >= within
