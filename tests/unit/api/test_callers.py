"""Who may call: tokens in a file, with roles and services, and what else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from aviary.api.callers import CallersWatch
from aviary.api.callers_file import (
    CallersError,
    CallersFile,
    digest_of,
    new_token,
    read_callers,
)
from aviary.api.rates import Rates
from aviary.api.roles import WORDS, Caller, Role
from aviary.cli import build_app
from tests.unit.api.fakes import (
    NOTIFICATION,
    NOW,
    app_of,
    bearer,
    callers_file,
    client_of,
    token_of,
)
from tests.unit.api.fakes import FakeSource as Source

GOOD = f"tokens:\n  ci:\n    sha256: {digest_of('x')}\n    roles: [read]\n"


def test_a_token_is_known_by_its_hash_until_it_expires() -> None:
    file = callers_file()
    found = file.bearer_of(token_of("shop"), NOW)
    assert found is not None
    assert (found.name, found.services) == ("token:shop", ("check*",))
    assert found.roles == {Role.DEPLOY, Role.READ, Role.APPROVE, Role.ROLLBACK}
    assert file.bearer_of(token_of("nobody"), NOW) is None
    assert file.bearer_of(token_of("old"), NOW) is None
    assert file.bearer_of(digest_of(token_of("all")), NOW) is None  # a hash opens nothing


@given(st.text(max_size=200))
def test_no_other_text_is_a_token(text: str) -> None:
    assert callers_file().bearer_of(text, NOW) is None


def test_new_tokens_have_256_bits_and_are_never_alike() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == len("aviary_") + 43 for one in made)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("checkout", ["checkout"], ["checkout-2", "a-checkout", "check"]),
        ("shop-*", ["shop-a", "shop-"], ["shop", "a-shop-b"]),
        ("*", ["a", "z-9"], []),
        ("*pay*", ["pay", "a-pay-b"], ["p-ay"]),
    ],
)
def test_patterns_name_services(pattern: str, inside: list[str], outside: list[str]) -> None:
    caller = Caller("token:x", frozenset({Role.READ}), (pattern,))
    assert caller.outside([*inside, *outside]) == outside


def test_each_role_lets_say_its_words_and_no_others() -> None:
    said = {role: Caller("x", frozenset({role})).words for role in Role}
    assert said[Role.APPROVE] == {"approve", "pause", "pick", "resume", "skip", "keep"}
    assert said[Role.ROLLBACK] == {"pause", "pick", "rollback"}
    assert said[Role.READ] == said[Role.DEPLOY] == said[Role.ALERTS] == frozenset()
    assert set(WORDS) == said[Role.APPROVE] | said[Role.ROLLBACK]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tokens: {ci: {sha256: s3cret, roles: [read]}}", "tokens.ci.sha256"),
        (f"tokens: {{ci: {{sha256: {digest_of('x')}, roles: [boss]}}}}", "tokens.ci.roles"),
        (f"tokens: {{ci: {{sha256: {digest_of('x')}, roles: []}}}}", "tokens.ci.roles"),
        (f"tokens: {{ci: {{sha256: {digest_of('x')}}}}}", "tokens.ci.roles"),
        (
            f"tokens: {{ci: {{sha256: {digest_of('x')}, roles: [alerts], services: [a]}}}}",
            "expected no services",
        ),
        (
            f"tokens: {{ci: {{sha256: {digest_of('x')}, roles: [read], services: [A]}}}}",
            "tokens.ci.services",
        ),
        (
            f"tokens: {{ci: {{sha256: {digest_of('x')}, roles: [read], services: ['*a*b*']}}}}",
            "tokens.ci.services",
        ),
        ("tokens: {s3cret value: {}}", "tokens"),
        ("token: {}", "expected one of the fields"),
        ("tokens: [", "readable YAML"),
        ("", "expected"),
    ],
)
def test_a_wrong_file_says_where_and_shows_no_value(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "callers.yaml"
    path.write_text(text)
    with pytest.raises(CallersError) as caught:
        read_callers(path)
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_changes_counts_at_once_and_a_wrong_one_never(tmp_path: Path) -> None:
    path = tmp_path / "callers.yaml"
    path.write_text(GOOD)
    now = [0.0]
    watch = CallersWatch(path, lambda: now[0])

    def known(token: str) -> bool:
        now[0] += 1.0
        return watch.current().bearer_of(token, NOW) is not None

    assert known("x")
    path.write_text("tokens: nonsense")
    assert known("x")
    path.unlink()
    assert known("x")
    fresh = tmp_path / "fresh"
    fresh.write_text(GOOD.replace(digest_of("x"), digest_of("y")))
    fresh.replace(path)
    assert not known("x")
    assert known("y")
    path.write_text("tokens: {}\n")
    assert not known("y")


@given(st.lists(st.floats(min_value=0, max_value=10), max_size=60))
def test_nobody_has_more_than_a_burst_and_what_the_rate_gives(pauses: list[float]) -> None:
    now = [0.0]
    rates = Rates(2.0, 5.0, lambda: now[0])
    taken = 0
    for pause in pauses:
        now[0] += pause
        wait_s = rates.wait_s("a")
        taken += wait_s == 0
        assert taken <= 5 + 2 * now[0] + 1e-6
        if wait_s:
            now[0] += wait_s
            assert rates.wait_s("a") == 0
            taken += 1
    assert rates.wait_s("b") == 0


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({}, 401, "unauthorized"),
        ({"authorization": "Basic YTpi"}, 401, "unauthorized"),
        ({"authorization": "Bearer nothing"}, 401, "unauthorized"),
        ({"authorization": "Bearer " + "x" * 20_000}, 401, "unauthorized"),
        (bearer("old"), 401, "unauthorized"),
        (bearer("pager"), 403, "forbidden"),
        (bearer("alerts"), 403, "forbidden"),
    ],
)
async def test_only_who_may_read_reads(headers: dict[str, str], status: int, reason: str) -> None:
    async with client_of(app_of(Source())) as http:
        for path in ("/releases", "/releases/shop-1", "/releases/shop-1/events"):
            answer = await http.get(path, headers=headers)
            assert (answer.status_code, answer.json()["reason"]) == (status, reason)
            assert answer.headers["content-type"] == "application/problem+json"
            assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_who_asks_too_often_waits_and_others_do_not() -> None:
    async with client_of(app_of(Source(), per_s=1.0)) as http:
        codes = [
            (await http.get("/releases", headers=bearer("reader"))).status_code for _ in range(4)
        ]
        assert codes == [200, 200, 200, 429]
        answer = await http.get("/releases", headers=bearer("reader"))
        assert answer.headers["retry-after"] == "1"
        assert (await http.get("/releases", headers=bearer("all"))).status_code == 200


async def test_alerts_are_taken_from_that_role_alone_and_however_often() -> None:
    async with client_of(app_of(Source(), per_s=1.0)) as http:
        for _ in range(10):
            answer = await http.post("/alertmanager", json=NOTIFICATION, headers=bearer("alerts"))
            assert answer.status_code == 200
        assert (await http.post("/alertmanager", json=NOTIFICATION)).status_code == 401
        answer = await http.post("/alertmanager", json=NOTIFICATION, headers=bearer("reader"))
        assert answer.status_code == 403


async def test_a_caller_is_told_who_it_is() -> None:
    async with client_of(app_of(Source())) as http:
        answer = await http.get("/whoami", headers=bearer("shop"))
    assert answer.json() == {
        "name": "token:shop",
        "roles": ["approve", "deploy", "read", "rollback"],
        "services": ["check*"],
        "words": ["approve", "keep", "pause", "pick", "resume", "rollback", "skip"],
        "until": None,
    }


def test_a_file_without_any_token_lets_nobody_in() -> None:
    assert CallersFile().bearer_of("", NOW) is None


def test_a_new_token_and_its_line_let_each_other_in(tmp_path: Path) -> None:
    command = "token new ci --role deploy --role read -s shop-* --expires 2030-01-01"
    made = CliRunner().invoke(build_app(), command.split())
    assert made.exit_code == 0, made.output
    token = made.output.split("once: ")[1].split()[0]
    path = tmp_path / "callers.yaml"
    path.write_text("tokens:\n" + made.output.splitlines()[-1] + "\n")
    found = read_callers(path).bearer_of(token, NOW)
    assert found is not None
    assert (found.name, found.services) == ("token:ci", ("shop-*",))
    assert found.until is not None
    assert token not in path.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ["ci", "--role", "boss"],
        ["A B", "--role", "read"],
        ["ci", "--role", "alerts", "--service", "a"],
        ["ci", "--role", "read", "--expires", "soon"],
    ],
)
def test_no_token_is_made_of_wrong_options(options: list[str]) -> None:
    made = CliRunner().invoke(build_app(), ["token", "new", *options])
    assert made.exit_code == 2
    assert "aviary_" not in made.stdout
