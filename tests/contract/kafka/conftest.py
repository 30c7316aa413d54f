from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import Client

from aviary.settings import Settings
from tests.contract.kafka.parts import Broker, make_settings
from tests.contract.kafka.servers import broker, client, server

__all__ = ["broker", "client", "server"]


@pytest.fixture
def settings(tmp_path: Path, broker: Broker, client: Client) -> Settings:
    return make_settings(tmp_path, broker, client.service_client.config.target_host)
