"""What the load counts, and how it keeps its rate."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.local.http1 import Client, Request, Response, serve
from aviary.local.load import ENTRIES, Load
from aviary.local.shop import DEPENDENCIES
from aviary.local.tally import Call, Tally, parse_calls

_calls = st.builds(
    Call,
    service=st.sampled_from(["cart", "ledger"]),
    version=st.sampled_from(["1", "2"]),
    status=st.sampled_from([0, 200, 404, 500, 503]),
    started=st.integers(0, 20_000).map(float),
)


def test_headers_are_read_into_calls_with_the_users_own_first() -> None:
    calls = parse_calls("checkout/1.4.2", 200, 5.0, "cart/1.0=200@6 payments/?=0@7")
    assert calls == [
        Call("checkout", "1.4.2", 200, 5.0),
        Call("cart", "1.0", 200, 6.0),
        Call("payments", "?", 0, 7.0),
    ]
    assert [call.failed for call in calls] == [False, False, True]


def test_users_are_counted_once_and_a_failure_below_is_a_degraded_answer() -> None:
    tally = Tally()
    tally.add([Call("cart", "1", 200, 0), Call("ledger", "1", 500, 0)])
    tally.add([Call("cart", "1", 200, 0), Call("ledger", "?", 0, 0)])
    tally.add([Call("cart", "1", 503, 0)])
    tally.add([Call("cart", "1", 404, 0)])
    document = tally.document()
    assert document["users"] == {
        "sent": 4,
        "failed": 1,
        "degraded": 2,
        "unanswered": 1,
        "held_back": 0,
    }
    assert document["versions"]["ledger/1"]["failed"] == 1
    assert document["versions"]["cart/1"] == {
        "sent": 4,
        "failed": 1,
        "largest_share": 0.0,
        "last_started": 0,
    }


def test_the_largest_share_is_that_of_three_seconds() -> None:
    tally = Tally()
    for at in range(0, 100_000, 100):
        canary = 40_000 <= at < 60_000 and at % 200 == 0
        tally.add([Call("cart", "2" if canary else "1", 200, float(at))])
    versions = tally.document()["versions"]
    assert versions["cart/2"]["largest_share"] == pytest.approx(50, abs=4)
    assert versions["cart/2"]["last_started"] == 59_800
    assert versions["cart/1"]["largest_share"] == 100


@given(st.lists(_calls, min_size=1, max_size=200))
def test_no_call_is_lost_whatever_the_order(calls: list[Call]) -> None:
    tally = Tally()
    for call in calls:
        tally.add([call])
    versions = tally.document()["versions"].values()
    assert sum(v["sent"] for v in versions) == len(calls)
    assert sum(v["failed"] for v in versions) == sum(call.failed for call in calls)
    assert max(v["last_started"] for v in versions) == max(call.started for call in calls)
    assert all(0 <= v["largest_share"] <= 100 for v in versions)
    tally.reset()
    assert tally.document()["versions"] == {}


def test_users_enter_at_every_service() -> None:
    assert set(ENTRIES) == set(DEPENDENCIES)
    assert sum(ENTRIES.values()) == 100


# Requests that are under way at the end leave their connections to the loop's own end.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_it_asks_for_all_services_as_users_that_come_back() -> None:
    seen: list[Request] = []
    enough = asyncio.Event()

    async def answer(request: Request) -> Response:
        seen.append(request)
        if len(seen) == 300:
            enough.set()
        return Response(200, b"", {"x-served-by": f"{request.headers['host']}/9"})

    server = await serve(answer, "127.0.0.1", 0)
    client = Client("127.0.0.1", server.sockets[0].getsockname()[1])
    load = Load(client, 1000, dice=random.Random(3))
    sending = asyncio.create_task(load.run())
    await asyncio.wait_for(enough.wait(), 30)
    sending.cancel()
    server.close()
    assert {request.headers["host"] for request in seen} == set(ENTRIES)
    ids = [request.headers["x-request-id"] for request in seen]
    assert len(set(ids)) == len(ids)
    assert load.tally.document()["users"]["failed"] == 0
    client.close()


async def test_a_router_that_is_away_is_counted_as_failures() -> None:
    load = Load(Client("127.0.0.1", 9), 1000, dice=random.Random(3))
    sending = asyncio.create_task(load.run())
    async with asyncio.timeout(30):
        while load.tally.users.failed < 5:  # noqa: ASYNC110 - the load has no event for it
            await asyncio.sleep(0.01)
    sending.cancel()
    assert all(name.endswith("/?") for name in load.tally.document()["versions"])


@pytest.mark.parametrize("rps", [0, -1, 1001, "many", True, None])
async def test_a_rate_out_of_bounds_is_refused(rps: object) -> None:
    load = Load(Client("127.0.0.1", 9), 10, dice=random.Random(3))
    body = json.dumps({"rps": rps}).encode()
    answer = await load.control(Request("POST", "/rate", {}, body))
    assert answer.status == 400
    assert "expected a number above 0, at most 1000" in json.loads(answer.body)["error"]
    assert load.rps == 10
