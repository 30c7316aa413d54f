from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from tests.contract.kafka.parts import Broker, temporal
from tests.telemetry.otlp import Receiver, receiving


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


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as listening:
        yield listening
