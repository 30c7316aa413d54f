"""What is answered about releases: lists, one of them, what it publishes, and words to it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter, ValidationError

from adapters.links import Links
from aviary.api.audit import audit
from aviary.api.callers import Callers, check_role
from aviary.api.looks import FRESH_S, Looks, Shown, as_json, etag_of
from aviary.api.models import Answered, CommandBody, PickBody, WhoAmI
from aviary.api.problems import Problem, read_body
from aviary.api.record import Record, Records
from aviary.api.roles import WORDS, Caller, Role
from aviary.api.source import Listed, ReleaseSource, Said
from aviary.api.stream import HEARTBEAT, EventStream
from aviary.api.summary import asks, digest_of, markdown, versions_of
from aviary.releases.failing import CommandError
from aviary.releases.finding import Filters
from aviary.releases.picking import picked, words_of
from schemas.base import ReleaseId
from schemas.events import JSON_CONTENT_TYPE
from schemas.outside import NAME_MOST, cut
from schemas.rejection import explain, show
from schemas.release import Command

PATH: Final = "/releases"
BODY_MOST: Final = 16 * 1024
"""Bytes of a word that is said to a release."""
PICK: Final = "pick"
"""The one word that is not the release's own: it says approve or rollback."""
PAGE_MOST: Final = 500
"""Releases of one page."""
STREAMS_MOST: Final = 100
"""Streams at the same time; what is left of a server's connections is for alerts and questions."""
STREAMS_EACH: Final = 10
"""Streams of one caller."""
STREAM_S: Final = 900.0
"""Seconds after which a stream ends by itself; its reader resumes it."""
_HEARTBEAT_S: Final = 10.0
_CHUNK: Final = 64 * 1024
_BODY_S: Final = 10.0
_COMMANDS_AT_ONCE: Final = 20
_LOOKS_AT_ONCE: Final = 50
_AFTER_MOST: Final = 4096
_T = TypeVar("_T")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_RELEASE: Final[TypeAdapter[str]] = TypeAdapter(ReleaseId)
_ANY_READ: Final = (Role.READ,)
MARKDOWN: Final = "text/markdown; charset=utf-8"
PHASE_HEADER: Final = "Aviary-Phase"
"""Where a release is: a `ReleasePhase`."""
ASKS_HEADER: Final = "Aviary-Asks"
"""`true` where it goes on only when a person has done something."""
_SUMMARIES: Final = 100
"""Summaries that are kept, of at most some hundred kB each."""
_END: Final = b"event: end\ndata: {}\n\n"


@dataclass(frozen=True)
class ApiOptions:
    """Bounds that tests shorten."""

    streams_most: int = STREAMS_MOST
    streams_each: int = STREAMS_EACH
    stream_s: float = STREAM_S
    heartbeat_s: float = _HEARTBEAT_S
    tick_s: float = FRESH_S
    """How often a stream that shows the release looks at it."""


@dataclass
class _Streams:
    """How many streams each caller has."""

    of: dict[str, int] = field(default_factory=dict)

    def enter(self, name: str, options: ApiOptions) -> None:
        if sum(self.of.values()) >= options.streams_most:
            text = "too many streams at once, expected it again later"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", text)
        if self.of.get(name, 0) >= options.streams_each:
            text = f"{name} has {options.streams_each} streams, which is the most"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_many", text, 5)
        self.of[name] = self.of.get(name, 0) + 1

    def leave(self, name: str) -> None:
        self.of[name] -= 1
        if not self.of[name]:
            del self.of[name]


