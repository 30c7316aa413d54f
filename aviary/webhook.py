"""The webhook: alerts and deploy events onto Kafka, and a 2xx only once they are durable there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Container
from http import HTTPStatus
from typing import Any, Final

import httpx
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from adapters.alertmanager import AlertmanagerAlerts
from adapters.http_access import open_client
from adapters.kafka import Sender
from aviary.access_settings import http_access, is_loopback, secret_of
from aviary.answer_door import CLOSED, AnswerDoor, ByTemporal, add_answers, tokens_of
from aviary.api.answers import Api
from aviary.api.callers import Callers, CallersWatch
from aviary.api.callers_file import CallersError
from aviary.api.oidc import Oidc
from aviary.api.rates import Rates
from aviary.api.routes import add_api, add_problems
from aviary.api.source import TemporalReleases
from aviary.builds.identity import named_build
from aviary.catalog_watch import CatalogWatch
from aviary.channels import links_of
from aviary.connect import kafka_options
from aviary.connections import read_connections
from aviary.event_receiver import PATH as EVENTS_PATH
from aviary.event_receiver import EventOptions, EventReceiver
from aviary.http import ServerTls, add_health, listen, make_app, serve
from aviary.live.page import add_page
from aviary.notifications import ServiceOf
from aviary.receiver import AlertWriter, Receiver
from aviary.receiver import WebhookOptions as WebhookOptions  # noqa: PLC0414 - public here
from aviary.recovery import Recovery
from aviary.settings import Settings, SettingsError
from aviary.telemetry.readiness import told
from aviary.telemetry.registry import new_registry
from aviary.webhook_metrics import WebhookMetrics
from schemas import ids
from schemas.alert import find_service
from schemas.catalog import Catalog
from schemas.deciding import DecidingLabels
from schemas.events import JSON_CONTENT_TYPE

_log = structlog.get_logger("aviary.webhook")
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "All alerts are durable on Kafka; wrong ones as dead letters."},
    400: {"description": "Not JSON. What fires was asked for, or what it may concern is paused."},
    401: {"description": "Missing or wrong bearer token."},
    413: {"description": "Body, or a record for Kafka, too large; done about it as for 400."},
    422: {"description": "JSON, but no notification; done about it as for 400."},
    503: {"description": "Kafka is away, or too much at once; send the notification again."},
}
_EVENT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "description": "Durable on Kafka: the release will be planned and queued.",
        "headers": {
            "Location": {
                "schema": {"type": "string"},
                "description": "Of one event: where its release is told of to pipelines.",
            }
        },
    },
    400: {"description": "Not JSON, or no CloudEvents; a problem (RFC 9457), as all errors are."},
    401: {"description": "Missing or wrong bearer token."},
    413: {"description": "Larger than expected."},
    415: {"description": "None of CloudEvents' modes."},
    422: {"description": "An event that the catalog gives no plan for, with the reason."},
    503: {"description": "Kafka is away, or too much at once; send the same again."},
}
_EVENT_BODY: Final = {
    "required": True,
    "content": {
        "application/cloudevents+json": {"schema": {"type": "object"}},
        "application/cloudevents-batch+json": {"schema": {"type": "array"}},
        JSON_CONTENT_TYPE: {"schema": {"type": "object"}},
    },
}
_ANY_PATH: Final = "/{path:path}"
_NO_NOTIFICATION: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH")
"""Methods by which no sender of alerts sends."""
_BODY: Final = {
    "required": True,
    "content": {JSON_CONTENT_TYPE: {"schema": {"type": "object"}}},
}


def create_app(  # noqa: PLR0913 - its parts
    options: WebhookOptions,
    writer: AlertWriter,
    service_of: ServiceOf,
    registry: CollectorRegistry | None = None,
    clock: Callable[[], float] = time.time,
    *,
    recovery: Recovery | None = None,
    deciding: Callable[[], Container[str]] = frozenset,
    events: EventReceiver | None = None,
    door: AnswerDoor | None = None,
    api: Api | None = None,
) -> FastAPI:
    """Build the webhook's app.

    Args:
        options: how callers are treated.
        writer: writes to Kafka; `send` returns only when all is durable.
        service_of: names the service of an alert by its labels: the Kafka key.
        registry: where metrics go; one of its own if left out.
        clock: seconds since the epoch; a record says when its alert came.
        recovery: makes losses good; if left out there is no Alertmanager to ask.
        deciding: names of labels that a label set too large keeps.
        events: takes deploy events; if left out there are none.
        door: takes the answers of hooks; if left out nobody may answer.
        api: answers about releases; if left out nobody may ask.
    """
    registry = registry or CollectorRegistry()
    recovery = recovery or Recovery(None, service_of, lambda _: True, clock)
    metrics = WebhookMetrics(registry)
    receiver = Receiver(
        options,
        writer,
        service_of=service_of,
        deciding=deciding,
        recovery=recovery,
        metrics=metrics,
        clock=clock,
    )
    app = make_app(
        "Aviary webhook",
        "Receives Alertmanager's notifications and deploy events.",
        docs=options.docs,
    )

    # Grafana sends with PUT where it is told to.
    @app.put("/alertmanager", include_in_schema=False)
    @app.post("/alertmanager", responses=_RESPONSES, openapi_extra={"requestBody": _BODY})
    async def alertmanager(request: Request) -> JSONResponse:
        """Take a notification (webhook version 4): one Kafka record for each alert."""
        return await receiver.answer(request)

    add_problems(app)
    if events is not None:
        _add_events(app, events)
    if api is not None:
        add_api(app, api)
        add_page(app)
    add_answers(app, door or CLOSED)
    add_health(app, writer.check, registry, build=options.build)

    _add_elsewhere(app, receiver)
    return app


def _add_elsewhere(app: FastAPI, receiver: Receiver) -> None:
    """Answer what is sent to no path of ours; the last routes of an app."""

    @app.put(_ANY_PATH, include_in_schema=False)
    @app.post(_ANY_PATH, include_in_schema=False)
    async def misdirected(request: Request) -> JSONResponse:
        """Say where notifications go."""
        return await receiver.misdirected(request)

    @app.api_route(_ANY_PATH, methods=list(_NO_NOTIFICATION), include_in_schema=False)
    async def unknown(request: Request) -> JSONResponse:
        """Say whether there is such a path, for another method."""
        methods = {
            method
            for route in app.router.routes
            if isinstance(route, Route) and route.path != _ANY_PATH
            if route.matches(request.scope)[0] is not Match.NONE
            for method in route.methods or ()
        }
        if not methods:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        allow = {"Allow": ", ".join(sorted(methods))}
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers=allow)


def _add_events(app: FastAPI, receiver: EventReceiver) -> None:
    @app.post(
        EVENTS_PATH,
        status_code=HTTPStatus.ACCEPTED,
        responses=_EVENT_RESPONSES,
        openapi_extra={"requestBody": _EVENT_BODY},
    )
    async def events(request: Request) -> JSONResponse:
        """Take deploy events as CloudEvents 1.0: structured, binary or batched."""
        return await receiver.answer(request)


def webhook_token(settings: Settings) -> SecretStr | None:
    """The token that callers must have.

    Raises:
        SettingsError: there is none, and others than this machine reach the webhook.
        Retryable: its file can't be read.
    """
    token = secret_of(settings, "webhook_token")
    if token is not None or settings.callers_file is not None:
        return token
    if not is_loopback(settings.webhook_host):
        raise SettingsError(
            f"AVIARY_WEBHOOK_TOKEN: missing, expected a token (or AVIARY_CALLERS_FILE) since "
            f"AVIARY_WEBHOOK_HOST is {settings.webhook_host!r}: whoever reaches the port could "
            "take a release back"
        )
    _log.warning(
        "webhook_without_token",
        host=settings.webhook_host,
        meaning="every process of this machine can take a release back",
        remedy="set AVIARY_WEBHOOK_TOKEN or AVIARY_CALLERS_FILE",
    )
    return None


class _Known:
    """What the newest catalog says of alerts."""

    def __init__(self, catalog: CatalogWatch) -> None:
        self._catalog = catalog
        self._deciding = DecidingLabels()

    def service_of(self, labels: dict[str, str]) -> str | None:
        now = self._catalog.current()
        return find_service(labels, now.alert_labels.service, now.services)

    def catalog(self) -> Catalog:
        return self._catalog.current()

    def has(self, service: str) -> bool:
        return service in self._catalog.current().services

    def deciding(self) -> Container[str]:
        return self._deciding(self._catalog.current())


def callers_of(settings: Settings, http: httpx.AsyncClient) -> Callers | None:
    """Who may call, beside those with a simple token; None where there is no file of them.

    Args:
        settings: name the file.
        http: asks the issuers of ID tokens.

    Raises:
        SettingsError: the file is wrong.
    """
    if settings.callers_file is None:
        return None
    try:
        watch = CallersWatch(settings.callers_file)
    except CallersError as error:
        lines = str(error).splitlines()
        raise SettingsError("\n".join(f"AVIARY_CALLERS_FILE: {line}" for line in lines)) from None
    rate = settings.webhook_rate
    return Callers(watch.current, Rates(rate, 3 * rate, time.monotonic), oidc=Oidc(http))


def tls_of(settings: Settings) -> ServerTls | None:
    """How the webhook shows who it is, and whom it lets connect; None: without TLS."""
    if settings.webhook_cert_file is None:
        return None
    return ServerTls(
        settings.webhook_cert_file, settings.webhook_key_file, settings.webhook_ca_file
    )


async def run_webhook(settings: Settings, stop: asyncio.Event) -> None:
    """Run the webhook on `webhook_host`:`webhook_port` until `stop` is set.

    It answers 503 while Kafka is away, at start as well.

    Raises:
        CatalogError: the catalog is not valid at start.
        SettingsError: it would be open to others without a token.
        OSError: the address is taken.
    """
    async with httpx.AsyncClient(timeout=5.0) as issuers:
        await _run(settings, stop, callers_of(settings, issuers))


async def _run(settings: Settings, stop: asyncio.Event, callers: Callers | None) -> None:
    registry = new_registry("webhook")
    known = _Known(CatalogWatch(settings.catalog, registry, read_connections(settings)))
    options = WebhookOptions(
        token=webhook_token(settings),
        callers=callers,
        max_body=settings.webhook_max_body,
        docs=settings.http_docs,
        build=named_build(settings),
    )
    links = links_of(settings)
    deploying = EventOptions(secret_of(settings, "deploy_token"), links, callers=callers)
    api = None if callers is None else Api(callers, TemporalReleases(settings), links)
    taken = listen(settings.webhook_host, settings.webhook_port)
    sender = Sender(
        kafka_options(settings), (ids.TOPIC_ALERTS, ids.TOPIC_DEPLOYS, ids.TOPIC_DEADLETTERS)
    )
    sender.start()
    try:
        async with open_client(http_access(settings, "alertmanager"), timeout_s=5.0) as client:
            url = settings.alertmanager_url
            source = AlertmanagerAlerts(url, client) if url else None
            recovery = Recovery(
                source, known.service_of, known.has, time.time, deciding=known.deciding
            )
            app = create_app(
                options,
                sender,
                known.service_of,
                registry,
                recovery=recovery,
                deciding=known.deciding,
                events=EventReceiver(deploying, sender, known.catalog),
                door=AnswerDoor(tokens_of(settings), ByTemporal(settings)),
                api=api,
            )
            async with told(sender.check, registry, "webhook"):
                await serve(app, taken, stop, name="webhook", tls=tls_of(settings))
    finally:
        if api is not None:
            await api.aclose()
        await sender.close()
