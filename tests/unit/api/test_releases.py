"""What is answered about releases, and how they are told a word."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from aviary.api.answers import once_of
from schemas.phases import ReleasePhase
from schemas.release import Command
from tests.unit.api.fakes import NOW, FakeSource, app_of, bearer, client_of, picking, status_of
from tests.unit.ingestion.fakes import FakeWriter

WHY = {"reason": "looks good"}
KEY = {"idempotency-key": "job-17"}


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


async def get(source: FakeSource, path: str, who: str = "all", **headers: str) -> httpx.Response:
    async with client_of(app_of(source)) as http:
        return await http.get(path, headers=bearer(who) | headers)


async def post(
    source: FakeSource, word: str, who: str = "all", body: Any = None, **more: Any
) -> httpx.Response:
    headers = bearer(who) | more.pop("headers", KEY)
    async with client_of(app_of(source)) as http:
        path = f"/releases/{more.pop('release', 'shop-1')}/{word}"
        return await http.post(path, json=WHY if body is None else body, headers=headers, **more)


async def test_a_list_is_paged_and_filtered(source: FakeSource) -> None:
    async with client_of(app_of(source)) as http:
        url = "/releases?state=running&service=ledger&service=checkout&limit=2&since=7d"
        first = await http.get(url, headers=bearer("all"))
        assert [one["release"] for one in first.json()["releases"]] == ["shop-1", "search-1"]
        after = first.json()["after"]
        assert first.links["next"]["url"].startswith("/releases?")
        second = await http.get(first.links["next"]["url"], headers=bearer("all"))
        assert second.json()["after"] is None
        assert "link" not in second.headers
        assert after
    (filters, size, begun), (_, _, later) = source.asked
    assert (filters.state, size, begun, later) == (ReleasePhase.RUNNING, 2, None, b"\xff\x01")
    assert filters.services == ("ledger", "checkout")
    assert filters.since is not None


@pytest.mark.parametrize(
    "query",
    [
        "state=gone",
        "limit=0",
        "limit=501",
        "limit=x",
        "service=A_B",
        "since=yesterday",
        "environment=x'%20OR%20'1'%3D'1",
        "after=%3F%3F",
        "after=" + "x" * 5000,
        "verdict=MAYBE",
    ],
)
async def test_a_wrong_filter_is_a_problem(source: FakeSource, query: str) -> None:
    answer = await get(source, f"/releases?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert not source.asked


async def test_a_list_shows_each_caller_the_releases_of_its_services(source: FakeSource) -> None:
    for who, names in {"shop": ["shop-1"], "other": ["search-1"]}.items():
        answer = await get(source, "/releases", who)
        assert [one["release"] for one in answer.json()["releases"]] == names


async def test_a_release_is_told_once_to_who_has_it_already(source: FakeSource) -> None:
    answer = await get(source, "/releases/shop-1")
    told = answer.json()
    assert told["release"] == "shop-1"
    assert set(told["may"]) == {"approve", "pause", "rollback"}
    assert told["links"]["release"].startswith("https://temporal.example/")
    etag = answer.headers["etag"]
    for wanted in (etag, f'"x", W/{etag}', "*"):
        again = await get(source, "/releases/shop-1", **{"if-none-match": wanted})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    source.end()
    changed = await get(source, "/releases/shop-1", **{"if-none-match": etag})
    assert (changed.status_code, changed.json()["may"]) == (200, {})


async def test_a_release_that_has_ended_tells_until_when_it_is_watched(source: FakeSource) -> None:
    """Until then an alert takes it back; of a service that nothing watches there is no field."""
    source.end()
    first, *rest = source.status.services
    watched = first.model_copy(update={"watched_until": NOW + timedelta(hours=1)})
    source.status = source.status.model_copy(update={"services": (watched, *rest)})
    found = (await get(source, "/releases/shop-1")).json()["services"]
    until = NOW + timedelta(hours=1)
    assert [one.get("watched_until") for one in found] == [
        until.isoformat().replace("+00:00", "Z"),
        *[None for _ in rest],
    ]
    told = (await get(source, "/releases/shop-1/summary")).text
    assert told.count(f"watched until {until:%Y}") == 1


async def test_many_who_ask_at_once_are_one_question(source: FakeSource) -> None:
    source.gate.clear()
    async with client_of(app_of(source)) as http:
        asked = [
            asyncio.create_task(http.get("/releases/shop-1", headers=bearer("reader")))
            for _ in range(40)
        ]
        await asyncio.sleep(0)
        source.gate.set()
        assert {(await one).status_code for one in asked} == {200}
    assert source.looks == 1


@pytest.mark.parametrize(
    ("release", "status"),
    [("shop-2", 404), ("..%2fetc", 405), ("-x", 400), ("a" * 129, 400), ("%00", 400)],
)
async def test_what_is_no_release_is_not_found(
    source: FakeSource, release: str, status: int
) -> None:
    answer = await get(source, f"/releases/{release}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_release_of_others_is_as_if_there_were_none(source: FakeSource) -> None:
    for path in ("/releases/shop-1", "/releases/shop-1/events"):
        answer = await get(source, path, "other")
        assert (answer.status_code, answer.json()["reason"]) == (404, "unknown")
    for word in ("rollback", "pause", "approve"):
        answer = await post(source, word, "other")
        assert answer.status_code == 404
        answer = await post(source, word, "other", WHY | {"service": "search"})
        assert answer.status_code == 404
    assert not source.said


async def test_a_word_says_who_said_it_and_why_as_it_is_known(source: FakeSource) -> None:
    with capture_logs() as logs:
        answer = await post(source, "approve", "approver", WHY | {"service": "ledger"})
    assert answer.json() == {
        "release": "shop-1",
        "word": "approve",
        "by": "token:approver",
        "answer": "approve it is",
    }
    ((word, release, command, once),) = source.said
    assert (word, release) == ("approve", "shop-1")
    assert command == Command(by="token:approver", reason="looks good", service="ledger")
    assert once == once_of("token:approver", "approve", "ledger", "job-17")
    (line,) = [one for one in logs if one["event"] == "audit"]
    told = {name: line[name] for name in ("action", "by", "release", "said", "service", "status")}
    assert told == {
        "action": "approve",
        "by": "token:approver",
        "release": "shop-1",
        "said": "looks good",
        "service": "ledger",
        "status": 200,
    }


async def test_the_same_key_again_is_the_same_word(source: FakeSource) -> None:
    for _ in range(3):
        assert (await post(source, "skip")).status_code == 200
    assert len(source.said) == 1
    await post(source, "skip", headers={"idempotency-key": "job-18"})
    await post(source, "skip", body=WHY | {"service": "ledger"})
    await post(source, "resume")
    await post(source, "skip", "approver")
    assert len(source.said) == 5


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 422),
        (b'{"reason": ""}', 422),
        (b'{"reason": "  "}', 422),
        (b'{"reason": "x", "by": "the boss"}', 422),
        (b'{"reason": "x", "service": "A B"}', 422),
        (b'{"reason": 7}', 422),
        (b"[" * 10_000, 422),
        (b"", 422),
        (b"\xff", 422),
        (b'{"reason": "' + b"x" * 20_000 + b'"}', 413),
    ],
)
async def test_a_wrong_body_says_nothing(source: FakeSource, body: bytes, status: int) -> None:
    async with client_of(app_of(source)) as http:
        answer = await http.post(
            "/releases/shop-1/rollback", content=body, headers=bearer("all") | KEY
        )
    assert (answer.status_code, source.said) == (status, [])
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "\u00e4"])
async def test_without_a_key_nothing_is_said(source: FakeSource, key: str) -> None:
    headers = {"idempotency-key": key.encode("latin-1")}
    with capture_logs() as logs:
        answer = await post(source, "rollback", headers=headers)
    assert (answer.status_code, answer.json()["reason"], source.said) == (400, "no_key", [])
    assert [one["refused"] for one in logs if one["event"] == "audit"] == ["no_key"]


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("reader", set()),
        ("alerts", set()),
        ("approver", {"approve", "pause", "resume", "skip", "keep"}),
        ("pager", {"pause", "rollback"}),
        ("all", {"approve", "pause", "resume", "skip", "keep", "rollback"}),
    ],
)
async def test_each_word_needs_its_role(source: FakeSource, who: str, allowed: set[str]) -> None:
    for word in ("approve", "pause", "resume", "skip", "keep", "rollback"):
        answer = await post(source, word, who)
        assert answer.status_code == (200 if word in allowed else 403)
    assert {said[0] for said in source.said} == allowed


async def test_a_word_reaches_no_service_of_others(source: FakeSource) -> None:
    checkout = WHY | {"service": "checkout"}
    refused = [
        await post(source, "approve", "shop"),
        await post(source, "approve", "shop", WHY | {"service": "ledger"}),
        await post(source, "rollback", "shop", checkout),  # it takes the ledger back as well
        await post(source, "pause", "shop"),
    ]
    assert [one.status_code for one in refused] == [403] * 4
    assert "ledger" in refused[0].json()["detail"]
    assert (await post(source, "approve", "shop", checkout)).status_code == 200
    assert [said[2].service for said in source.said] == ["checkout"]
    source.status = status_of("checkout")
    assert (await post(source, "rollback", "shop")).status_code == 200


async def test_a_release_whose_services_are_not_known_is_nobodys_of_some(
    source: FakeSource,
) -> None:
    source.status = status_of()
    assert (await post(source, "rollback", "shop")).status_code == 404
    assert (await post(source, "rollback", "all")).status_code == 200


async def test_what_a_release_refuses_is_told_and_a_kept_rollback_is_accepted(
    source: FakeSource,
) -> None:
    source.refuses = "no gate waits"
    answer = await post(source, "approve")
    assert (answer.status_code, answer.json()["detail"]) == (409, "no gate waits")
    source.refuses, source.kept = "", True
    assert (await post(source, "rollback")).status_code == 202


@pytest.mark.parametrize(
    ("version", "word", "of"), [("2", "approve", "ledger"), ("1", "rollback", None)]
)
async def test_the_winner_that_is_picked_is_the_word_that_gives_it_all(
    source: FakeSource, version: str, word: str, of: str | None
) -> None:
    source.canaries = picking("ledger")
    answer = await post(source, "pick", body=WHY | {"version": version})
    assert (answer.status_code, answer.json()["word"]) == (200, "pick")
    ((said, _, command, _),) = source.said
    reason = f"picked {version}: looks good"
    assert (said, command) == (word, Command(by="token:all", reason=reason, service=of))
    # The test is decided now: the same key is answered as before, and another is too late.
    source.canaries = {}
    again = await post(source, "pick", body=WHY | {"version": version})
    assert again.json() == answer.json()
    late = await post(
        source, "pick", body=WHY | {"version": version}, headers={"idempotency-key": "other"}
    )
    assert (late.status_code, late.json()["reason"], len(source.said)) == (409, "refused", 1)
    assert "no A/B test has ended and waits for its winner" in late.json()["detail"]


@pytest.mark.parametrize(
    ("who", "body", "status", "says"),
    [
        ("all", {}, 422, "version"),
        ("all", {"version": 2}, 422, "version"),
        ("all", {"version": "a b"}, 422, "version"),
        ("all", {"version": "2", "winner": "1"}, 422, "winner"),
        ("all", {"version": "3"}, 409, "got 3, expected one of 1 (old) and 2 (new)"),
        ("all", {"version": "2", "service": "search"}, 409, "no A/B test of search"),
        ("reader", {"version": "2"}, 403, "has not the role approve or rollback"),
        ("approver", {"version": "1"}, 403, "has not the role rollback"),
        ("pager", {"version": "2"}, 403, "has not the role approve"),
        ("shop", {"version": "2"}, 403, "may not approve ledger"),
        ("shop", {"version": "1"}, 403, "may not rollback ledger"),
        ("other", {"version": "2"}, 404, "there is none"),
    ],
)
async def test_a_pick_that_may_not_be_says_nothing(
    source: FakeSource, who: str, body: dict[str, Any], status: int, says: str
) -> None:
    source.canaries = picking("ledger")
    answer = await post(source, "pick", who, WHY | body)
    assert (answer.status_code, source.said) == (status, [])
    assert says in answer.json()["detail"]


async def test_of_two_tests_the_one_that_is_meant_has_to_be_named(source: FakeSource) -> None:
    source.canaries = picking("ledger", "checkout")
    answer = await post(source, "pick", body=WHY | {"version": "2"})
    assert (answer.status_code, source.said) == (409, [])
    assert "checkout" in answer.json()["detail"]
    named = WHY | {"version": "2", "service": "checkout"}
    assert (await post(source, "pick", "shop", named)).status_code == 200
    assert [(word, said.service) for word, _, said, _ in source.said] == [("approve", "checkout")]


async def test_another_word_names_those_that_there_are(source: FakeSource) -> None:
    answer = await post(source, "abort")
    assert (answer.status_code, answer.json()["reason"]) == (404, "no_such_word")
    assert "rollback" in answer.json()["detail"]


async def _code(asked: Awaitable[httpx.Response]) -> int:
    return (await asked).status_code


async def test_a_deploy_names_who_sent_it_and_only_services_of_its_own() -> None:
    writer = FakeWriter()

    def event(service: str) -> dict[str, Any]:
        asked = {"release": "shop-9", "services": [{"service": service, "version": "2"}]}
        kind = "dev.aviary.release.requested.v1"
        return {"specversion": "1.0", "type": kind, "source": "/ci", "id": "9", "data": asked}

    async with client_of(app_of(FakeSource(), writer=writer)) as http:
        kind = {"content-type": "application/cloudevents+json"}
        codes = [
            (
                await http.post("/events", json=event(service), headers=bearer(who) | kind)
            ).status_code
            for who, service in (
                ("other", "ledger"),
                ("shop", "ledger"),
                ("reader", "ledger"),
                ("nobody", "ledger"),
                ("shop", "checkout"),
            )
        ]
        batch = {"content-type": "application/cloudevents-batch+json"}
        both = [event("checkout"), event("ledger")]
        refused = await http.post("/events", json=both, headers=bearer("shop") | batch)
    assert (codes, refused.status_code) == ([403, 403, 403, 401, 202], 403)
    (record,) = writer.written
    assert dict(record.headers)["aviary-by"] == b"token:shop"
