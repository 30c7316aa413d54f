"""The webhook: Alertmanager's notifications onto Kafka, and a 2xx only once they are durable."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter
from pydantic import SecretStr

from adapters.errors import Retryable, Terminal
from adapters.kafka import Outgoing, Sender
from aviary.access_settings import is_loopback, secret_of
from aviary.catalog_watch import CatalogWatch
from aviary.connect import kafka_options
from aviary.http import add_health, listen, make_app, serve
from aviary.settings import Settings, SettingsError
from aviary.telemetry.carrier import from_context, to_context, to_record, with_received
from aviary.telemetry.registry import new_registry
from aviary.telemetry.spans import span
from schemas import ids
from schemas.alert import WebhookPayload, find_service
from schemas.events import JSON_CONTENT_TYPE
from schemas.rejection import Rejected, RejectReason

_log = structlog.get_logger("aviary.webhook")
_BEARER: Final = "bearer "
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "All alerts are durable on Kafka."},
    400: {"description": "Not JSON."},
    401: {"description": "Missing or wrong bearer token."},
    413: {"description": "Body too large."},
    422: {"description": "JSON, but not a version 4 payload."},
    503: {"description": "Kafka is away; send the notification again."},
}
_BODY: Final = {
    "required": True,
    "content": {JSON_CONTENT_TYPE: {"schema": {"type": "object"}}},
}


class AlertWriter(Protocol):
    """What the webhook asks of Kafka."""

    async def send(self, records: Sequence[Outgoing]) -> None: ...

    async def check(self) -> None: ...


@dataclass(frozen=True)
class WebhookOptions:
    """How the webhook treats its callers."""

    token: SecretStr | None = None
    """The bearer token that every notification must carry; none is demanded if None."""
    max_body: int = 1_048_576
    """Largest body, in bytes."""
    docs: bool = False
    """Whether it describes itself on `/docs` and `/openapi.json`."""
    patience_s: float = 5.0
    """Seconds that Kafka may take; after that Alertmanager is told to come again."""


class _Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A notification that is answered with something other than 200."""

    def __init__(self, status: HTTPStatus, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail


class _Receiver:
    """Turns one request into records of `aviary.alerts`."""

    def __init__(
        self,
        options: WebhookOptions,
        writer: AlertWriter,
        service_of: Callable[[dict[str, str]], str | None],
        registry: CollectorRegistry,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._options = options
        self._writer = writer
        self._service_of = service_of
        self._requests = Counter(
            "aviary_webhook_requests",
            "Notifications, by the status of their answer.",
            ["status"],
            registry=registry,
        )
        self._requests.labels("200")
        self._alerts = Counter(
            "aviary_webhook_alerts", "Alerts written to Kafka.", registry=registry
        )
        self._truncated = Counter(
            "aviary_webhook_truncated_alerts",
            "Alerts that Alertmanager left out of its notifications (max_alerts).",
            registry=registry,
        )

    async def answer(self, request: Request) -> JSONResponse:
        """Answer one notification."""
        with span(
            "POST /alertmanager",
            SpanKind.SERVER,
            context=self._context(request),
            http__request__method="POST",
            http__route="/alertmanager",
        ) as current:
            answer = await self._answer(request)
            current.set_attribute("http.response.status_code", answer.status_code)
            return answer

    def _context(self, request: Request) -> Context:
        """The caller's trace, if it has one, and when we got this."""
        named = ("traceparent", "tracestate")
        carrier = {name: request.headers[name] for name in named if name in request.headers}
        return with_received(self._clock(), to_context(carrier))

    async def _answer(self, request: Request) -> JSONResponse:
        try:
            self._authorize(request)
            written = await self._receive(request)
        except _Refused as refused:
            _log.warning(
                "refused", status=refused.status, reason=refused.reason, detail=refused.detail
            )
            status, headers = refused.status, {}
            if status is HTTPStatus.UNAUTHORIZED:
                headers["WWW-Authenticate"] = "Bearer"
            body: dict[str, object] = {"reason": refused.reason, "detail": refused.detail}
        else:
            status, headers, body = HTTPStatus.OK, {}, {"alerts": written}
        self._requests.labels(str(status.value)).inc()
        return JSONResponse(body, status_code=status, headers=headers)

    def _authorize(self, request: Request) -> None:
        if self._options.token is None:
            return
        given = request.headers.get("authorization", "")
        scheme, secret = given[: len(_BEARER)], given[len(_BEARER) :]
        wanted = self._options.token.get_secret_value().encode()
        same = hmac.compare_digest(secret.strip().encode("utf-8", "replace"), wanted)
        if scheme.lower() != _BEARER or not same:
            text = "authorization: missing or wrong, expected the bearer token of this webhook"
            raise _Refused(HTTPStatus.UNAUTHORIZED, "unauthorized", text)

    async def _receive(self, request: Request) -> int:
        try:
            payload = WebhookPayload.parse(await self._body(request))
        except Rejected as why:
            unparsable = why.reason is RejectReason.UNPARSABLE
            status = HTTPStatus.BAD_REQUEST if unparsable else HTTPStatus.UNPROCESSABLE_ENTITY
            raise _Refused(status, why.reason.value, why.text) from why
        if payload.truncated_alerts:
            self._truncated.inc(payload.truncated_alerts)
            _log.warning("truncated_by_alertmanager", alerts=payload.truncated_alerts)
        with span("send aviary.alerts", SpanKind.PRODUCER, messaging__system="kafka"):
            await self._write(self._records(payload))
        self._alerts.inc(len(payload.alerts))
        return len(payload.alerts)

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        # Counted as it comes, since a chunked body does not say its length.
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._options.max_body:
                text = f"body: larger than expected, at most {self._options.max_body} bytes"
                raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", text)
        return bytes(body)

    def _records(self, payload: WebhookPayload) -> list[Outgoing]:
        headers = (("content-type", JSON_CONTENT_TYPE.encode()), *to_record(from_context()))
        records = []
        for single in payload.split():
            service = self._service_of(single.alerts[0].labels)
            key = service.encode("utf-8", "replace") if service else None
            records.append(Outgoing(ids.TOPIC_ALERTS, single.wire(), key, headers))
        return records

    async def _write(self, records: list[Outgoing]) -> None:
        try:
            async with asyncio.timeout(self._options.patience_s):
                await self._writer.send(records)
        except (Retryable, TimeoutError) as error:
            text = f"Kafka did not confirm within {self._options.patience_s} s: {error}"
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "kafka_away", text) from error
        except Terminal as error:
            raise _Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "kafka_refused", str(error)
            ) from error


