"""`/releases…` of the webhook: paths, parameters, and how OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from aviary.api.answers import ASKS_HEADER, PAGE_MOST, PHASE_HEADER, PICK, Api
from aviary.api.models import Answered, CommandBody, Listing, OneRelease, PickBody, WhoAmI
from aviary.api.problems import Problem, ProblemBody, described, problem_answer
from aviary.api.roles import WORDS
from aviary.releases.failing import CommandError
from aviary.releases.finding import Filters, moment, quoted
from schemas.base import ServiceName
from schemas.events import JSON_CONTENT_TYPE
from schemas.outside import NAME_MOST
from schemas.phases import ReleasePhase
from schemas.release import CauseKind
from schemas.verdict import VerdictKind

_SECURED: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_REFUSED: Final = described(
    _401="Missing, wrong or expired token.",
    _403="The token has not the role.",
    _429="Too many requests of this token; `Retry-After` says when to come again.",
    _503="Temporal or its worker is away, or too much at once; ask again.",
)
_NONE: Final = described(
    _400="No release id, or no such filter.",
    _404="There is no such release, or none of the token's services is in it.",
    _409="It ended without a result: it was terminated; or it is of other services than `of`.",
)
_HEADERS: Final = {
    "ETag": {"schema": {"type": "string"}, "description": "Changes when the answer does."}
}
_UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "As `If-None-Match` has it.", "headers": _HEADERS}
}
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events: CloudEvents, each with its id.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
_SUMMARY: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Markdown.",
        "content": {"text/markdown": {"schema": {"type": "string"}}},
        "headers": {
            **_HEADERS,
            PHASE_HEADER: {
                "schema": {"type": "string", "enum": [phase.value for phase in ReleasePhase]},
                "description": "Where the release is.",
            },
            ASKS_HEADER: {
                "schema": {"type": "string", "enum": ["true", "false"]},
                "description": "Whether it goes on only when a person has done something.",
            },
        },
    }
}
_WORD: Final = described(
    _400="No release id, or no `Idempotency-Key`.",
    _404="There is no such release, no such word, or none of the token's services is in it.",
    _408="The body took too long.",
    _409="The release refuses the word now, or has ended.",
    _413="The body is too large.",
    _422="The body is not as expected.",
)
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "The same key again, of the same caller, word and service, does nothing more "
    "and has the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}
_IF_NONE_MATCH: Final = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
_LAST_ID: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event that the caller has.",
    "schema": {"type": "string"},
}


def _asked(*parameters: dict[str, Any]) -> dict[str, Any]:
    return {**_SECURED, "parameters": list(parameters)}


def _model(of: type, status: int = 200, text: str = "", **more: Any) -> dict[int | str, Any]:
    return {status: {"model": of, "description": text, **more}}


def add_problems(app: FastAPI) -> None:
    """Let an app answer every mistake with a problem, and describe what one is."""

    @app.exception_handler(Problem)
    async def refused(_request: Request, problem: Problem) -> Response:
        return problem_answer(problem)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        text = f"{name}: {str(first['msg']).removeprefix('Input should be ')}"
        return problem_answer(Problem(HTTPStatus.BAD_REQUEST, "bad_filter", text))

    @app.exception_handler(HTTPException)
    async def elsewhere(_request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        other_way = status is HTTPStatus.METHOD_NOT_ALLOWED
        reason = "wrong_method" if other_way else "no_such_path"
        answer = problem_answer(Problem(status, reason, status.description))
        answer.headers.update(error.headers or {})
        return answer

    plain = app.openapi

    def openapi() -> dict[str, Any]:
        whole = plain()
        parts = whole.setdefault("components", {})
        schemas = parts.setdefault("schemas", {})
        schemas["ProblemBody"] = ProblemBody.model_json_schema()
        parts["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        return whole

    app.openapi = openapi  # type: ignore[method-assign]


def add_api(app: FastAPI, api: Api) -> None:
    """Add the paths about releases to an app."""

    @app.get(
        "/whoami",
        responses={**_model(WhoAmI), **_UNCHANGED, **_REFUSED},
        response_class=Response,
        openapi_extra=_asked(_IF_NONE_MATCH),
        tags=["releases"],
    )
    async def whoami(request: Request) -> Response:
        """Say who the caller is, and what it may do."""
        return await api.who(request)

    _add_lists(app, api)
    _add_one(app, api)
    for word in WORDS:
        _add_word(app, word, api.say)

    @app.post("/releases/{release}/{word}", include_in_schema=False)
    async def no_word(release: str, word: str) -> Response:
        """Say which words there are."""
        del release
        text = f"{word[:NAME_MOST]!r}: no such word, expected one of {', '.join(WORDS)}"
        raise Problem(HTTPStatus.NOT_FOUND, "no_such_word", text)


def _add_lists(app: FastAPI, api: Api) -> None:
    @app.get(
        "/releases",
        responses={
            **_model(Listing, headers=_HEADERS),
            **_UNCHANGED,
            **_REFUSED,
            **described(
                _400="A filter is not as expected.",
                _501="The filter needs Aviary's search attributes, which this Temporal lacks.",
            ),
        },
        response_class=Response,
        openapi_extra=_asked(_IF_NONE_MATCH),
        tags=["releases"],
    )
    async def releases(  # noqa: PLR0913, PLR0917 - one parameter a filter
        request: Request,
        state: ReleasePhase | None = None,
        service: Annotated[list[ServiceName] | None, Query(max_length=20)] = None,
        environment: Annotated[str | None, Query(max_length=NAME_MOST)] = None,
        since: Annotated[str | None, Query(max_length=100)] = None,
        until: Annotated[str | None, Query(max_length=100)] = None,
        verdict: VerdictKind | None = None,
        cause: CauseKind | None = None,
        because_of: ServiceName | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MOST)] = 50,
        after: Annotated[str, Query(max_length=4096)] = "",
    ) -> Response:
        """List releases, newest first. A page may have fewer than `limit`, and there be more."""
        now = datetime.now(UTC)
        try:
            filters = Filters(
                state=state,
                services=tuple(service or ()),
                environment=environment if environment is None else quoted(environment)[1:-1],
                since=moment("since", since, now),
                until=moment("until", until, now),
                verdict=verdict,
                cause=cause,
                because_of=because_of,
            )
        except CommandError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, "bad_filter", error.text) from None
        return await api.listed(request, filters, limit, after)


def _add_one(app: FastAPI, api: Api) -> None:
    @app.get(
        "/releases/{release}",
        responses={**_model(OneRelease, headers=_HEADERS), **_UNCHANGED, **_NONE, **_REFUSED},
        response_class=Response,
        openapi_extra=_asked(_IF_NONE_MATCH),
        tags=["releases"],
    )
    async def release(request: Request, release: str) -> Response:
        """Tell where a release is, and why."""
        return await api.one(request, release)

    @app.get(
        "/releases/{release}/summary",
        responses={**_SUMMARY, **_UNCHANGED, **_NONE, **_REFUSED},
        response_class=Response,
        openapi_extra=_asked(_IF_NONE_MATCH),
        tags=["releases"],
    )
    async def summary(
        request: Request, release: str, of: Annotated[str | None, Query(max_length=64)] = None
    ) -> Response:
        """Tell a pipeline where a release is: Markdown, and headers for programs.

        With `of`, as `Location` of the answer to its event has it, only if it is of the services
        and versions that were asked for.
        """
        return await api.summary(request, release, of)

    @app.get(
        "/releases/{release}/events",
        responses={**_STREAM, **_NONE, **_REFUSED},
        response_class=Response,
        openapi_extra=_asked(_LAST_ID),
        tags=["releases"],
    )
    async def events(request: Request, release: str, *, status: bool = False) -> Response:
        """Stream what a release publishes; with `status`, the release as well when it changes."""
        return await api.events(request, release, status=status)


def _add_word(
    app: FastAPI, word: str, say: Callable[[Request, str, str], Awaitable[Response]]
) -> None:
    schema = (PickBody if word == PICK else CommandBody).model_json_schema()
    body = {"required": True, "content": {JSON_CONTENT_TYPE: {"schema": schema}}}

    @app.post(
        f"/releases/{{release}}/{word}",
        name=word,
        operation_id=word,
        summary=f"Say {word} to a release, once for each key.",
        responses={
            **_model(Answered),
            **_model(Answered, 202, "No worker has answered; Temporal keeps it until one does."),
            **_WORD,
            **_REFUSED,
        },
        response_class=Response,
        openapi_extra={**_asked(_KEY), "requestBody": body},
        tags=["releases"],
    )
    async def told(request: Request, release: str) -> Response:
        return await say(request, release, word)
