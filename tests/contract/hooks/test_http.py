"""What only HTTP has: the signature, the statuses, and bodies that are anybody's."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.errors import Retryable
from adapters.hooks.http import HTTP
from adapters.hooks.http.caller import BODY_MOST, CONTENT_TYPE, HttpHook
from adapters.hooks.http.connection import HttpHookConnection
from adapters.hooks.http.signature import key_of, signature
from adapters.kinds import Shared
from aviary.discreet import discreet
from schemas.hooks import HookAnswer, Said
from tests.contract.hooks.receiver import Receiver, receiving
from tests.contract.hooks.subjects import HEADER, KEY, SECRET, connection, event

OTHER = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def hook(receiver: Receiver) -> AsyncIterator[HttpHook]:
    made = HttpHook(connection(receiver), timeout=timedelta(seconds=20))
    yield made
    await made.aclose()


def verified(key: bytes, headers: dict[str, str], body: bytes) -> bool:
    """By another implementation of HMAC, step by step as the specification says."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    code = HMAC(key, hashes.SHA256())
    code.update(signed)
    expected = base64.b64encode(code.finalize()).decode()
    return f"v1,{expected}" in headers["webhook-signature"].split(" ")


# --- what is sent ---


def test_the_signature_is_that_of_the_specification() -> None:
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    content = b'{"test": 2432232314}'
    made = signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, content)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_whoever_has_the_secret_can_tell_that_it_is_ours(
    receiver: Receiver, hook: HttpHook
) -> None:
    await hook.call(event())
    (request,) = receiver.requests
    assert (request.method, request.target) == ("POST", "/hooks")
    assert request.headers["content-type"] == CONTENT_TYPE
    assert request.headers["webhook-id"] == event().id
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    assert request.headers["x-api-key"] == HEADER
    assert verified(KEY, request.headers, request.body)
    assert not verified(KEY, request.headers, request.body + b" ")
    assert not verified(bytes(32), request.headers, request.body)


async def test_while_a_secret_is_being_changed_both_can_tell(receiver: Receiver) -> None:
    both = connection(receiver, secret=OTHER, previous_secret=SECRET)
    hook = HttpHook(both, timeout=timedelta(seconds=20))
    await hook.call(event())
    await hook.aclose()
    (request,) = receiver.requests
    assert verified(KEY, request.headers, request.body)
    assert verified(bytes(range(32, 64)), request.headers, request.body)


async def test_one_connection_serves_several_hooks(receiver: Receiver) -> None:
    for options in ({"path": "/load"}, {"path": "/smoke/v2"}):
        given = HTTP.options.model_validate(options)
        hook = HTTP.make(given, connection(receiver), Shared(None))  # type: ignore[arg-type]
        await hook.call(event())
        await hook.aclose()
    assert [one.target for one in receiver.requests] == ["/hooks/load", "/hooks/smoke/v2"]


# --- what is answered ---


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (204, b"", HookAnswer(said=Said.YES)),
        (200, b"OK", HookAnswer(said=Said.YES)),
        (200, b'{"status": "fine"}', HookAnswer(said=Said.YES)),
        (200, b'{"verdict": "no", "reason": "slow"}', HookAnswer(said=Said.NO, reason="slow")),
        (201, b'{"verdict": "later"}', HookAnswer(said=Said.LATER)),
        (202, b"", HookAnswer(said=Said.LATER)),
        (400, b"too many errors", HookAnswer(said=Said.NO, reason="too many errors")),
        (403, b'{"detail": "frozen"}', HookAnswer(said=Said.NO, reason="frozen")),
        (404, b"<html>none</html>", HookAnswer(said=Said.NO, reason="HTTP 404")),
        (422, b"", HookAnswer(said=Said.NO, reason="HTTP 422")),
    ],
)
async def test_the_status_is_the_answer(
    receiver: Receiver, hook: HttpHook, status: int, body: bytes, answer: HookAnswer
) -> None:
    receiver.says(status, body)
    assert await hook.call(event()) == answer


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, b"", "HTTP 500"),
        (503, b"full", "HTTP 503: full"),
        (408, b"", "HTTP 408"),
        (429, b"", "HTTP 429"),
        (307, b"", "HTTP 307"),
        (200, b'{"verdict": "maybe"}', "verdict: got 'maybe', expected one of yes, no, later"),
        (200, b'{"verdict": ["yes"]}', "verdict: got \"['yes']\", expected"),
        (200, b'{"verdict": true}', "verdict: got 'True', expected"),
        (200, b"x" * (BODY_MOST + 1), "more than 65,536 bytes"),
    ],
)
async def test_what_is_no_answer_says_why(
    receiver: Receiver, hook: HttpHook, status: int, body: bytes, why: str
) -> None:
    receiver.says(status, body)
    with pytest.raises(Retryable) as found:
        await hook.call(event())
    assert why in str(found.value)


