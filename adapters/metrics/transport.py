"""HTTP for the client library of Prometheus: every answer bounded in size and in time.

`requests` bounds each wait for the next bytes, and not the whole: a server that sends a byte now
and then would hold a query for ever. So each connection has a twin of its socket, and once the time
is over, the twin is shut down: whoever reads from the connection comes back at once.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NoReturn, Self

from requests import RequestException, Response, Session
from requests import Timeout as RequestTimeout
from requests.adapters import HTTPAdapter
from requests.exceptions import ContentDecodingError
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from adapters.errors import Unanswered
from schemas.reading import Fault

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of one answer, unpacked: some 25,000 series, and 200 MB once it is parsed, whatever it is."""
_CHUNK: Final = 64 * 1024

Read = Callable[[int, Mapping[str, str], bytes], Any]
"""Makes a document of status, headers and body."""

_current = threading.local()


class Deadline:
    """The time of one request, from its first byte to its last."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True
        self.passed = False

    def __enter__(self) -> Self:
        _current.deadline = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _current.deadline = None
        self._take(None)

    def watch(self, twin: socket.socket) -> None:
        """Shut this one down when the time is over, also once its connection has let it go."""
        self._take(twin.dup())
        if self.passed:
            self._pass()

    def _take(self, twin: socket.socket | None) -> None:
        with self._lock:
            before, self._socket = self._socket, twin
        if before is not None:
            before.close()

    def _pass(self) -> None:
        self.passed = True
        with self._lock:
            if self._socket is not None:
                _shut(self._socket)


def _shut(twin: socket.socket) -> None:
    try:
        twin.shutdown(socket.SHUT_RDWR)
    except OSError:  # the other side was first
        return


class _Watched(HTTPConnection):
    """A connection whose request ends with the deadline of its thread."""

    _twin: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._twin = made.dup()  # stays plain where TLS takes over the first one
        self._watch()
        return made

    def request(self, *args: Any, **more: Any) -> None:
        """As it is; the connection may be of an earlier request."""
        self._watch()
        super().request(*args, **more)

    def close(self) -> None:
        """Close both."""
        super().close()
        twin, self._twin = self._twin, None
        if twin is not None:
            twin.close()

    def _watch(self) -> None:
        deadline: Deadline | None = getattr(_current, "deadline", None)
        if deadline is not None and self._twin is not None:
            deadline.watch(self._twin)


class _WatchedTls(_Watched, HTTPSConnection):
    """The same, of TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


class WatchedAdapter(HTTPAdapter):
    """Connections that keep to the deadline of their request."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """As it is, with pools of watched connections."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, *args: Any, **more: Any) -> Any:
        """As it is, with pools of watched connections."""
        manager = super().proxy_manager_for(*args, **more)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager


class _Document(Response):
    """What the client library looks at of an answer that was read already."""

    def __init__(self, document: Any) -> None:
        super().__init__()
        self.status_code = HTTPStatus.OK
        self._document = document

    def json(self, **_: Any) -> Any:
        """The document."""
        return self._document


class BoundedSession(Session):
    """Sends parameters in the body, follows nobody elsewhere, and reads no more than its bounds.

    Many queries in one are too long for an address. A redirect is an answer of its own: to follow
    it would be to read a login page, or to send credentials to somebody else.

    Args:
        address: how errors call the server.
        read: makes a document of an answer, or raises what it amounts to.
        timeout_s: longest time of a whole request, in seconds.
        most: most bytes of an answer, unpacked.
    """

    def __init__(
        self, address: str, read: Read, *, timeout_s: float, most: int = MOST_BYTES
    ) -> None:
        super().__init__()
        self._address = address
        self._read = read
        self._timeout_s = timeout_s
        self._most = most

    def request(  # type: ignore[override]  # named by the client library, all of them
        self, method: Any, url: Any, params: Any = None, timeout: Any = None, **more: Any
    ) -> Response:
        """As the client library asks, with its parameters as a form.

        Raises:
            Unanswered: there is no answer, or not within the bounds.
        """
        del timeout
        with Deadline(self._timeout_s) as deadline:
            try:
                answer = super().request(
                    method,
                    url,
                    data=params,
                    timeout=self._timeout_s,
                    stream=True,
                    allow_redirects=False,
                    **more,
                )
                with answer:
                    body = self._body(answer)
            except (RequestException, HTTPError, OSError) as error:
                self._fail(error, deadline)
            if deadline.passed:
                self._late()
        return _Document(self._read(answer.status_code, answer.headers, body))

    def _body(self, answer: Response) -> bytes:
        pieces, size = [], 0
        for piece in answer.iter_content(_CHUNK):
            size += len(piece)
            if size > self._most:
                text = f"{self._address}: the answer has more than {self._most:,} bytes"
                raise Unanswered(text, Fault.TOO_LARGE)
            pieces.append(piece)
        return b"".join(pieces)

    def _fail(self, error: Exception, deadline: Deadline) -> NoReturn:
        if deadline.passed or isinstance(error, RequestTimeout):
            self._late(error)
        wrong = isinstance(error, ContentDecodingError)
        text = f"{self._address}: {type(error).__name__}"
        raise Unanswered(text, Fault.MALFORMED if wrong else Fault.UNREACHABLE) from error

    def _late(self, error: Exception | None = None) -> NoReturn:
        text = f"{self._address}: no whole answer within {self._timeout_s:g} s"
        raise Unanswered(text, Fault.TIMED_OUT) from error
