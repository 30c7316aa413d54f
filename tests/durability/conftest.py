from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.durability.apache import Cluster


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three brokers and a controller, for all tests: each leaves them running."""
    cluster = Cluster(tmp_path_factory.mktemp("three"), 3)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill_all()
