"""Deploy events over HTTP: onto Kafka, and answered with 202 once they are durable there.

Here belongs how CloudEvents come over HTTP, who may send them, and what is answered. What an event
must be does not (`schemas.deploy`), nor what is done about it (`aviary.bridge`): an event that came
this way is a record like any other, and the same event sent twice is one release.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote

import structlog
from fastapi import Request
from fastapi.responses import JSONResponse
from opentelemetry.trace import SpanKind
from pydantic import SecretStr

from adapters.errors import Retryable, Terminal
from adapters.kafka import Headers, Outgoing
from adapters.links import Links
from aviary.api.audit import audit
from aviary.api.callers import Callers
from aviary.api.problems import Problem, problem_answer, read_body
from aviary.api.roles import Caller, Role
from aviary.api.summary import digest_of
from aviary.bearer import bears
from aviary.deploy_plan import plan_event
from aviary.telemetry.carrier import from_context, to_context, to_record
from aviary.telemetry.spans import span
from schemas import ids
from schemas.catalog import Catalog
from schemas.deploy import BY_HEADER, DeployEvent, parse_deploy
from schemas.rejection import Rejected, RejectReason, load_json, show

PATH: Final = "/events"
BODY_MOST: Final = 4 * 1024 * 1024
"""Bytes of one request."""
EVENT_MOST: Final = 1_000_000
"""Bytes of one event: what a topic of Kafka takes by default, less what stands beside the value."""
EVENTS_MOST: Final = 100
"""Events of one batch."""
_STRUCTURED: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch+json"
_VALUES_MOST: Final = 200_000
"""Values of a batch, at all levels."""
_SMALL: Final = 16 * 1024
"""Bytes that are read and planned without a thread, in a few milliseconds."""
_AT_ONCE: Final = 8
"""Requests that are under way at the same time: what they hold in memory is bounded."""
_BODY_S: Final = 30.0
_AUDITED: Final = 100
"""Services of a release that a line of the audit names."""
SIMPLE: Final = Caller("token:AVIARY_DEPLOY_TOKEN", frozenset({Role.DEPLOY}))
"""Whoever bears the simple token."""

_STATUS: Final = {
    RejectReason.UNPARSABLE: HTTPStatus.BAD_REQUEST,
    RejectReason.NOT_CLOUDEVENT: HTTPStatus.BAD_REQUEST,
    RejectReason.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}
"""Of what is wrong with an event; 422 for all else."""
_log = structlog.get_logger("aviary.webhook")


class EventWriter(Protocol):
    """What is asked of Kafka."""

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Return once all records are durable. Raises `Retryable` or `Terminal`."""
        ...


@dataclass(frozen=True)
class EventOptions:
    """How the receiver treats its callers."""

    token: SecretStr | None = None
    """The simple way: one bearer token with which whoever has it may ask for any release."""
    links: Links = field(default_factory=Links)
    """Where the pages about a release are."""
    patience_s: float = 5.0
    """Seconds that Kafka may take; after that the caller is told to come again."""
    callers: Callers | None = None
    """Says who else may, and for which services."""


@dataclass(frozen=True)
class _Written:
    """One event as a record, and what it asks for."""

    value: bytes
    headers: Headers
    event: DeployEvent

    @property
    def record(self) -> Outgoing:
        key = self.event.deploy.release.encode()
        return Outgoing(ids.TOPIC_DEPLOYS, self.value, key=key, headers=self.headers)


