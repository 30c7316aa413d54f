"""Alertmanager's API (version 2): which alerts fire now."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping, Sequence
from http import HTTPStatus
from typing import Final, Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from adapters.errors import Retryable, Terminal
from schemas.alert import Alert, AlertStatus
from schemas.alert_bounds import KEPT, Annotations, Fingerprint, GeneratorUrl, Labels
from schemas.notification import Time
from schemas.outside import NAME_MOST, TEXT_MOST, cut
from schemas.rejection import explain

_QUERY: Final = {"active": "true", "silenced": "false", "inhibited": "false", "unprocessed": "true"}
_MOST: Final = 64 * 1024 * 1024
"""Bytes of an answer: 10,000 alerts of 6 kB each."""
_LATER: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


class _Tolerant(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Status(_Tolerant):
    state: Literal["active", "suppressed", "unprocessed"]


class _Receiver(_Tolerant):
    name: str


class _Gettable(_Tolerant):
    labels: Labels
    annotations: Annotations = Field(default_factory=dict)
    fingerprint: Fingerprint
    starts_at: Time = Field(alias="startsAt")
    generator_url: GeneratorUrl = Field(default="", alias="generatorURL")
    status: _Status
    receivers: tuple[_Receiver, ...] = ()


_ALERTS: Final = TypeAdapter(list[_Gettable])
_RECEIVERS: Final = TypeAdapter(list[_Receiver])
_Answer = TypeVar("_Answer")


class AlertmanagerAlerts:
    """`adapters.ports.AlertSource` over Alertmanager's HTTP API."""

    def __init__(self, url: str, client: httpx.AsyncClient, *, timeout_s: float = 5.0) -> None:
        """Ask through a client that somebody else closes.

        Args:
            url: Alertmanager's address with its route prefix, such as http://127.0.0.1:9093.
            client: carries the requests.
            timeout_s: seconds for one question.
        """
        self._url = url.rstrip("/")
        self._where = f"Alertmanager at {self._url}"
        self._client = client
        self._timeout_s = timeout_s

    async def firing(
        self, receiver: str | None = None, kept: Container[str] = ()
    ) -> Sequence[Alert]:
        """All alerts that fire now, silenced and inhibited ones left out.

        One that Alertmanager has not yet held against its silences counts as firing.

        Args:
            receiver: only what it sends to this receiver.
            kept: labels that decide, which are left out last from a label set too large.

        Raises:
            Retryable: no answer, one of the server's own errors, or one that is not its API's.
            Terminal: Alertmanager refused the question (4xx), or has no such receiver.
        """
        if receiver is not None:
            # Without this, an Alertmanager other than the sender would say that nothing fires.
            known = self._read(await self._ask("/api/v2/receivers", {}), _RECEIVERS)
            if receiver not in {each.name for each in known}:
                name = cut(receiver, NAME_MOST)
                raise Terminal(f"{self._where}: has no receiver {name!r}, so it is not the sender")
        found = await self._ask("/api/v2/alerts", _QUERY)
        # In a thread: 10,000 alerts take seconds, in which others want an answer of this process.
        return await asyncio.to_thread(self._alerts, found, receiver, kept)

    async def _ask(self, path: str, query: Mapping[str, str]) -> bytes:
        where = self._where
        try:
            async with self._client.stream(
                "GET", f"{self._url}{path}", params=query, timeout=self._timeout_s
            ) as answer:
                if answer.status_code != HTTPStatus.OK:
                    text = f"{where}: answered {answer.status_code}, expected 200"
                    never = answer.is_client_error and answer.status_code not in _LATER
                    raise Terminal(text) if never else Retryable(text)
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > _MOST:
                        raise Retryable(f"{where}: its answer is larger than {_MOST} bytes")
        except httpx.InvalidURL as error:
            raise Terminal(f"{where}: not a URL: {error}") from error
        except (httpx.HTTPError, OSError) as error:  # a refused certificate comes as it is
            raise Retryable(f"{where}: {type(error).__name__}: {error}") from error
        return bytes(content)

    def _read(
        self, content: bytes, answers: TypeAdapter[_Answer], kept: Container[str] = ()
    ) -> _Answer:
        try:
            return answers.validate_json(content, context={KEPT: kept})
        except ValidationError as error:
            problem = cut(explain(error), TEXT_MOST)
            raise Retryable(f"{self._where}: not an answer of its API: {problem}") from error

    def _alerts(
        self, content: bytes, receiver: str | None, kept: Container[str]
    ) -> tuple[Alert, ...]:
        return tuple(
            self._alert(item)
            for item in self._read(content, _ALERTS, kept)
            if item.status.state != "suppressed"
            and (receiver is None or receiver in {each.name for each in item.receivers})
        )

    def _alert(self, item: _Gettable) -> Alert:
        # Here endsAt is when Alertmanager would give a silent alert up, not its end.
        return Alert(
            status=AlertStatus.FIRING,
            fingerprint=item.fingerprint,
            labels=item.labels,
            annotations=item.annotations,
            starts_at=item.starts_at,
            generator_url=item.generator_url,
            external_url=self._url,
        )