def create_app(
    options: WebhookOptions,
    writer: AlertWriter,
    service_of: Callable[[dict[str, str]], str | None],
    registry: CollectorRegistry | None = None,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """Build the webhook's app.

    Args:
        options: how callers are treated.
        writer: writes to Kafka; `send` returns only when all is durable.
        service_of: names the service of an alert by its labels: the Kafka key.
        registry: where metrics go; one of its own if left out.
        clock: seconds since the epoch; a record says when its alert came.
    """
    registry = registry or CollectorRegistry()
    receiver = _Receiver(options, writer, service_of, registry, clock)
    app = make_app("Aviary webhook", "Receives Alertmanager's notifications.", docs=options.docs)

    @app.post("/alertmanager", responses=_RESPONSES, openapi_extra={"requestBody": _BODY})
    async def alertmanager(request: Request) -> JSONResponse:
        """Take a notification (webhook version 4): one Kafka record for each alert."""
        return await receiver.answer(request)

    return add_health(app, writer.check, registry)


def webhook_token(settings: Settings) -> SecretStr | None:
    """The token that callers must have.

    Raises:
        SettingsError: there is none, and others than this machine reach the webhook.
        Retryable: its file can't be read.
    """
    token = secret_of(settings, "webhook_token")
    if token is not None:
        return token
    if not is_loopback(settings.webhook_host):
        raise SettingsError(
            f"AVIARY_WEBHOOK_TOKEN: missing, expected a token since AVIARY_WEBHOOK_HOST is "
            f"{settings.webhook_host!r}: whoever reaches the port could take a release back"
        )
    _log.warning(
        "webhook_without_token",
        host=settings.webhook_host,
        meaning="every process of this machine can take a release back",
        remedy="set AVIARY_WEBHOOK_TOKEN",
    )
    return None


async def run_webhook(settings: Settings, stop: asyncio.Event) -> None:
    """Run the webhook on `webhook_host`:`webhook_port` until `stop` is set.

    It answers 503 while Kafka is away, at start as well.

    Raises:
        CatalogError: the catalog is not valid at start.
        SettingsError: it would be open to others without a token.
        OSError: the address is taken.
    """
    registry = new_registry("webhook")
    catalog = CatalogWatch(settings.catalog, registry)

    def service_of(labels: dict[str, str]) -> str | None:
        now = catalog.current()
        return find_service(labels, now.alert_labels.service, now.services)

    options = WebhookOptions(
        token=webhook_token(settings), max_body=settings.webhook_max_body, docs=settings.http_docs
    )
    taken = listen(settings.webhook_host, settings.webhook_port)
    sender = Sender(kafka_options(settings), (ids.TOPIC_ALERTS,))
    sender.start()
    try:
        app = create_app(options, sender, service_of, registry)
        await serve(app, taken, stop, name="webhook")
    finally:
        await sender.close()
