"""Where hooks that said `later` post their answer: a token says which call it is for.

Here belongs who may answer, what an answer looks like, and what it is told. What an answer does
does not (`workflows/asking.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, Literal

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from temporalio.client import Client

from adapters.errors import Retryable, Terminal
from adapters.hooks.tokens import AnswerTokens, Called
from aviary.access_settings import secret_at_use
from aviary.api.audit import audit
from aviary.api.problems import Problem, problem_answer, read_body
from aviary.bearer import bearer_of
from aviary.connect import connect_temporal
from aviary.hook_answers import Given, give
from aviary.settings import Settings
from schemas.base import Model
from schemas.events import JSON_CONTENT_TYPE
from schemas.hooks import HookEvent, LateAnswer, NotTaken
from schemas.ids import Cell
from schemas.outside import Name, Text, cut
from schemas.rejection import explain

PATH: Final = "/hooks/answer"
BODY_MOST: Final = 16 * 1024
_AT_ONCE: Final = 20
"""Answers that are under way at the same time."""
_PATIENCE_S: Final = 10.0
_BODY_S: Final = 10.0
_SHOWN: Final = 500
_log = structlog.get_logger("aviary.webhook")

_STATUS: Final = {
    NotTaken.UNFIT: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotTaken.UNKNOWN: HTTPStatus.GONE,
    NotTaken.OTHERWISE: HTTPStatus.CONFLICT,
    NotTaken.TOO_LATE: HTTPStatus.GONE,
}


_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The hook has answered so; `taken` says whether by this answer."},
    401: {"description": "Missing or wrong token."},
    404: {"description": "No hook may answer here."},
    409: {"description": "It has answered otherwise already."},
    410: {"description": "Too late: nobody waits for it."},
    413: {"description": "Body too large."},
    422: {"description": "No answer."},
    503: {"description": "Temporal or its worker is away; send the answer again."},
}


class AnswerBody(Model):
    """What is posted."""

    verdict: Literal["yes", "no"]
    reason: Text = ""
    by: Name = ""


_BODY: Final = {
    "required": True,
    "content": {JSON_CONTENT_TYPE: {"schema": AnswerBody.model_json_schema()}},
}
Give = Callable[[str, LateAnswer], Awaitable[Given]]
"""Gives an answer to the canary of a service. Raises `Retryable`."""


class AnswerDoor:
    """Takes answers over HTTP.

    Args:
        tokens: proves who may answer; None: nobody may.
        give: gives an answer to a canary.
        most: answers that are under way at the same time.
    """

    def __init__(self, tokens: AnswerTokens | None, give: Give, most: int = _AT_ONCE) -> None:
        self._tokens = tokens
        self._give = give
        self._most = most
        self._under_way = 0

    async def answer(self, request: Request) -> JSONResponse:
        """Answer one request: 200 once the hook has answered so, now or before."""
        try:
            return JSONResponse(await self._take(request))
        except Problem as refused:
            _log.warning("hook_answer_refused", status=refused.status, detail=refused.detail)
            audit(request, None, "hook_answer", refused.status, {}, refused.reason)
            return problem_answer(refused)

    async def _take(self, request: Request) -> dict[str, object]:
        called = self._called(request)
        if self._under_way >= self._most:
            text = "too many answers at once, expected it again later"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", text)
        self._under_way += 1
        try:
            late = _late(called, await read_body(request, BODY_MOST, _BODY_S))
            try:
                given = await self._give(called.service, late)
            except (Retryable, Terminal) as error:
                text = f"{cut(str(error), _SHOWN)}; expected the answer again later"
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "away", text) from error
        finally:
            self._under_way -= 1
        if given.untaken is not None and not given.heard:
            raise Problem(_STATUS[given.untaken], given.untaken.value, given.text)
        taken = given.untaken is None
        about = {"service": called.service, "call": called.call, "taken": taken}
        _log.info("hook_answered", **about)
        audit(request, f"hook:{called.call}", "hook_answer", HTTPStatus.OK, about)
        return {"taken": taken, "detail": given.text}

    def _called(self, request: Request) -> Called:
        """What the token of a request is for."""
        if self._tokens is None:
            text = "no hook may answer here: AVIARY_HOOK_ANSWER_SECRET is not set"
            raise Problem(HTTPStatus.NOT_FOUND, "closed", text)
        try:
            called = self._tokens.read(bearer_of(request))
        except Retryable as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "away", str(error)) from error
        if called is None:
            text = "authorization: missing or wrong, expected the answer_token of a call as bearer"
            raise Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", text)
        return called


async def _nobody(_: str, __: LateAnswer) -> Given:
    raise Retryable("nobody takes answers")


CLOSED: Final = AnswerDoor(None, _nobody)
"""Where no hook may answer."""


def add_answers(app: FastAPI, door: AnswerDoor) -> None:
    """Add the door to an app."""

    @app.post(PATH, responses=_RESPONSES, openapi_extra={"requestBody": _BODY})
    async def hook_answer(request: Request) -> JSONResponse:
        """Take the answer of a hook that said it would come later; the bearer token names it."""
        return await door.answer(request)


def _late(called: Called, body: bytes) -> LateAnswer:
    try:
        given = AnswerBody.model_validate_json(body)
    except ValidationError as error:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        raise Problem(status, NotTaken.UNFIT.value, cut(explain(error), _SHOWN)) from None
    return LateAnswer(id=called.call, verdict=given.verdict, reason=given.reason, by=given.by)


# --- wiring ---


def tokens_of(settings: Settings) -> AnswerTokens | None:
    """What makes and proves tokens; None where no hook may answer over HTTP."""
    secret = secret_at_use(settings, "hook_answer_secret")
    return None if secret is None else AnswerTokens(secret, settings.cell)


def with_door(settings: Settings) -> Callable[[HookEvent], HookEvent]:
    """Adds to events that ask where they may be answered later, if they may."""
    tokens = tokens_of(settings)

    def added(event: HookEvent) -> HookEvent:
        if tokens is None or not event.data.moment.asks:
            return event
        token = tokens.make(Called(event.subject, event.id))
        door = {"answer_token": token, "answer_url": settings.hook_answer_url or ""}
        return event.model_copy(update={"data": event.data.model_copy(update=door)})

    return added


class ByTemporal:
    """Gives answers through Temporal, to which it connects when there is the first.

    Args:
        settings: where Temporal is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def __call__(self, service: str, late: LateAnswer) -> Given:
        """Give one (see `give`)."""
        try:
            async with asyncio.timeout(_PATIENCE_S), self._connecting:
                self._client = self._client or await connect_temporal(self._settings)
        except TimeoutError:
            raise Retryable("Temporal: no connection yet") from None
        cell: Cell = self._settings.in_cell
        patience = timedelta(seconds=_PATIENCE_S)
        return await give(self._client, service, late, cell=cell, patience=patience)
