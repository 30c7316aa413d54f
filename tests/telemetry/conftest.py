from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.kafka.servers import broker, client, server
from tests.telemetry.otlp import Receiver, receiving

__all__ = ["broker", "client", "server"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as listening:
        yield listening
