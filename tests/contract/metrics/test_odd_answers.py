"""What sits at the address of a Prometheus and is none, or has a part of the data: told apart."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.errors import Unanswered, WrongQuery, fault_of
from adapters.metrics.batching import BatchedMetrics
from adapters.metrics.prometheus.source import PrometheusMetrics
from schemas.reading import Fault, Series, partial_of
from tests.contract.metrics import odd

AT = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = ({"__name__": "up", "job": "shop"}, "1")
PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"
HTML = "Content-Type: text/html; charset=utf-8"
MATRIX = {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "1"]]}]}

FAULTS = {
    "a login page": (odd.answer(PAGE, "200 OK", HTML), Fault.WEB_PAGE),
    "a login page that says it is JSON": (odd.answer(PAGE), Fault.WEB_PAGE),
    "a redirect": (odd.answer(b"", "302 Found", "Location: https://sso/?next=x"), Fault.REDIRECTED),
    "moved": (odd.answer(PAGE, "301 Moved", "Location: http://b/", HTML), Fault.REDIRECTED),
    "not allowed": (odd.answer(b"", "401 Unauthorized"), Fault.DENIED),
    "forbidden": (odd.answer(PAGE, "403 Forbidden", HTML), Fault.DENIED),
    "not found": (odd.answer(PAGE, "404 Not Found", HTML), Fault.REFUSED),
    "a proxy's 400": (odd.answer(PAGE, "400 Bad Request", HTML), Fault.REFUSED),
    "busy": (odd.answer(b"slow down", "429 Too Many Requests"), Fault.UNAVAILABLE),
    "down": (odd.answer(b"no upstream", "503 Service Unavailable"), Fault.UNAVAILABLE),
    "its own time-out": (
        odd.answer(odd.error("timeout", "query timed out in expression evaluation"), "503 Busy"),
        Fault.TIMED_OUT,
    ),
    "a store of Thanos away, and no partial answers": (
        odd.answer(odd.error("execution", "expanding series: proxy Series()"), "422 No"),
        Fault.QUERY_FAILED,
    ),
    "an error with 200": (odd.answer(odd.error("internal", "a shard is away")), Fault.QUERY_FAILED),
    "nothing": (odd.answer(b""), Fault.MALFORMED),
    "no content": (odd.answer(b"", "204 No Content"), Fault.REFUSED),
    "cut JSON": (odd.answer(odd.envelope(GOOD)[:-9]), Fault.MALFORMED),
    "a list": (odd.answer(b"[]"), Fault.MALFORMED),
    "null": (odd.answer(b"null"), Fault.MALFORMED),
    "other JSON": (odd.answer(b'{"healthy": true}'), Fault.MALFORMED),
    "no data": (odd.answer(b'{"status":"success","data":null}'), Fault.MALFORMED),
    "deep": (odd.answer(b'{"status":' + b"[" * 100_000), Fault.MALFORMED),
    "no UTF-8": (odd.answer(b'{"status":"\xff"}'), Fault.MALFORMED),
    "not gzip": (odd.answer(b"plain", "200 OK", "Content-Encoding: gzip"), Fault.MALFORMED),
    "a value that is none": (odd.answer(odd.envelope(({}, "many"))), Fault.MALFORMED),
    "a value of digits without end": (odd.answer(odd.envelope(({}, "9" * 9999))), Fault.MALFORMED),
    "labels that are no text": (odd.answer(odd.envelope(({"a": 1}, "1"))), Fault.MALFORMED),  # type: ignore[dict-item]
    "native histograms": (
        odd.answer(
            odd.envelope(GOOD).replace(b'"value": [1735689600.0, "1"]', b'"histogram": [1, {}]')
        ),
        Fault.WRONG_TYPE,
    ),
}


async def asked(talk: odd.Talk, timeout_s: float = 30.0) -> list[Series] | Exception:
    with odd.server(talk) as address:
        source = PrometheusMetrics(address, timeout_s=timeout_s)
        try:
            return list(await source.query("up", AT))
        except (Unanswered, WrongQuery) as error:
            return error
        finally:
            source.close()


@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_has_a_kind_and_may_pass(name: str) -> None:
    talk, fault = FAULTS[name]
    error = await asked(talk)
    assert isinstance(error, Unanswered), error
    assert error.fault is fault
    assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        (odd.error("bad_data", "1:4: parse error"), "400 Bad Request", Fault.WRONG_QUERY),
        (json.dumps({"status": "success", "data": MATRIX}).encode(), "200 OK", Fault.WRONG_TYPE),
        (
            b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}',
            "200 OK",
            Fault.WRONG_TYPE,
        ),
        (
            b'{"status":"success","data":{"resultType":"string","result":[1,"a"]}}',
            "200 OK",
            Fault.WRONG_TYPE,
        ),
    ],
)
async def test_a_query_that_is_wrong_is_not_asked_again(
    body: bytes, status: str, fault: Fault
) -> None:
    error = await asked(odd.answer(body, status))
    assert isinstance(error, WrongQuery)
    assert error.fault is fault


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1e400", "-1.5e-3", "0"])
async def test_all_numbers_of_prometheus_are_read(value: str) -> None:
    found = await asked(odd.answer(odd.envelope(({"a": "b"}, value))))
    assert isinstance(found, list)
    assert repr(found[0].value) == repr(float(value))


SLOW_STORE = (
    'failed to receive any data in 5s from Addr: 10.0.0.7:10901 LabelSets: {prometheus="shop/a"} '
    "Mint: 1634162400003 Maxt: 9223372036854775807: context deadline exceeded"
)
A_NAME = (
    "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
    '"up" (1:6)'
)
REMARKS: dict[str, dict[str, Any]] = {
    "Thanos without stores": {"warnings": ["No StoreAPIs matched for this query"]},
    "Thanos with a slow store": {"warnings": [SLOW_STORE]},
    "samples left out": {
        "warnings": ['PromQL warning: encountered a mix of histograms and floats for "x" (1:6)']
    },
    "samples left out, called an info": {
        "infos": ["PromQL info: ignored histogram in sum aggregation (1:4)"]
    },
    "VictoriaMetrics": {"isPartial": True},
    "a text in place of a list": {"warnings": "partial"},
    "an error beside a result": {"error": "store away", "errorType": "execution"},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "a name": {"infos": [A_NAME]},
    "the same, of Prometheus 2.50": {"warnings": [A_NAME]},
    "none": {"warnings": [], "infos": None, "isPartial": False, "error": ""},
}


@pytest.mark.parametrize(
    "head",
    ["M3-Results-Limited: max_fetch_series_limit_applied", 'Warning: 110 - "Response is Stale"'],
)
async def test_a_warning_in_the_head_of_an_answer_counts_as_well(head: str) -> None:
    talk = odd.answer(odd.envelope(GOOD), "200 OK", "Content-Type: application/json", head)
    with odd.server(talk) as address:
        prometheus = PrometheusMetrics(address)
        try:
            told = partial_of(await prometheus.query("up", AT))
        finally:
            prometheus.close()
    assert told.lower() == head.lower()


@pytest.mark.parametrize("name", REMARKS)
@pytest.mark.parametrize("batched", [False, True])
async def test_an_answer_that_may_lack_something_says_so(name: str, *, batched: bool) -> None:
    rows = odd.envelope(({"aviary_query": "0"}, "1"), ({"aviary_query": "1"}, "2"), **REMARKS[name])
    with odd.server(odd.answer(rows)) as address:
        prometheus = PrometheusMetrics(address)
        source = BatchedMetrics(prometheus) if batched else prometheus
        for found in await asyncio.gather(source.query("a", AT), source.query("b", AT)):
            assert partial_of(found)
            assert len(partial_of(found)) < 400
        prometheus.close()


@pytest.mark.parametrize("name", HARMLESS)
async def test_a_remark_about_names_is_none_about_data(name: str) -> None:
    with odd.server(odd.answer(odd.envelope(GOOD, **HARMLESS[name]))) as address:
        prometheus = PrometheusMetrics(address)
        assert partial_of(await prometheus.query("up", AT)) == ""
        prometheus.close()


JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "headers": odd.drip(JSON, b"X: y\r\n"),
    "one header": odd.drip(JSON + b"X: ", b"y"),
    "a body": odd.drip(JSON + b'Content-Length: 99999\r\n\r\n{"status":', b" "),
    "a body without end": odd.drip(JSON + b"Connection: close\r\n\r\n", b" "),
    "chunks": odd.drip(JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "nothing": odd.drip(b"", b""),
}


@pytest.mark.parametrize("name", DRIPS)
async def test_nobody_who_drips_holds_a_query_beyond_its_time(name: str) -> None:
    async with asyncio.timeout(30):
        error = await asked(DRIPS[name], timeout_s=0.5)
    assert isinstance(error, Unanswered)
    assert error.fault is Fault.TIMED_OUT


@pytest.mark.parametrize("name", DRIPS)
async def test_those_who_drip_hold_no_thread_either(name: str) -> None:
    talks = iter([DRIPS[name]])
    good = odd.answer(odd.envelope(GOOD))

    def talk(connection: socket.socket, over: threading.Event) -> None:
        next(talks, good)(connection, over)

    with odd.server(talk) as address:
        source = PrometheusMetrics(address, timeout_s=1, parallel=1)
        async with asyncio.timeout(60):
            with pytest.raises(Unanswered):
                await source.query("up", AT)
            assert [one.value for one in await source.query("up", AT)] == [1.0]
        source.close()


LARGE = {
    "a body without end": odd.flood(JSON + b"\r\n", b'{"metric":' * 10_000),
    "a body of a gigabyte": odd.flood(JSON + b"Content-Length: 1000000000\r\n\r\n", b" " * 65536),
    "few bytes that unpack to many": odd.zipped(b" " * 200_000_000),
}


@pytest.mark.parametrize("name", LARGE)
async def test_a_huge_answer_is_left_unread(name: str) -> None:
    tracemalloc.start()
    try:
        error = await asked(LARGE[name], timeout_s=120)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, Unanswered)
    assert error.fault is Fault.TOO_LARGE
    assert most < 60_000_000


async def test_who_says_other_queries_answers_than_were_asked_leaves_nobody_waiting() -> None:
    rows = odd.envelope(({"aviary_query": "7"}, "1"), GOOD)
    with odd.server(odd.answer(rows)) as address:
        prometheus = PrometheusMetrics(address)
        source = BatchedMetrics(prometheus)
        async with asyncio.timeout(60):
            found = await asyncio.gather(
                source.query("a", AT), source.query("b", AT), return_exceptions=True
            )
        assert [fault_of(one) for one in found if isinstance(one, Exception)] == [
            Fault.MALFORMED
        ] * 2
        await source.close()
        prometheus.close()


async def test_what_an_answer_says_is_shown_and_does_nothing() -> None:
    text = "\x1b]0;owned\x07" + "a" * 100_000
    error = await asked(odd.answer(odd.error("internal", text), "500 No"))
    assert isinstance(error, Unanswered)
    assert "\\x1b]0;owned" in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 700


async def test_no_password_of_an_address_is_shown() -> None:
    with odd.server(odd.answer(b"", "503 No")) as address:
        source = PrometheusMetrics(address.replace("://", "://u:secret@"))
        with pytest.raises(Unanswered) as caught:
            await source.query("up", AT)
        source.close()
    assert "secret" not in str(caught.value)
    assert address in str(caught.value)
