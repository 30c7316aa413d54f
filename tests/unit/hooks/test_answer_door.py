"""The door of answers: who may answer, what is an answer, and what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.errors import Retryable
from adapters.hooks.tokens import AnswerTokens, Called
from aviary.answer_door import BODY_MOST, PATH, AnswerDoor
from aviary.hook_answers import Given
from aviary.webhook import WebhookOptions, create_app
from schemas.hooks import LateAnswer, NotTaken
from tests.unit.hooks.test_tokens import CALLED, SECRET, TOKENS
from tests.unit.ingestion.fakes import FakeWriter

TOKEN = TOKENS.make(CALLED)
YES = {"verdict": "yes"}


class Canary:
    """Takes what it is given, and says what it is told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, LateAnswer]] = []
        self.says = Given("the hook has answered")
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, service: str, late: LateAnswer) -> Given:
        await self.gate.wait()
        if self.away:
            raise Retryable("no worker has answered")
        self.taken.append((service, late))
        return self.says


@pytest.fixture
def canary() -> Canary:
    return Canary()


def client(canary: Canary, tokens: AnswerTokens | None = TOKENS, most: int = 20) -> Any:
    door = AnswerDoor(tokens, canary, most)
    app = create_app(WebhookOptions(), FakeWriter(), lambda _: None, door=door)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://webhook")


async def post(
    http: httpx.AsyncClient, body: object = YES, token: str | None = TOKEN
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return await http.post(PATH, content=content, headers=headers)


async def test_an_answer_goes_to_the_canary_that_its_token_names(canary: Canary) -> None:
    body = {"verdict": "no", "reason": "frozen", "by": "ann"}
    async with client(canary) as http:
        answer = await post(http, body)
    assert (answer.status_code, answer.json()) == (
        200,
        {"taken": True, "detail": "the hook has answered"},
    )
    late = LateAnswer(id=CALLED.call, verdict="no", reason="frozen", by="ann")
    assert canary.taken == [("checkout", late)]


@pytest.mark.parametrize(
    ("why", "status"),
    [
        (NotTaken.ALIKE, 200),
        (NotTaken.OTHERWISE, 409),
        (NotTaken.TOO_LATE, 410),
        (NotTaken.UNKNOWN, 410),
    ],
)
async def test_twice_and_too_late_are_said(canary: Canary, why: NotTaken, status: int) -> None:
    canary.says = Given("has answered already", why)
    async with client(canary) as http:
        answer = await post(http)
    assert answer.status_code == status
    assert answer.json()["detail"] == "has answered already"
    assert answer.json().get("taken", False) is False


@pytest.mark.parametrize(
    "token",
    [None, "", TOKEN[:-1], TOKEN + "x", "x" * 5000, TOKENS.make(Called("checkout", "msg_1"))[:-2]],
)
async def test_without_its_token_nobody_answers(canary: Canary, token: str | None) -> None:
    async with client(canary) as http:
        answer = await post(http, token=token)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        basic = {"authorization": f"Basic {TOKEN}"}
        assert (await http.post(PATH, json=YES, headers=basic)).status_code == 401
    assert canary.taken == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"yes",
        b"\xff",
        b"[" * 4000,
        b'{"verdict": NaN}',
        [],
        {},
        {"verdict": "later"},
        {"verdict": "yes", "id": "msg_0"},
        {"verdict": "yes", "reason": 7},
    ],
)
async def test_what_is_no_answer_is_refused(canary: Canary, body: object) -> None:
    async with client(canary) as http:
        answer = await post(http, body)
    assert answer.status_code == 422
    assert answer.json()["reason"] == "unfit"
    assert canary.taken == []


async def test_a_body_is_bounded(canary: Canary) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_MOST // 1000 + 2):
            yield b" " * 1000

    async with client(canary) as http:
        headers = {"authorization": f"Bearer {TOKEN}"}
        answer = await http.post(PATH, content=chunks(), headers=headers)
    assert answer.status_code == 413
    assert canary.taken == []


async def test_it_is_to_come_again_while_temporal_is_away(canary: Canary) -> None:
    canary.away = True
    async with client(canary) as http:
        answer = await post(http)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        canary.away = False
        assert (await post(http)).status_code == 200


async def test_those_under_way_are_bounded(canary: Canary) -> None:
    canary.gate.clear()
    async with client(canary, most=2) as http:
        posted = {asyncio.create_task(post(http)) for _ in range(3)}
        done, slow = await asyncio.wait(posted, return_when=asyncio.FIRST_COMPLETED)
        canary.gate.set()
        (busy,) = [one.result() for one in done]
        assert [(await one).status_code for one in slow] == [200, 200]
        assert (await post(http)).status_code == 200
    assert busy.status_code == 503
    assert busy.json()["reason"] == "busy"


async def test_without_a_secret_there_is_no_door(canary: Canary) -> None:
    async with client(canary, tokens=None) as http:
        answer = await post(http)
    assert answer.status_code == 404
    assert "AVIARY_HOOK_ANSWER_SECRET" in answer.json()["detail"]


async def test_a_secret_that_can_not_be_read_is_said_without_it(
    canary: Canary, tmp_path: Path
) -> None:
    missing = type(SECRET)(file=tmp_path / "gone")
    async with client(canary, AnswerTokens(missing)) as http:
        answer = await post(http)
    assert answer.status_code == 503
    assert canary.taken == []
