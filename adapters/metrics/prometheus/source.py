"""Prometheus, and whatever speaks its query API, as a `MetricsSource`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from prometheus_api_client import PrometheusConnect

from adapters.errors import Unanswered
from adapters.http_access import HttpAccess, admit
from adapters.metrics.answers import read_answer
from adapters.metrics.transport import MOST_BYTES, BoundedSession, WatchedAdapter
from schemas.reading import Answer, Fault, Series, shown

_PATIENCE = 3.0
"""Time-outs that a query waits in all, where it waits for a thread or for a name to be found."""


class PrometheusMetrics:
    """Instant queries, answered on threads of their own: the client library blocks.

    Args:
        url: base address, such as http://127.0.0.1:9090.
        timeout_s: longest wait for one whole answer, in seconds.
        parallel: queries at the same time; more of them wait their turn.
        most_bytes: most bytes of one answer, unpacked.
        access: credentials, and whom to trust.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        parallel: int = 32,
        most_bytes: int = MOST_BYTES,
        access: HttpAccess | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._address = f"Prometheus at {_shown(self._url)}"
        self._timeout_s = timeout_s
        self._session = BoundedSession(
            self._address, self._read, timeout_s=timeout_s, most=most_bytes
        )
        if access is not None:
            admit(self._session, access)
        self._client = PrometheusConnect(url=self._url, session=self._session, method="POST")
        # The judge asks again each interval, so the client's own retries would only delay it.
        self._session.mount(self._url, WatchedAdapter(pool_maxsize=parallel, max_retries=0))
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="prometheus")

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        """Every series of the answer as of `at`: an `Answer`, which may be partial."""
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._threads, self._ask, promql, at.timestamp())
        try:
            return await asyncio.wait_for(asked, _PATIENCE * self._timeout_s)
        except TimeoutError as error:
            text = f"{self._address}: no answer within {_PATIENCE * self._timeout_s:g} s"
            raise Unanswered(text, Fault.TIMED_OUT) from error

    def close(self) -> None:
        """Let the threads and connections go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _ask(self, promql: str, at: float) -> Answer:
        found = self._client.custom_query(promql, params={"time": f"{at:.3f}"})
        answer: Answer = found(promql)
        return answer

    def _read(self, status: int, headers: Mapping[str, str], body: bytes) -> Any:
        """The document as the client library takes it apart: its result reads the answer."""

        def result(promql: str) -> Answer:
            return read_answer(status, headers, body, address=self._address, promql=promql)

        return {"data": {"result": result}}


def _shown(url: str) -> str:
    """An address without user and password."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "an address that is none"
    return shown(f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}")
