"""TLS handshakes of a server, bounded in number and time as all else that callers send.

asyncio gives a handshake 60 s, and uvicorn knows of a connection only once it is over: callers who
connect and never begin one would take every file descriptor of the process.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Any

from aviary.http_limits import Closed, LimitedProtocol


class _Handshake(SSLProtocol):
    """TLS of one connection, which is among `open_ones` until the handshake is over."""

    def __init__(
        self, inner: LimitedProtocol, context: ssl.SSLContext, open_ones: dict[_Handshake, None]
    ) -> None:
        loop = asyncio.get_running_loop()
        nobody_waits: Any = None
        super().__init__(loop, inner, context, nobody_waits, server_side=True)
        self._inner = inner
        self._open_ones = open_ones
        self._timer = loop.call_later(inner.limits.head_s, self._close, Closed.HANDSHAKE)
        inner.handshaken = self._over
        self._wire: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, and end the oldest where there are too many."""
        self._wire = transport
        self._open_ones[self] = None
        super().connection_made(transport)
        oldest = next(iter(self._open_ones))
        many = len(self._open_ones) + len(self._inner.connections)
        if many > self._inner.limits.connections and oldest is not self:
            oldest._close(Closed.TOO_MANY)  # noqa: SLF001 - one of us

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait for nothing more."""
        self._over()
        super().connection_lost(exc)

    def _over(self) -> None:
        self._timer.cancel()
        self._open_ones.pop(self, None)

    def _close(self, why: Closed) -> None:
        self._over()
        self._inner.tally.count(why)
        if isinstance(self._wire, asyncio.Transport):
            self._wire.abort()


def over_tls(
    make: Callable[..., LimitedProtocol], context: ssl.SSLContext
) -> Callable[..., asyncio.BaseProtocol]:
    """Makes the protocols of one server so that each speaks TLS.

    Args:
        make: makes what is inside.
        context: of the server.
    """
    open_ones: dict[_Handshake, None] = {}

    def made(**arguments: Any) -> _Handshake:
        return _Handshake(make(**arguments), context, open_ones)

    return made
