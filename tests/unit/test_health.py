"""Health of a process whose worker has ended for good, or shares it with a bridge."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from adapters.errors import Retryable
from aviary.bridge.run import all_of
from aviary.http import add_health
from aviary.settings import Settings
from aviary.worker import Standing


async def ready() -> None:
    """Nothing is wrong."""


async def test_readiness_names_the_build_whether_or_not_it_is_ready() -> None:
    reason: list[str] = ["not yet"]

    async def asked() -> None:
        if reason:
            raise Retryable(reason[0])

    app = add_health(FastAPI(), asked, CollectorRegistry(), build="7")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as http:
        said = {"status": "not ready", "reason": "not yet", "build": "7"}
        assert (await http.get("/readyz")).json() == said
        reason.clear()
        assert (await http.get("/readyz")).json() == {"status": "ready", "build": "7"}
        assert (await http.get("/healthz")).json() == {"status": "ok"}


async def test_who_never_will_work_again_says_so_to_both_probes() -> None:
    standing = Standing(Settings())
    app = add_health(
        FastAPI(), standing.ready, CollectorRegistry(), build="7", alive=standing.alive
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert "not connected yet" in (await http.get("/readyz")).json()["reason"]
        standing.failed("queue aviary: polls were refused")
        for path in ("/healthz", "/readyz"):
            answer = await http.get(path)
            assert answer.status_code == 503
            assert answer.json()["reason"] == "queue aviary: polls were refused"


@pytest.mark.parametrize("wrong", [0, 1])
async def test_a_process_of_several_parts_is_ready_when_all_are(wrong: int) -> None:
    async def not_ready() -> None:
        raise Retryable("not this one")

    parts = [ready, ready]
    await all_of(*parts)()
    parts[wrong] = not_ready
    with pytest.raises(Retryable, match="not this one"):
        await all_of(*parts)()