class Api:
    """Answers the requests about releases.

    Args:
        callers: says who may.
        source: has the releases.
        links: where the pages about them are.
        options: its bounds.
        clock: the time.
    """

    def __init__(
        self,
        callers: Callers,
        source: ReleaseSource,
        links: Links,
        options: ApiOptions | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.callers = callers
        self._source = source
        self._links = links
        self._looks = Looks(source, links)
        self._summaries: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._records = Records(source)
        self._options = options or ApiOptions()
        self._clock = clock
        self._streams = _Streams()
        self._commands = 0
        self._reads = 0

    async def who(self, request: Request) -> Response:
        """Who the caller is."""
        caller = await self.callers.allowed(request, Role)
        body = WhoAmI(
            name=caller.name,
            roles=sorted(role.value for role in caller.roles),
            services=None if caller.services is None else list(caller.services),
            words=sorted(caller.words),
            until=caller.until,
        )
        return _told(body.model_dump(mode="json"), request)

    async def listed(self, request: Request, filters: Filters, size: int, after: str) -> Response:
        """A page of releases."""
        caller = await self.callers.allowed(request, _ANY_READ)
        page = await self._reading(lambda: self._source.page(filters, size, _begin(after)))
        told = [_as_data(one) for one in page.releases if caller.sees(one.services)]
        following = None if page.after is None else base64.urlsafe_b64encode(page.after).decode()
        answer = _told({"releases": told, "after": following}, request)
        if following is not None:
            query = request.url.include_query_params(after=following)
            answer.headers["Link"] = f'<{query.path}?{query.query}>; rel="next"'
        return answer

    async def one(self, request: Request, release: str) -> Response:
        """One release now."""
        caller = await self.callers.allowed(request, _ANY_READ)
        found = await self._seen(caller, release)
        return _answer(found.body, found.etag, request)

    async def summary(self, request: Request, release: str, of: str | None) -> Response:
        """A release as the summary of a job, and in its headers what ends a wait for it."""
        caller = await self.callers.allowed(request, _ANY_READ)
        found = await self._seen(caller, release)
        status = found.look.status
        if of is not None and of != digest_of(versions_of(status)):
            text = f"release {release}: was asked for before, with other services or versions"
            raise Problem(HTTPStatus.CONFLICT, "other", text)
        answer = await self._summary(release, found)
        headers = {
            PHASE_HEADER: status.phase.value,
            ASKS_HEADER: "true" if asks(found.look) else "false",
        }
        return _answer(answer, etag_of(answer), request, MARKDOWN, headers)

    async def _summary(self, release: str, found: Shown) -> bytes:
        """The summary of a release as it was shown; made once for each change."""
        kept = self._summaries.get(release)
        if kept is None or kept[0] != found.etag:
            events: list[Any] = []
            reading = aclosing(self._source.events(release))  # type: ignore[type-var]
            async with reading as published:
                async for some in published:
                    events += some.events
                    if some.caught_up:
                        break
            pages = self._links.pages(release)
            made = await asyncio.to_thread(markdown, found.look, events, pages)
            kept = self._summaries[release] = (found.etag, made.encode("utf-8", "replace"))
            while len(self._summaries) > _SUMMARIES:
                self._summaries.popitem(last=False)
        return kept[1]

    async def _seen(self, caller: Caller, release: str) -> Shown:
        """A release, if the caller may see it; else it is as if there were none."""
        found = await self._reading(lambda: self._looks.at(_id(release)))
        if not caller.sees(found.services):
            raise _none(release)
        return found

    async def _reading(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        if self._reads >= _LOOKS_AT_ONCE:
            text = "too many requests at once, expected it again later"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", text)
        self._reads += 1
        try:
            return await ask()
        finally:
            self._reads -= 1

    async def events(self, request: Request, release: str, *, status: bool) -> Response:
        """What a release publishes, from the last id that the caller has."""
        caller = await self.callers.allowed(request, _ANY_READ)
        services = await self._reading(lambda: self._source.services(_id(release)))
        if not caller.sees(services):
            raise _none(release)
        self._streams.enter(caller.name, self._options)
        try:
            record, leave = self._records.follow(release)
        except Problem:
            self._streams.leave(caller.name)
            raise

        def left() -> None:
            leave()
            self._streams.leave(caller.name)

        last = request.headers.get("last-event-id")
        frames = self._frames(request, caller, release, record, last, status=status)
        return EventStream(frames, left)

    async def _frames(  # noqa: PLR0913 - of one stream
        self,
        request: Request,
        caller: Caller,
        release: str,
        record: Record,
        last: str | None,
        *,
        status: bool,
    ) -> AsyncIterator[bytes]:
        """The frames of one stream: what was published, the release if wanted, and heartbeats."""
        pace = _Pace(self._options)
        yield b"retry: 2000\n\n"
        at = await record.resumed(last)
        etag = ""
        while not pace.over:
            frames = record.frames(at, _CHUNK)
            at += len(frames)
            over = record.over and not frames
            if frames:
                yield b"".join(frames)
            if status and (told := await self._status(release, etag, fresh=over)):
                etag, frame = told
                yield frame
            if over:
                if record.ended:
                    yield _END
                return
            if not frames:
                await record.more(at, pace.wait_s(ticks=status))
            if pace.silent:
                pace.said()
                yield HEARTBEAT
                if not await self._still(request, caller):
                    return

    async def _status(self, release: str, etag: str, *, fresh: bool) -> tuple[str, bytes] | None:
        """The release as a frame, if it is another than before; a look that fails shows nothing."""
        try:
            found = await self._looks.at(release, fresh=fresh)
        except Problem:
            return None
        if found.etag == etag:
            return None
        return found.etag, b"event: status\ndata: %s\n\n" % found.body

    async def _still(self, request: Request, caller: Caller) -> bool:
        """Whether the caller may still read: its token is known, and has not expired."""
        try:
            now = await self.callers.known(request)
        except Problem:
            return False
        return now.name == caller.name and now.has(_ANY_READ) and now.services == caller.services

    async def say(self, request: Request, release: str, word: str) -> Response:
        """Say a word to a release, once for each key of the caller."""
        caller: Caller | None = None
        about: dict[str, object] = {"release": cut(release, NAME_MOST)}
        try:
            caller = await self.callers.allowed(request, WORDS[word])
            kind = PickBody if word == PICK else CommandBody
            key, body = await self._asked(request, about, kind)
            said = await self._said(caller, _id(release), word, key, body)
        except Problem as problem:
            audit(request, caller, word, problem.status, about, problem.reason)
            raise
        status = HTTPStatus.ACCEPTED if said.kept else HTTPStatus.OK
        audit(request, caller, word, status, about)
        answer = Answered(release=release, word=word, by=caller.name, answer=said.answer)
        return JSONResponse(answer.model_dump(), status, {"Cache-Control": "no-store"})

    async def _asked(
        self, request: Request, about: dict[str, object], kind: type[CommandBody]
    ) -> tuple[str, CommandBody]:
        key = request.headers.get("idempotency-key", "")
        if not _KEY.fullmatch(key):
            got = f"got {show(key)}" if key else "missing"
            text = f"idempotency-key: {got}, expected 1 to 200 visible characters of ASCII"
            raise Problem(HTTPStatus.BAD_REQUEST, "no_key", text)
        about["key"] = key
        content = await read_body(request, BODY_MOST, _BODY_S)
        try:
            body = kind.model_validate_json(content)
        except ValidationError as error:
            text = cut(explain(error), 500)
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", text) from None
        about |= {"said": body.reason, "service": body.service}
        about |= {"version": body.version} if isinstance(body, PickBody) else {}
        return key, body

    async def _said(
        self, caller: Caller, release: str, word: str, key: str, body: CommandBody
    ) -> Said:
        """What a release answers to a word of somebody who may say it."""
        if self._commands >= _COMMANDS_AT_ONCE:
            text = "too many words at once, expected it again later"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", text)
        self._commands += 1
        try:
            services = await self._source.services(release)
            if isinstance(body, PickBody):
                once = once_of(caller.name, f"{word} {body.version}", body.service, key)
                return await self._picked(caller, release, services, once, body)
            once = once_of(caller.name, word, body.service, key)
            _check_scope(caller, release, services, word, body.service)
            command = Command(by=caller.name, reason=body.reason, service=body.service)
            return await self._source.say(word, release, command, once)
        finally:
            self._commands -= 1

    async def _picked(
        self, caller: Caller, release: str, services: frozenset[str], once: str, body: PickBody
    ) -> Said:
        """Say the word that gives a version all users, unless this key has said it already."""
        if not caller.sees(services):
            raise _none(release)
        if (before := await self._source.answered(release, once)) is not None:
            return before
        look = await self._source.look(release)
        try:
            service, word = picked(look.canaries, release, body.version, body.service)
        except CommandError as error:
            raise Problem(HTTPStatus.CONFLICT, "refused", error.text) from None
        check_role(caller, WORDS[word])
        _check_scope(caller, release, services, word, service)
        command = words_of(body.version, service, word, caller.name, body.reason)
        return await self._source.say(word, release, command, once)

    async def aclose(self) -> None:
        """Follow nothing any more."""
        await self._records.aclose()


class _Pace:
    """When a stream says that it is still there, and when it ends."""

    def __init__(self, options: ApiOptions) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._ends = self._loop.time() + options.stream_s
        self._said = self._loop.time()

    @property
    def over(self) -> bool:
        return self._loop.time() >= self._ends

    @property
    def silent(self) -> bool:
        return self._loop.time() - self._said >= self._options.heartbeat_s

    def said(self) -> None:
        self._said = self._loop.time()

    def wait_s(self, *, ticks: bool) -> float:
        now = self._loop.time()
        most = self._options.tick_s if ticks else self._options.heartbeat_s
        return max(0.01, min(most, self._said + self._options.heartbeat_s - now, self._ends - now))


def once_of(caller: str, word: str, service: str | None, key: str) -> str:
    """The id under which Temporal takes a word once: the same key means the same word.

    Another caller's key is another one, and so is that of another word or service.
    """
    parts = (caller, word, service or "", key)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _check_scope(
    caller: Caller, release: str, services: frozenset[str], word: str, service: str | None
) -> None:
    """Refuse a word about services that are not the caller's own.

    A rollback takes the whole release back, whichever service it names.

    Raises:
        Problem: it is about others (403), or the caller sees no such release (404).
    """
    if caller.services is None:
        return
    if not caller.sees(services):
        raise _none(release)
    about = {service} if service is not None and word != "rollback" else services
    if others := sorted(caller.outside(about)):
        text = f"{caller.name} may not {word} {', '.join(others[:5])}"
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", text)


def _none(release: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "unknown", f"release {release}: there is none of this id")


def _id(release: str) -> str:
    try:
        return _RELEASE.validate_python(release)
    except ValidationError:
        text = f"release: got {show(release)}, expected letters, digits and . _ -, at most 128"
        raise Problem(HTTPStatus.BAD_REQUEST, "bad_release", text) from None


def _begin(after: str) -> bytes | None:
    """Where a page begins, as the page before said it."""
    if not after:
        return None
    try:
        return base64.b64decode(after, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        text = "after: expected what the page before said of the next one"
        raise Problem(HTTPStatus.BAD_REQUEST, "bad_page", text) from None


def _as_data(one: Listed) -> dict[str, Any]:
    times = {name: getattr(one, name) for name in ("started_at", "finished_at")}
    return {
        **asdict(one),
        **{name: time and time.isoformat() for name, time in times.items()},
    }


def _told(data: Any, request: Request) -> Response:
    body = as_json(data)
    return _answer(body, etag_of(body), request)


def _answer(
    body: bytes,
    etag: str,
    request: Request,
    kind: str = JSON_CONTENT_TYPE,
    more: Mapping[str, str] | None = None,
) -> Response:
    """A body, or that it is still the one which the caller has."""
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    headers |= more or {}
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type=kind)


def _matches(wanted: str, etag: str) -> bool:
    tags = [one.strip().removeprefix("W/") for one in wanted.split(",")]
    return etag in tags or tags == ["*"]