async def test_what_says_that_it_is_json_has_to_be(receiver: Receiver, hook: HttpHook) -> None:
    receiver.says(200, b'{"verdict": "no"', content_type="application/json")
    with pytest.raises(Retryable, match="not the JSON"):
        await hook.call(event())


async def test_a_redirect_is_not_followed(receiver: Receiver, hook: HttpHook) -> None:
    receiver.says(307, b"", location=f"{receiver.url}/elsewhere")
    with pytest.raises(Retryable, match="HTTP 307"):
        await hook.call(event())
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("written", "seconds"), [("5", 5), ("0", 1), ("86400", 600), ("9" * 50, None), ("soon", None)]
)
async def test_when_to_ask_again_is_bounded(
    receiver: Receiver, hook: HttpHook, written: str, seconds: int | None
) -> None:
    receiver.says(202, b"", retry_after=written)
    again = (await hook.call(event())).ask_again
    assert again == (None if seconds is None else timedelta(seconds=seconds))


# --- where an answer that comes later is asked for ---


async def test_who_says_where_the_answer_will_be_is_asked_there(
    receiver: Receiver, hook: HttpHook
) -> None:
    receiver.says(202, b"", location="/jobs/7?of=aviary#end")
    at = (await hook.call(event())).ask_at
    assert at == f"http://127.0.0.1:{receiver.port}/jobs/7?of=aviary"
    receiver.says(202, b"")
    assert (await hook.poll(event(), at)).ask_at == at, "as long as it says no other"
    receiver.says(202, b"", location="8", retry_after="3")
    moved = await hook.poll(event(), at)
    assert moved.ask_at == f"http://127.0.0.1:{receiver.port}/jobs/8"
    assert moved.ask_again == timedelta(seconds=3)
    receiver.says(200, b'{"verdict": "no", "reason": "slow"}')
    assert await hook.poll(event(), moved.ask_at) == HookAnswer(said=Said.NO, reason="slow")
    targets = ["/hooks", "/jobs/7?of=aviary", "/jobs/7?of=aviary", "/jobs/8"]
    assert [one.target for one in receiver.requests] == targets
    asked = receiver.requests[-1]
    assert (asked.method, asked.body, asked.headers["webhook-id"]) == ("GET", b"", event().id)
    assert verified(KEY, asked.headers, b"")


@pytest.mark.parametrize("status", [404, 410])
async def test_where_nothing_is_known_of_it_the_event_is_to_be_sent_again(
    receiver: Receiver, hook: HttpHook, status: int
) -> None:
    receiver.says(status, b"")
    forgotten = await hook.poll(event(), receiver.url)
    assert (forgotten.said, forgotten.ask_at) == (Said.LATER, "")


