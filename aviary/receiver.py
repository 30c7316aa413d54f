"""One notification after the other: onto Kafka, and answered when all of it is accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import structlog
from fastapi import Request
from fastapi.responses import JSONResponse
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from pydantic import SecretStr
from starlette.requests import ClientDisconnect

from adapters.errors import Retryable, Terminal
from adapters.kafka import Headers, Outgoing
from aviary.api.audit import audit
from aviary.api.callers import Callers
from aviary.api.problems import Problem, problem_answer
from aviary.api.roles import Role
from aviary.bearer import bears
from aviary.notifications import Received, ServiceOf, receive
from aviary.recovery import Lost, Recovery
from aviary.telemetry.carrier import from_context, to_context, to_record, with_received
from aviary.telemetry.spans import span
from aviary.webhook_metrics import WebhookMetrics
from schemas.loss import LossReason
from schemas.notification import receiver_of
from schemas.outside import NAME_MOST, cut
from schemas.rejection import Rejected, RejectReason

_log = structlog.get_logger("aviary.webhook")
MAX_BODY: Final = 32 * 1024 * 1024
"""Default of the largest body, in bytes: 10,000 alerts of 3 kB each."""
_AT_ONCE: Final = 100
"""Records that are given to the producer before the event loop has its turn."""
_SMALL: Final = 64 * 1024
"""A body that is read without a thread, in a millisecond or two."""
_TOLD: Final = 5
"""Of the alerts of one notification that are wrong, how many the log names."""
_SIMPLE: Final = "token:AVIARY_WEBHOOK_TOKEN"
"""Whoever bears the simple token."""
_BODIES: Final = 2
"""Bodies of the largest size that may be in memory."""


_ANSWERS: Final = {
    RejectReason.UNPARSABLE: (HTTPStatus.BAD_REQUEST, LossReason.UNPARSABLE),
    RejectReason.TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, LossReason.TOO_LARGE),
    RejectReason.INVALID_DATA: (HTTPStatus.UNPROCESSABLE_ENTITY, LossReason.INVALID_DATA),
}


class AlertWriter(Protocol):
    """What the webhook asks of Kafka."""

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Return once all records are durable. Raises `Retryable` or `Terminal`."""
        ...

    async def check(self) -> None:
        """Return if Kafka would take records now. Raises `Retryable`."""
        ...


