"""One embedded stack for all end-to-end tests of a session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from temporalio.client import Client

from aviary.local import debian, stack
from aviary.local.debian import DebianTools
from aviary.local.stack import Stack

RPS = 150.0


@pytest.fixture(scope="session")
def quick_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's own catalog with shorter bakes."""
    document = yaml.safe_load(Path(stack.__file__).with_name("catalog.yaml").read_text())
    document["strategies"]["brisk"] = {
        "steps": [40],
        "bake": {"min": "3s", "max": "30s"},
        "soak": "1s",
    }
    document["strategies"]["patient"] = {"steps": [50], "bake": {"min": "15s", "max": "45s"}}
    document["strategies"]["half"] = {"steps": [50], "bake": {"min": "10s", "max": "2m"}}
    document["strategies"]["brief"] = {"steps": [50], "bake": {"min": "2s", "max": "6s"}}
    document["strategies"]["budget"] = {
        "ramp": {"budget": 100, "tolerance": 0.1, "interval": "2s", "full_after": "4s"}
    }
    strict = {"interval": "1s", "tolerance": 0.002, "bound_cluster": 1}
    document["services"]["recommendations"] = {"judge": strict}
    document["defaults"]["deploy"]["keep_old"] = "2s"
    path = tmp_path_factory.mktemp("catalog") / "catalog.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tools() -> DebianTools:
    """Prometheus' and Alertmanager's programs."""
    return await debian.install(debian.cache_folder())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shop(
    quick_catalog: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """A running stack; each test asks for versions of its own."""
    folder = tmp_path_factory.mktemp("stack")
    async with Stack(folder, debian.cache_folder(), catalog=quick_catalog, rps=RPS) as running:
        await running.start()
        yield running
        assert running.supervisor.deaths.empty(), "a part of the stack died"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal(shop: Stack) -> Client:
    """A client of the stack's Temporal."""
    return await shop.temporal()