@pytest.mark.parametrize(
    "location",
    [
        "http://elsewhere.example/jobs/7",
        "//elsewhere.example/jobs/7",
        "https://127.0.0.1:{port}/jobs/7",
        "http://127.0.0.1:1/jobs/7",
        "http://127.0.0.1:{port}@elsewhere.example/",
        "http://[",
        "http://127.0.0.1:99999999/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "x" * 2_001,
    ],
)
async def test_nobody_else_is_sent_what_is_ours(
    receiver: Receiver, hook: HttpHook, location: str
) -> None:
    receiver.says(202, b"", location=location.format(port=receiver.port))
    later = await hook.call(event())
    assert (later.said, later.ask_at) == (Said.LATER, "")


async def test_an_address_of_before_is_not_asked_where_the_connection_has_moved(
    receiver: Receiver, hook: HttpHook
) -> None:
    before = await hook.poll(event(), "http://elsewhere.example/jobs/7")
    assert (before.said, before.ask_at, receiver.requests) == (Said.LATER, "", [])


def test_no_history_has_the_address() -> None:
    later = HookAnswer(said=Said.LATER, ask_at="https://tests.example/jobs/7?key=secret")
    assert "secret" not in later.model_dump_json()


async def test_silence_ends_by_its_time(receiver: Receiver) -> None:
    receiver.silent = True
    hook = HttpHook(connection(receiver), timeout=timedelta(milliseconds=50))
    with pytest.raises(Retryable, match=r"no answer within 0\.05 s"):
        await hook.call(event())
    await hook.aclose()


async def test_who_is_not_there_may_come_back() -> None:
    async with receiving() as receiver:
        hook = HttpHook(connection(receiver), timeout=timedelta(seconds=20))
    with pytest.raises(Retryable, match="ConnectError"):
        await hook.call(event())
    await hook.aclose()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(status=st.integers(200, 599), body=st.binary(max_size=300))
async def test_no_answer_of_anybody_does_harm(
    receiver: Receiver, hook: HttpHook, status: int, body: bytes
) -> None:
    if status in {204, 304}:
        body = b""
    receiver.says(status, body)
    try:
        answer = await hook.call(event())
    except Retryable:
        return
    assert answer.said is not Said.YES or 200 <= status < 300
    assert answer.said is Said.NO or status < 400
    assert len(answer.reason) <= 2000


# --- what nobody is shown ---


async def test_no_error_shows_a_secret(receiver: Receiver) -> None:
    at = connection(receiver, url=f"{receiver.url}/{HEADER}?token=t0k3nt0k3n")
    hook = discreet(HttpHook(at, timeout=timedelta(seconds=20)), at)
    url = at.url.read()
    receiver.says(503, f"who sent {SECRET} and {HEADER} to {url}?".encode())
    with pytest.raises(Retryable) as found:
        await hook.call(event())
    await hook.aclose()
    assert receiver.requests[0].target == f"/hooks/{HEADER}?token=t0k3nt0k3n"
    assert SECRET not in str(found.value)
    assert HEADER not in str(found.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://127.0.0.1/s3cr3t"},
        {"url": "http://ann:s3cr3t@127.0.0.1/"},
        {"secret": "s3cr3t"},
        {"secret": "whsec_czNjcjN0"},
        {"previous_secret": "whsec_s3cr3t"},
        {"headers": {"webhook-id": "s3cr3t"}},
        {"headers": {"content-type": "s3cr3t"}},
        {"headers": {"x-key": "s3cr3t\r\nx-more: 1"}},
        {"headers": {"x key": "s3cr3t"}},
    ],
)
def test_a_connection_that_can_not_work_is_refused(wrong: dict[str, object]) -> None:
    given: dict[str, object] = {"url": "http://127.0.0.1/", "secret": SECRET, **wrong}
    with pytest.raises(ValidationError) as found:
        HttpHookConnection.model_validate(given)
    assert all("s3cr3t" not in str(one["msg"]) for one in found.value.errors())


@pytest.mark.parametrize("path", ["/../admin", "smoke", "//evil", "/a?b=1", "/a#b", "/a b", "/./a"])
def test_a_path_stays_below_the_address(path: str) -> None:
    with pytest.raises(ValidationError):
        HTTP.options.model_validate({"path": path})