@dataclass(frozen=True)
class WebhookOptions:
    """How the webhook treats its callers."""

    token: SecretStr | None = None
    """The simple way: one bearer token that every notification must carry."""
    callers: Callers | None = None
    """Says who else may send; with neither anybody may."""
    max_body: int = MAX_BODY
    """Largest body, in bytes."""
    docs: bool = False
    """Whether it describes itself on `/docs` and `/openapi.json`."""
    build: str = ""
    """Of the process; `/readyz` names it."""
    patience_s: float = 5.0
    """Seconds that Kafka may take for each hundred alerts; after that all are to come again."""


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A notification that is answered with something other than 200."""

    def __init__(
        self, status: HTTPStatus, reason: str, detail: str, lost: Lost | None = None
    ) -> None:
        """Keep what to answer, and which alerts are lost unless something is done."""
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.lost = lost
        self.made_good: dict[str, object] = {}


@contextmanager
def _sending() -> Iterator[Headers]:
    """A span for what is written within it, and the headers that carry it on."""
    with span("send aviary.alerts", SpanKind.PRODUCER, messaging__system="kafka"):
        yield tuple(to_record(from_context()))


class Receiver:
    """Turns one request into records of `aviary.alerts`.

    The answer comes when every alert is durable: as itself, as a dead letter, or as the order to
    pause what it may have been about. Until then the sender is told to come again.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        options: WebhookOptions,
        writer: AlertWriter,
        *,
        service_of: ServiceOf,
        deciding: Callable[[], Container[str]],
        recovery: Recovery,
        metrics: WebhookMetrics,
        clock: Callable[[], float],
    ) -> None:
        """Receive through these; `deciding` names the labels that a cut label set keeps."""
        self._options = options
        self._writer = writer
        self._service_of = service_of
        self._deciding = deciding
        self._recovery = recovery
        self._metrics = metrics
        self._clock = clock
        self._held = 0
        self._large = asyncio.Lock()

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
        caller: str | None = None
        refusal = ""
        try:
            caller = await self._authorize(request)
            done = await self._take(request)
            answer = JSONResponse(done)
        except Refused as refused:
            _log.warning(
                "refused", status=refused.status, reason=refused.reason, detail=refused.detail
            )
            refusal = refused.reason
            done = {"detail": refused.detail, **refused.made_good}
            problem = Problem(refused.status, refused.reason, refused.detail)
            answer = problem_answer(problem, **refused.made_good)
        status = HTTPStatus(answer.status_code)
        self._metrics.requests.labels(str(status.value)).inc()
        audit(request, caller, "alerts", status, {"done": done}, refusal)
        return answer

    async def _authorize(self, request: Request) -> str | None:
        """Who sends it; None where anybody of this machine may.

        Alerts are not counted for how often somebody may ask: none may be lost by it.

        Raises:
            Refused: nobody who may.
        """
        token, callers = self._options.token, self._options.callers
        if token is None and callers is None:
            return None
        if token is not None and bears(request, token):
            return _SIMPLE
        text = "authorization: missing or wrong, expected the bearer token of this webhook"
        status = HTTPStatus.UNAUTHORIZED
        if callers is not None:
            try:
                return (await callers.allowed(request, (Role.ALERTS,), limited=False)).name
            except Problem as problem:
                status, text = problem.status, problem.detail
        # Counted, since its alerts are lost; but no stranger makes us ask or pause.
        self._metrics.lost.labels(LossReason.UNAUTHORIZED.value).inc()
        raise Refused(status, "unauthorized", text)

    async def misdirected(self, request: Request) -> JSONResponse:
        """Answer what was sent to a path where nobody takes it; its alerts are lost."""
        status, reason = HTTPStatus.NOT_FOUND, LossReason.WRONG_PATH
        text = f"path: got {cut(request.url.path, NAME_MOST)!r}, expected /alertmanager"
        try:
            await self._authorize(request)
            self._metrics.lost.labels(reason.value).inc()
            _log.error("alerts_lost", reason=reason, detail=text)
        except Refused as refused:
            status, text = refused.status, refused.detail
        self._metrics.requests.labels(str(status.value)).inc()
        return problem_answer(Problem(status, reason.value, text))

    async def _take(self, request: Request) -> dict[str, object]:
        try:
            return await self._receive(request)
        except Refused as refused:
            if refused.lost is not None:
                refused.made_good = await self._make_good(refused.lost)
            raise

    async def _receive(self, request: Request) -> dict[str, object]:
        with self._holding() as body:
            await self._fill(body, request)
            with _sending() as headers:
                received = await self._read(bytes(body), headers)
                refused = await self._write([*received.alerts, *received.unfit])
        self._metrics.alerts.inc(len(received.alerts))
        self._metrics.dead_letters.inc(len(received.unfit))
        for problem in received.problems[:_TOLD]:
            _log.warning("dead_letter", error=problem, alerts=len(received.problems))
        if refused:
            lost = Lost(LossReason.KAFKA_REFUSED, refused[0], received.receiver, received.service)
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            raise Refused(status, lost.reason.value, lost.text, lost)
        done: dict[str, object] = {"alerts": len(received.alerts)}
        if received.unfit:
            done["dead_letters"] = len(received.unfit)
        if received.truncated:
            done |= await self._truncated(received)
        return done

    @contextmanager
    def _holding(self) -> Iterator[bytearray]:
        """A body, which counts as held in memory until it is done with."""
        body = bytearray()
        try:
            yield body
        finally:
            self._held -= len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        most = self._options.max_body
        try:
            # Counted as it comes, since a chunked body does not say its length.
            async for chunk in request.stream():
                self._held += len(chunk)
                body += chunk
                if len(body) > most:
                    text = f"body: larger than expected, at most {most} bytes"
                    lost = Lost(LossReason.TOO_LARGE, text, receiver_of(bytes(body[:_SMALL])))
                    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                    raise Refused(status, "too_large", text, lost)
                if self._held > _BODIES * most and self._held > len(body):
                    text = "too many notifications at once, expected it again later"
                    raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy", text)
        except ClientDisconnect:
            text = "the sender has gone before its notification was whole"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "disconnected", text) from None

    async def _read(self, body: bytes, headers: Headers) -> Received:
        try:
            if len(body) <= _SMALL:
                return receive(body, self._service_of, self._deciding(), headers)
            # In a thread, and one at a time: health answers meanwhile, and memory is bounded.
            async with self._large:
                return await asyncio.to_thread(
                    receive, body, self._service_of, self._deciding(), headers
                )
        except Rejected as why:
            status, reason = _ANSWERS[why.reason]
            lost = Lost(reason, why.text, receiver_of(body[:_SMALL]))
            raise Refused(status, why.reason.value, why.text, lost) from why

    async def _truncated(self, received: Received) -> dict[str, object]:
        self._metrics.truncated.inc(received.truncated)
        text = f"truncatedAlerts: {received.truncated} alerts were left out by their sender"
        lost = Lost(LossReason.TRUNCATED, text, received.receiver, received.service)
        return {"truncated": received.truncated, **await self._make_good(lost)}

    async def _make_good(self, lost: Lost) -> dict[str, object]:
        """Say what was done; it is durable.

        Raises:
            Refused: Kafka is away, or takes not even the order to pause: it is to come again.
        """
        self._metrics.lost.labels(lost.reason.value).inc()
        with _sending() as headers:
            recovered = await self._recovery.after(lost, headers)
            refused = await self._write(recovered.records)
            if refused and not recovered.paused:
                recovered = self._recovery.pause(lost, refused[0], headers)
                refused = await self._write(recovered.records)
        if refused:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "kafka_refused", refused[0])
        if recovered.paused:
            self._metrics.pauses.inc()
            return {"paused": True}
        self._recovery.written(recovered)
        self._metrics.recovered.inc(len(recovered.records))
        return {"asked_for": len(recovered.records)}

    async def _write(self, records: Sequence[Outgoing]) -> list[str]:
        """Write all that Kafka takes; say what it will never take.

        Raises:
            Refused: Kafka is away; all of it is to come again.
        """
        refused: list[str] = []
        try:
            for first in range(0, len(records), _AT_ONCE):
                # As long for each part: all of it comes again after a time-out, and a Kafka that
                # takes longer for the whole would never be given the end of it.
                async with asyncio.timeout(self._options.patience_s):
                    refused += await self._send(records[first : first + _AT_ONCE])
                await asyncio.sleep(0)
        except (Retryable, TimeoutError) as error:
            text = f"Kafka did not confirm within {self._options.patience_s} s: {error}"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "kafka_away", text) from error
        return refused

    async def _send(self, records: Sequence[Outgoing]) -> list[str]:
        try:
            await self._writer.send(records)
        except Terminal as error:
            if len(records) == 1:
                return [str(error)]
            return [text for record in records for text in await self._send([record])]
        return []
