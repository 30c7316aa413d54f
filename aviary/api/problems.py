"""Errors over HTTP as RFC 9457 has them, and bodies that are read within bounds."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from schemas.base import Model
from schemas.outside import TEXT_MOST, cut, visible

PROBLEM: Final = "application/problem+json"
RETRY_S: Final = 5
"""Seconds after which a caller may come again."""


class Problem(Exception):  # noqa: N818 - an answer, not a failure
    """What is answered in place of what was asked for.

    Args:
        status: of the answer.
        reason: in one word, for programs; the same for the same mistake.
        detail: a sentence for people: the field, the value, and what was expected.
        retry_s: seconds after which the same may be asked again; None: it would not help.
    """

    def __init__(
        self, status: HTTPStatus, reason: str, detail: str, retry_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.reason = status, reason
        self.detail = cut(visible(detail), TEXT_MOST)
        if retry_s is None and status is HTTPStatus.SERVICE_UNAVAILABLE:
            retry_s = RETRY_S
        self.retry_s = retry_s


class ProblemBody(Model):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    """The status in words."""
    status: int
    reason: str
    detail: str


def problem_answer(problem: Problem, **more: object) -> JSONResponse:
    """The answer to a request that was refused; `more` are members of its own (RFC 9457, 3.2)."""
    headers = {"Cache-Control": "no-store"}
    if problem.status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.retry_s is not None:
        headers["Retry-After"] = str(problem.retry_s)
    body = ProblemBody(
        title=problem.status.phrase,
        status=problem.status.value,
        reason=problem.reason,
        detail=problem.detail,
    )
    return JSONResponse({**body.model_dump(), **more}, problem.status, headers, media_type=PROBLEM)


def described(**texts: str) -> dict[int | str, dict[str, Any]]:
    """Errors as OpenAPI describes them: `described(_404="There is no such release.")`."""
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {
        int(status.removeprefix("_")): {"description": text, "content": content}
        for status, text in texts.items()
    }


async def read_body(request: Request, most: int, within_s: float) -> bytes:
    """The body of a request.

    Args:
        request: which is being read.
        most: bytes that it may have.
        within_s: seconds that it may take.

    Raises:
        Problem: it is larger, slower, or not whole.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    text = f"body: larger than expected, at most {most} bytes"
                    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", text)
    except TimeoutError:
        text = f"body: not whole within {within_s:g} s"
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "slow", text) from None
    except ClientDisconnect:
        text = "the sender has gone before its body was whole"
        raise Problem(HTTPStatus.BAD_REQUEST, "disconnected", text) from None
    return bytes(body)
