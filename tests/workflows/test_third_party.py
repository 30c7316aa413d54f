"""A release through a router of somebody else's package, and what must never be told of it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from temporalio.client import WorkflowHistory
from temporalio.testing import WorkflowEnvironment

from adapters.kinds import Shared
from aviary.connections import read_connections
from aviary.history.fetch import fetch_timeline
from aviary.kinds import registry
from aviary.report.page import render
from aviary.settings import Settings
from aviary.telemetry.ports import WorkerMetrics
from aviary.wiring import Routers
from schemas.release import ReleasePhase
from tests.packages import ROUTER, Packages
from tests.workflows.kit import World

SECRET = "hush-5ecret-of-prod"
ROTATED = "hush-r0tated-of-prod"

CODE = ROUTER.replace(
    """        if options.backend == "nowhere":
            token = connection.token.read() if connection else "none"
            raise ValueError(f"no backend nowhere for token {token}")
""",
    """
    async def read(self, service):
        self.add_pool(service, "1")
        self.add_pool(service, "2")
        await self.register(service, "1")
        return await super().read(service)

    async def apply(self, route, over=None):
        from adapters.errors import Terminal

        if route.weight > self.options.weight_limit:
            token = self.connection.token.read()
            raise Terminal(f"GET {self.connection.url}?token={token}: 403")
        return await super().apply(route, over)
""",
)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    found = Packages(folder, monkeypatch)
    found.install("our_acme", CODE, {"acme": "our_acme:ACME"})
    yield found
    found.forget()


@pytest.fixture
async def world(
    server: WorkflowEnvironment, packages: Packages, tmp_path: Path
) -> AsyncIterator[World]:
    here = World(server.client)
    (tmp_path / "token").write_text(f"{ROTATED}\n")
    file = tmp_path / "connections.yaml"
    file.write_text(
        f"prod: {{kind: acme, url: 'http://x', token: {SECRET}}}\n"
        f"edge: {{kind: acme, url: 'http://x', token_file: {tmp_path}/token}}\n"
    )
    here.connections = read_connections(Settings(connections_file=file))
    async with httpx.AsyncClient() as client:
        counts = WorkerMetrics(CollectorRegistry())
        here.router_for = Routers(registry(), here.connections, Shared(client), counts)
        async with here.working():
            yield here


def _written(history: WorkflowHistory) -> str:
    """A history as Temporal keeps it, with its payloads."""
    return b"".join(event.SerializeToString() for event in history.events).decode(errors="replace")


def router(connection: str, limit: int = 100) -> dict[str, object]:
    options = {"backend": "web", "weight_limit": limit}
    return {"router": {"kind": "acme", "connection": connection, **options}}


async def test_a_release_goes_through_an_installed_router(world: World) -> None:
    release = await world.release(
        {"ledger": [], "shop": ["ledger"]},
        strategy={"steps": [10, 50], "bake": "1s"},
        defaults=router("prod"),
    )
    status = await release.handle.result()
    assert status.phase is ReleasePhase.FINALIZED
    assert {one.router.kind for one in world.judge.requests} == {"acme"}


@pytest.mark.parametrize("connection", ["prod", "edge"])
async def test_no_secret_of_a_connection_is_told_anywhere(
    world: World, connection: str, logs: pytest.CaptureFixture[str]
) -> None:
    release = await world.release(
        {"ledger": []},
        strategy={"steps": [10, 50], "bake": "1s"},
        defaults=router(connection, limit=20),
    )
    status = await release.handle.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    timeline = await fetch_timeline(world.client, status.release)
    every = [
        _written(await release.handle.fetch_history()),
        _written(await release.canary("ledger").fetch_history()),
        status.model_dump_json(),
        timeline.model_dump_json(),
        render(timeline, datetime.now(UTC)),
        json.dumps([event.model_dump(mode="json") for event in world.log.events]),
        json.dumps([notice.model_dump(mode="json") for notice in world.notifier.notices]),
        *logs.readouterr(),
    ]
    assert "token=(hidden): 403" in every[0]
    assert "token=(hidden): 403" in every[1]
    for text in every:
        assert SECRET not in text
        assert ROTATED not in text
        assert base64.b64encode(SECRET.encode()).decode().rstrip("=") not in text
