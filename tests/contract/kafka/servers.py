"""A broker and a Temporal server of a test's own, as fixtures: a conftest names those it wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from tests.contract.kafka.parts import Broker, temporal


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    broker = Broker(tmp_path)
    try:
        await broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with temporal() as env:
        yield env


@pytest.fixture
def client(server: WorkflowEnvironment) -> Client:
    return server.client
