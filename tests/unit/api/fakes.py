"""Releases in memory, behind the whole app of the webhook."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx
from fastapi import FastAPI

from adapters.links import Links
from aviary.api.answers import Api, ApiOptions
from aviary.api.callers import Callers
from aviary.api.callers_file import CallersFile, digest_of
from aviary.api.oidc import Oidc
from aviary.api.problems import Problem
from aviary.api.rates import Rates
from aviary.api.source import Listed, Look, Page, Published, Said
from aviary.event_receiver import EventOptions, EventReceiver
from aviary.releases.finding import Filters
from aviary.webhook import WebhookOptions, create_app
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.release import CanaryStatus, Command, ReleaseStatus, ServiceStatus
from tests.catalogs import make
from tests.unit.ingestion.fakes import FakeWriter

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CATALOG = make(
    {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}, "metrics": []},
        "services": {"ledger": {}, "checkout": {"depends_on": ["ledger"]}},
    }
)
NOTIFICATION = {
    "version": "4",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "Errors", "service": "ledger"},
            "startsAt": "2026-03-01T12:00:00Z",
            "fingerprint": "f1",
        }
    ],
}
TOKENS: dict[str, dict[str, Any]] = {
    "all": {"roles": ["deploy", "read", "approve", "rollback", "alerts"]},
    "reader": {"roles": ["read"]},
    "approver": {"roles": ["read", "approve"]},
    "pager": {"roles": ["rollback"]},
    "shop": {"roles": ["deploy", "read", "approve", "rollback"], "services": ["check*"]},
    "other": {"roles": ["deploy", "read", "approve", "rollback"], "services": ["search"]},
    "alerts": {"roles": ["alerts"]},
    "old": {"roles": ["read"], "expires": "2026-02-01"},
}


def token_of(name: str) -> str:
    return f"aviary_the-token-of-{name}"


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token_of(name)}"}


def callers_file(tokens: dict[str, dict[str, Any]] = TOKENS) -> CallersFile:
    entries = {name: {"sha256": digest_of(token_of(name)), **one} for name, one in tokens.items()}
    return CallersFile.model_validate({"tokens": entries})


def status_of(*services: str, phase: ReleasePhase = ReleasePhase.RUNNING) -> ReleaseStatus:
    where = CanaryPhase.FINALIZED if phase.closed else CanaryPhase.GATED
    return ReleaseStatus(
        release="shop-1",
        phase=phase,
        paused=False,
        services=tuple(
            ServiceStatus(service=name, version="2", depends_on=(), phase=where)
            for name in services
        ),
        started_at=NOW,
        finished_at=NOW if phase.closed else None,
    )


def picking(*services: str) -> dict[str, CanaryStatus]:
    """Canaries whose A/B test of 1 and 2 has ended."""
    return {
        name: CanaryStatus(
            service=name,
            release="shop-1",
            version="2",
            sequence=1,
            phase=CanaryPhase.GATED,
            at=NOW,
            route=None,
            alerts_seen=0,
            picks=("1", "2"),
        )
        for name in services
    }


class FakeSource:
    """Knows one release."""

    def __init__(self) -> None:
        self.status = status_of("ledger", "checkout")
        self.looks = 0
        self.asked: list[tuple[Filters, int, bytes | None]] = []
        self.said: list[tuple[str, str, Command, str]] = []
        self.canaries: dict[str, CanaryStatus] = {}
        self.refuses = ""
        self.kept = False
        self.published: list[dict[str, Any]] = []
        self.changed = asyncio.Event()
        self.readers = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def publish(self, *numbers: int) -> None:
        """More events."""
        self.published += [{"id": f"release/shop-1/{one}", "data": {"n": one}} for one in numbers]
        self.changed.set()

    def end(self) -> None:
        self.status = status_of("ledger", "checkout", phase=ReleasePhase.FINALIZED)
        self.changed.set()

    def _check(self, release: str) -> None:
        if release != self.status.release:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown", f"release {release}: there is none")

    async def page(self, filters: Filters, size: int, after: bytes | None) -> Page:
        self.asked.append((filters, size, after))
        first = Listed(
            "shop-1", "running", NOW, None, tuple(one.service for one in self.status.services)
        )
        second = Listed("search-1", "finalized", NOW, NOW, ("search",), ("3",), "prod", "PASS")
        return Page([first, second], b"\xff\x01" if after is None else None)

    async def look(self, release: str) -> Look:
        self._check(release)
        await self.gate.wait()
        self.looks += 1
        return Look(self.status, self.canaries, {})

    async def services(self, release: str) -> frozenset[str]:
        self._check(release)
        return frozenset(one.service for one in self.status.services)

    async def say(self, word: str, release: str, command: Command, once: str) -> Said:
        self._check(release)
        if self.refuses:
            raise Problem(HTTPStatus.CONFLICT, "refused", self.refuses)
        if all(known[3] != once for known in self.said):
            self.said.append((word, release, command, once))
        return Said(f"{word} it is", self.kept)

    async def answered(self, release: str, once: str) -> Said | None:
        self._check(release)
        words = [word for word, _, _, known in self.said if known == once]
        return Said(f"{words[0]} it is", self.kept) if words else None

    async def events(self, release: str) -> AsyncIterator[Published]:
        self._check(release)
        self.readers += 1
        at = 0
        while True:
            self.changed.clear()
            new = self.published[at:]
            at += len(new)
            yield Published(new, caught_up=True)
            if self.status.phase.closed:
                return
            await self.changed.wait()


def app_of(
    source: FakeSource,
    *,
    options: ApiOptions | None = None,
    file: CallersFile | None = None,
    per_s: float = 1000.0,
    writer: FakeWriter | None = None,
    oidc: Oidc | None = None,
) -> FastAPI:
    """The webhook's app over a source."""
    known = file or callers_file()
    callers = Callers(lambda: known, Rates(per_s, 3 * per_s, lambda: 0.0), lambda: NOW, oidc)
    writer = writer or FakeWriter()
    return create_app(
        WebhookOptions(callers=callers, docs=True),
        writer,
        lambda _: None,
        events=EventReceiver(EventOptions(callers=callers), writer, lambda: CATALOG),
        api=Api(callers, source, Links("https://temporal.example"), options),
    )


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://webhook")


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once a condition holds."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - what is waited for is told nowhere
            await asyncio.sleep(0.02)
