"""Posts an event, and reads the answer: whatever comes back is bounded, and text.

An answer may be at an address that the first one names (`Location` beside 202): of the same origin
only, since what is sent there bears our signature, and headers that may be secrets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import httpx
from pydantic_core import from_json

from adapters.errors import Retryable
from adapters.hooks.http.connection import HttpHookConnection, address_of
from adapters.hooks.http.signature import key_of, signature
from adapters.hooks.needed import needed
from adapters.http_access import open_client
from adapters.ports import RunCommand
from schemas.hooks import HookAnswer, HookEvent, Said
from schemas.outside import TEXT_MOST, cut, hide_user, one_line

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
BODY_MOST: Final = 64 * 1024
"""Bytes of an answer that are read."""
_AGAIN: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
"""Of class 4, but no word about the event: it may be sent again."""
_FORGOTTEN: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
"""Where an answer was to be: nothing is known of the question there, and it is put again."""
_LOCATION_MOST: Final = 2_000
_LONGEST_S: Final = 600
_REASONS: Final = ("reason", "detail", "message", "error", "title")
"""Where a refusal says why: ours first, then what frameworks and RFC 9457 write."""


class HttpHook:
    """One address.

    Args:
        connection: where, and what signs.
        path: below its address.
        timeout: longest that one call may take.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        connection: HttpHookConnection,
        *,
        path: str = "",
        timeout: timedelta,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._path = path
        self._timeout_s = timeout.total_seconds()
        self._clock = clock
        self._client = open_client(connection.access(), timeout_s=self._timeout_s)

    async def call(self, event: HookEvent, _: RunCommand | None = None) -> HookAnswer:
        """Post the event, and read the answer (see the port)."""
        return await self._in_time(self._post(event))

    async def poll(self, event: HookEvent, at: str) -> HookAnswer:
        """Get the answer where a `later` said that it will be (see the port)."""
        return await self._in_time(self._get(event, at))

    async def _in_time(self, asking: Awaitable[HookAnswer]) -> HookAnswer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asking
        except TimeoutError:
            raise Retryable(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            why = one_line(hide_user(str(error))) or "no answer"
            raise Retryable(f"{type(error).__name__}: {cut(why, 500)}") from None

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _post(self, event: HookEvent) -> HookAnswer:
        content, url = event.wire(), self._address()
        return await self._sent("POST", url, event, content)

    async def _get(self, event: HookEvent, at: str) -> HookAnswer:
        url = httpx.URL(at)
        if not _same_origin(url, self._address()):  # which is another one by now
            return HookAnswer(said=Said.LATER)
        return await self._sent("GET", url, event, b"")

    async def _sent(
        self, method: str, url: httpx.URL, event: HookEvent, content: bytes
    ) -> HookAnswer:
        headers = self._headers(event, content)
        request = self._client.build_request(method, url, content=content, headers=headers)
        answer = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            body = await _bounded(answer)
        finally:
            await answer.aclose()
        if method == "GET" and answer.status_code in _FORGOTTEN:
            return HookAnswer(said=Said.LATER, reason=f"HTTP {answer.status_code}")
        said = _read(answer.status_code, answer.headers, body)
        if said.said is not Said.LATER:
            return said
        return said.model_copy(update={"ask_at": _elsewhere(url, answer.headers, method == "GET")})

    def _address(self) -> httpx.URL:
        try:
            url = httpx.URL(address_of(self._connection.url.read()))
        except ValueError as error:
            raise Retryable(str(error)) from None
        return url.copy_with(path=url.path.rstrip("/") + self._path) if self._path else url

    def _headers(self, event: HookEvent, content: bytes) -> dict[str, str]:
        seconds = int(self._clock())
        return {
            "user-agent": "aviary",
            **self._connection.headers,
            "content-type": CONTENT_TYPE,
            "accept-encoding": "identity",
            "webhook-id": event.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature(self._keys(), event.id, seconds, content),
        }

    def _keys(self) -> list[bytes]:
        """Of the secrets as they are now: their files may have been changed."""
        every = (self._connection.secret, self._connection.previous_secret)
        try:
            return [key_of(secret.read()) for secret in every if secret is not None]
        except ValueError as error:
            raise Retryable(str(error)) from None


def _elsewhere(asked: httpx.URL, headers: Mapping[str, str], polled: bool) -> str:
    """Where the answer will be, of the same origin; empty where the event is to be sent again."""
    location = headers.get("location", "")
    if not location:
        return str(asked) if polled else ""
    if len(location) > _LOCATION_MOST:
        return ""
    try:
        url = asked.join(location).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError):
        return ""
    return str(url) if _same_origin(url, asked) else ""


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Whether what is sent to one (a signature, headers with secrets) may be sent to the other."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


