"""The small HTTP side of a process: health, readiness, metrics, and the server for them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import ClientDisconnect

from adapters.errors import Retryable
from aviary.handshakes import over_tls
from aviary.http_limits import BACKLOG, Limits, limited, open_files
from schemas.files import mark_of

_log = structlog.get_logger("aviary.http")

Ready = Callable[[], Awaitable[None]]
"""Asks whether a process can do its work now; raises `Retryable` with the reason if not."""


def make_app(title: str, description: str = "", *, docs: bool = False) -> FastAPI:
    """Make an app; only with `docs` does it describe itself, on `/docs` and `/openapi.json`."""
    app = FastAPI(
        title=title,
        description=description,
        openapi_url="/openapi.json" if docs else None,  # without it there are no pages either
    )

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: Exception) -> Response:
        # Nobody reads it; without it the server takes a caller that hangs up for an error of ours.
        return Response(status_code=HTTPStatus.BAD_REQUEST)

    return app


async def _alive() -> None:
    """As a process is that can answer at all."""


def add_health(
    app: FastAPI, ready: Ready, registry: Collector, *, build: str, alive: Ready = _alive
) -> FastAPI:
    """Add `/healthz` (the process lives), `/readyz` (it can work) and `/metrics` to an app.

    Args:
        app: the app.
        ready: asks whether the process can work now.
        registry: of the metrics.
        build: of the process; `/readyz` names it.
        alive: raises `Retryable` once this process never will work again, and must be replaced.
    """

    @app.get("/healthz", tags=["health"], responses={503: {"description": "To be replaced."}})
    async def healthz() -> JSONResponse:
        """Say that the process lives."""
        return await _said(alive, yes="ok", no="failed")

    @app.get("/readyz", tags=["health"], responses={503: {"description": "Not ready, with why."}})
    async def readyz() -> JSONResponse:
        """Say whether the process can do its work now."""
        return await _said(ready, yes="ready", no="not ready", build=build)

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


async def _said(asked: Ready, *, yes: str, no: str, **more: str) -> JSONResponse:
    try:
        await asked()
    except Retryable as error:
        body = {"status": no, "reason": str(error), **more}
        return JSONResponse(body, status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    return JSONResponse({"status": yes, **more})


RENEWED_EVERY_S = 10.0
"""How often a certificate is looked at."""


class _Server(uvicorn.Server):
    """Leaves signals to the command that runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Take an address, a free port for port 0.

    Raises:
        OSError: the address is in use or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.create_server((host, port), family=family, backlog=512)
    # asyncio asks for this only where the socket says that it is TCP, which this one does not; an
    # answer in two writes (head, body) would wait 40 ms for the caller's acknowledgement.
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return taken


@dataclass(frozen=True)
class ServerTls:
    """How a server shows who it is, and whom it lets connect."""

    cert: Path
    """Its certificate with its chain, PEM; read again when the file changes."""
    key: Path | None = None
    """The private key, where it is not in the same file."""
    callers: Path | None = None
    """Authorities: nobody connects without a certificate of theirs; None: anybody does."""

    def load(self, context: ssl.SSLContext) -> None:
        """Show this certificate to whoever connects from now on.

        Raises:
            OSError: the files are not what they should be.
        """
        context.load_cert_chain(self.cert, self.key)

    @property
    def mark(self) -> tuple[object, ...]:
        """What differs once the files have changed."""
        return tuple(mark_of(file) for file in (self.cert, self.key) if file is not None)


async def _renewed(tls: ServerTls, context: ssl.SSLContext) -> None:
    """Go on with a certificate that has been renewed, for ever."""
    seen = tls.mark
    while True:
        await asyncio.sleep(RENEWED_EVERY_S)
        if (mark := tls.mark) != seen:
            seen = mark
            try:
                tls.load(context)
            except OSError as error:
                _log.error("certificate_invalid", path=str(tls.cert), error=str(error), kept="old")
            else:
                _log.info("certificate_read", path=str(tls.cert))


async def serve(  # noqa: PLR0913 - its parts
    app: FastAPI,
    taken: socket.socket,
    stop: asyncio.Event,
    *,
    name: str,
    limits: Limits | None = None,
    tls: ServerTls | None = None,
) -> None:
    """Serve an app on an address taken with `listen`, until `stop` is set; then close it.

    Args:
        app: what answers.
        taken: the listening socket; closed at the end.
        stop: ends the serving.
        name: of the server, in logs.
        limits: what a caller may cost.
        tls: how it shows who it is; None: it speaks plain HTTP.

    Raises:
        OSError: a file of `tls` is not what it should be.
    """
    host, port = taken.getsockname()[:2]
    protocol = limited((limits or Limits()).within(open_files()))
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
        **_tls_options(tls),
    )
    try:
        config.load()
    except OSError:
        taken.close()
        raise
    context = config.ssl
    if context is not None:
        made: Any = over_tls(protocol, context)
        config.http_protocol_class, config.ssl = made, None
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[taken]), name=f"http-{name}")
    stopping = asyncio.create_task(stop.wait(), name=f"stop-{name}")
    renewing = (
        asyncio.create_task(_renewed(tls, context), name=f"tls-{name}")
        if tls is not None and context is not None
        else None
    )
    _log.info("listening", server=name, host=host, port=port, tls=tls is not None)
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if renewing is not None:
            renewing.cancel()
        server.should_exit = True
        await serving
        taken.close()


def _tls_options(tls: ServerTls | None) -> dict[str, Any]:
    if tls is None:
        return {}
    demanded = ssl.CERT_NONE if tls.callers is None else ssl.CERT_REQUIRED
    return {
        "ssl_certfile": tls.cert,
        "ssl_keyfile": tls.key,
        "ssl_ca_certs": None if tls.callers is None else str(tls.callers),
        "ssl_cert_reqs": demanded,
    }