class EventReceiver:
    """Turns one request into records of `aviary.deploys`, all of its events or none.

    Args:
        options: how callers are treated.
        writer: writes to Kafka; `send` returns only when all is durable.
        catalog: the newest; an event that it gives no plan for is refused.
    """

    def __init__(
        self, options: EventOptions, writer: EventWriter, catalog: Callable[[], Catalog]
    ) -> None:
        self._options = options
        self._writer = writer
        self._catalog = catalog
        self._under_way = 0

    async def answer(self, request: Request) -> JSONResponse:
        """Answer one request: 202 once what it asks for is durable on Kafka."""
        headers = request.headers
        named = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        with span(
            "POST /events",
            SpanKind.SERVER,
            context=to_context(named),
            http__request__method="POST",
            http__route=PATH,
        ) as current:
            answer = await self._answer(request)
            current.set_attribute("http.response.status_code", answer.status_code)
            return answer

    async def _answer(self, request: Request) -> JSONResponse:
        caller: Caller | None = None
        try:
            caller = await self._authorize(request)
            accepted, headers = await self._take(request, caller)
        except Problem as refused:
            _log.warning(
                "event_refused",
                status=refused.status,
                reason=refused.reason,
                detail=refused.detail,
            )
            audit(request, caller, "deploy", refused.status, {}, refused.reason)
            return problem_answer(refused)
        return JSONResponse(accepted, HTTPStatus.ACCEPTED, headers)

    async def _authorize(self, request: Request) -> Caller:
        token, callers = self._options.token, self._options.callers
        if token is not None and bears(request, token):
            return SIMPLE
        if callers is not None:
            return await callers.allowed(request, (Role.DEPLOY,))
        if token is None:
            text = (
                "no event is taken over HTTP: AVIARY_DEPLOY_TOKEN is not set, nor is "
                "AVIARY_CALLERS_FILE"
            )
            raise Problem(HTTPStatus.NOT_FOUND, "closed", text)
        text = "authorization: missing or wrong, expected the deploy token as bearer"
        raise Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", text)

    async def _take(
        self, request: Request, caller: Caller
    ) -> tuple[dict[str, Any], dict[str, str]]:
        if self._under_way >= _AT_ONCE:
            text = "too many requests at once, expected it again later"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", text)
        self._under_way += 1
        try:
            body = await read_body(request, BODY_MOST, _BODY_S)
            kind = request.headers.get("content-type", "").strip()
            attributes = _attributes(request.headers.items())
            catalog = self._catalog()
            try:
                if len(body) <= _SMALL:
                    written = _written(body, kind, attributes, catalog)
                else:  # in a thread: health and alerts are answered meanwhile
                    written = await asyncio.to_thread(_written, body, kind, attributes, catalog)
            except Rejected as why:
                status = _STATUS.get(why.reason, HTTPStatus.UNPROCESSABLE_ENTITY)
                raise Problem(status, why.reason.value, why.text) from why
            _check_scope(caller, written)
            await self._write(written, caller)
        finally:
            self._under_way -= 1
        for one in written:
            deploy, origin = one.event.deploy, one.event.origin
            _log.info("event_taken", release=deploy.release, origin=origin)
            services = {each.service: each.version for each in deploy.services[:_AUDITED]}
            about = {"release": deploy.release, "services": services, "origin": origin}
            audit(request, caller, "deploy", HTTPStatus.ACCEPTED, about)
        told = [self._told(one.event) for one in written]
        if kind.lower().startswith(_BATCH):
            return {"releases": told}, {}
        return told[0], self._place(written[0].event)

    def _place(self, event: DeployEvent) -> dict[str, str]:
        """Where the release is told of, if anywhere: beside the path of events."""
        if self._options.callers is None:
            return {}
        services = {one.service: one.version for one in event.deploy.services}
        release = quote(event.deploy.release, safe="")
        return {"Location": f"releases/{release}/summary?of={digest_of(services)}"}

    async def _write(self, written: Sequence[_Written], caller: Caller) -> None:
        """Write all; a caller that is told to come again may do so: the same event is one release.

        Raises:
            Problem: Kafka is away, or never takes one of them.
        """
        records = [one.record for one in written]
        try:
            with span("send aviary.deploys", SpanKind.PRODUCER, messaging__system="kafka"):
                own = (*_by(caller), *to_record(from_context()))
                sent = [
                    Outgoing(one.topic, one.value, one.key, (*one.headers, *own)) for one in records
                ]
                async with asyncio.timeout(self._options.patience_s):
                    await self._writer.send(sent)
        except (Retryable, TimeoutError) as error:
            text = f"Kafka did not confirm within {self._options.patience_s:g} s: {error}"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "kafka_away", text) from error
        except Terminal as error:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "kafka_refused", str(error)
            ) from error

    def _told(self, event: DeployEvent) -> dict[str, Any]:
        deploy = event.deploy
        pages = self._options.links.pages(deploy.release)
        return {
            "release": deploy.release,
            "services": {one.service: one.version for one in deploy.services},
            "event": event.origin,
            **({"links": dict(pages)} if pages else {}),
        }