async def _bounded(answer: httpx.Response) -> bytes:
    """The body; its beginning where it is too long."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise Retryable("an answer with a content-encoding, expected none")
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > BODY_MOST:
            break
    return bytes(body)


def _read(status: int, headers: Mapping[str, str], body: bytes) -> HookAnswer:
    """What the answer says.

    Raises:
        Retryable: it is no answer, or none that can be read.
    """
    document = _document(body)
    if status == HTTPStatus.ACCEPTED:
        return _later(headers, _reason(document))
    if httpx.codes.is_success(status):
        return _success(document, headers, body)
    reason = _reason(document) or (_text(body) if document is None else "")
    said = f"HTTP {status}" + (f": {reason}" if reason else "")
    if httpx.codes.is_client_error(status) and status not in _AGAIN:
        return HookAnswer(said=Said.NO, reason=reason or said)
    raise Retryable(cut(said, TEXT_MOST))


def _success(document: Any, headers: Mapping[str, str], body: bytes) -> HookAnswer:
    """Yes, unless the body says otherwise; one that may say so has to be readable."""
    if len(body) > BODY_MOST:
        raise Retryable(f"an answer of more than {BODY_MOST:,} bytes, expected fewer")
    if document is None and body.strip() and "json" in headers.get("content-type", "").lower():
        raise Retryable("an answer that is not the JSON that it says it is")
    try:
        more = needed(document)
    except ValueError as error:
        raise Retryable(str(error)) from None
    if not isinstance(document, dict) or "verdict" not in document:
        return HookAnswer(said=Said.YES, reason=_reason(document), **more)
    verdict, reason = document["verdict"], _reason(document)
    if not isinstance(verdict, str) or verdict not in set(Said):
        shown = cut(one_line(str(verdict)), 200)
        raise Retryable(f"verdict: got {shown!r}, expected one of {', '.join(Said)}")
    return (
        _later(headers, reason)
        if verdict == Said.LATER
        else HookAnswer(said=Said(verdict), reason=reason, **more)
    )


def _later(headers: Mapping[str, str], reason: str) -> HookAnswer:
    """Its wish when to be asked again, within bounds; a date is left to us."""
    after = headers.get("retry-after", "").strip()
    if not (after.isascii() and after.isdigit()) or len(after) > 6:  # noqa: PLR2004 - of seconds
        return HookAnswer(said=Said.LATER, reason=reason)
    seconds = min(max(int(after), 1), _LONGEST_S)
    return HookAnswer(said=Said.LATER, reason=reason, ask_again=timedelta(seconds=seconds))


def _document(body: bytes) -> Any:
    """The body as JSON; None where it is none, or too long to be read whole."""
    if len(body) > BODY_MOST:
        return None
    try:
        return from_json(body)
    except ValueError:
        return None


def _reason(document: Any) -> str:
    if not isinstance(document, dict):
        return ""
    for name in _REASONS:
        found = document.get(name)
        if isinstance(found, str) and found.strip():
            return cut(one_line(found), TEXT_MOST)
    return ""


def _text(body: bytes) -> str:
    """The beginning of a body in plain words; a page of HTML says nothing."""
    text = one_line(body[:BODY_MOST].decode("utf-8", "replace"))
    return "" if text.startswith("<") else cut(text, TEXT_MOST)
