"""Prometheus, and whatever speaks its query API, as a `MetricsSource`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http import HTTPStatus
from typing import Any

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests import RequestException, Response, Session
from requests.adapters import HTTPAdapter

from adapters.errors import Retryable, Terminal
from adapters.http_access import HttpAccess, admit
from schemas.reading import Series

_STATUS = re.compile(r"HTTP Status Code (\d+)")
_WRONG_QUERY = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
_SHOWN = 300
"""Most characters of an answer that an error repeats."""


class _Forms(Session):
    """Sends parameters in the body: many queries in one are too long for an address."""

    def request(  # type: ignore[override]  # named by the client library, all of them
        self, method: Any, url: Any, params: Any = None, **more: Any
    ) -> Response:
        """As the client library asks, with its parameters as a form."""
        return super().request(method, url, data=params, **more)


class PrometheusMetrics:
    """Instant queries, answered on threads of their own: the client library blocks.

    Args:
        url: base address, such as http://127.0.0.1:9090.
        timeout_s: longest wait for one answer, in seconds.
        parallel: queries at the same time; more of them wait their turn.
        access: credentials, and whom to trust.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        parallel: int = 32,
        access: HttpAccess | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        session = _Forms()
        if access is not None:
            admit(session, access)
        self._client = PrometheusConnect(url=self._url, session=session, method="POST")
        # The judge asks again each interval, so the client's own retries would only delay it.
        session.mount(self._url, HTTPAdapter(pool_maxsize=parallel, max_retries=0))
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="prometheus")

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        """Every series of the answer as of `at`."""
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(self._threads, self._ask, promql, at.timestamp())
        return [self._series(row, promql) for row in rows]

    def close(self) -> None:
        """Let the threads and connections go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _ask(self, promql: str, at: float) -> list[Any]:
        try:
            rows = self._client.custom_query(
                promql, params={"time": f"{at:.3f}"}, timeout=self._timeout_s
            )
        except PrometheusApiClientException as error:
            raise self._refused(promql, str(error)) from error
        except (RequestException, ValueError, KeyError) as error:
            raise Retryable(f"Prometheus at {self._url}: {type(error).__name__}") from error
        if not isinstance(rows, list):
            raise Terminal(f"query {promql!r}: expected an instant vector")
        return rows

    def _refused(self, promql: str, text: str) -> Terminal | Retryable:
        found = _STATUS.search(text)
        status = int(found.group(1)) if found else 0
        if status in _WRONG_QUERY:
            return Terminal(f"query {promql!r}: Prometheus answered {text[:_SHOWN]}")
        return Retryable(f"Prometheus at {self._url}: {text[:_SHOWN]}")

    def _series(self, row: Any, promql: str) -> Series:
        if not isinstance(row, Mapping) or "value" not in row:
            raise Terminal(f"query {promql!r}: expected an instant vector, got {str(row)[:_SHOWN]}")
        return Series(labels=dict(row["metric"]), value=float(row["value"][1]))