def _by(caller: Caller) -> Headers:
    """Who sent it; the simple token is nobody's in particular."""
    return () if caller is SIMPLE else ((BY_HEADER, caller.name.encode()),)


def _check_scope(caller: Caller, written: Sequence[_Written]) -> None:
    """Refuse a request that asks for a service which is not the caller's own.

    Raises:
        Problem: one of the events does.
    """
    named = {one.service for each in written for one in each.event.deploy.services}
    if others := sorted(caller.outside(named)):
        text = f"{caller.name} may not deploy {', '.join(others[:5])}"
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", text)


def _attributes(headers: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """CloudEvents' attributes of binary mode, by name.

    Raises:
        Problem: one is there twice, or not UTF-8 as the HTTP binding writes it (3.1.3.2).
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if not name.startswith("ce-"):
            continue
        try:
            text = unquote(value.encode("latin-1").decode("utf-8"), errors="strict")
        except UnicodeDecodeError:
            expected = f"{name}: got {show(value)}, expected UTF-8, percent-encoded"
            raise Problem(HTTPStatus.BAD_REQUEST, "not_cloudevent", expected) from None
        if name in found:
            expected = f"{name}: there twice, expected once"
            raise Problem(HTTPStatus.BAD_REQUEST, "not_cloudevent", expected)
        found[name] = text
    return {name.removeprefix("ce-"): text for name, text in found.items()}


def _written(
    body: bytes, kind: str, attributes: Mapping[str, str], catalog: Catalog
) -> list[_Written]:
    """The events of a request as records.

    Raises:
        Rejected: one of them can't be acted upon; which one stands before the text.
        Problem: the request is in none of CloudEvents' modes.
    """
    media = kind.lower()
    if media.startswith(_BATCH):
        return _batch(body, catalog)
    if media.startswith(_STRUCTURED):
        headers: Headers = (("content-type", kind.encode()),)
    elif "specversion" in attributes:
        own = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items())
        headers = (("content-type", kind.encode()), *own)
    else:
        text = (
            f"content-type: got {show(kind)}, expected {_STRUCTURED}, {_BATCH}, or an event's "
            "attributes as ce- headers"
        )
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported", text)
    return [_one(body, headers, catalog)]


def _batch(body: bytes, catalog: Catalog) -> list[_Written]:
    events = load_json(body, values=_VALUES_MOST)
    if not isinstance(events, list) or not 0 < len(events) <= EVENTS_MOST:
        got = f"{len(events)} events" if isinstance(events, list) else show(events)
        text = f"body: got {got}, expected a list of 1 to {EVENTS_MOST} CloudEvents"
        raise Rejected(RejectReason.NOT_CLOUDEVENT, text)
    headers: Headers = (("content-type", _STRUCTURED.encode()),)
    written: list[_Written] = []
    for at, event in enumerate(events):
        try:
            value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
            written.append(_one(value, headers, catalog))
        except Rejected as why:
            raise Rejected(why.reason, f"[{at}]: {why.text}") from why
    return written


def _one(value: bytes, headers: Headers, catalog: Catalog) -> _Written:
    if len(value) > EVENT_MOST:
        text = f"got an event of {len(value)} bytes, expected at most {EVENT_MOST}"
        raise Rejected(RejectReason.TOO_LARGE, text)
    event = parse_deploy(value, {name: content or b"" for name, content in headers})
    plan_event(event, "over HTTP", catalog)
    return _Written(value, headers, event)
