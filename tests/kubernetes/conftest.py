from __future__ import annotations

import asyncio
import gc
import itertools
import os
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.kubernetes.client import KubernetesClient
from adapters.ports import Deployer
from aviary.local import debian
from aviary.local.kubernetes.cluster import Cluster
from aviary.local.kubernetes.programs import KubernetesError, install
from tests.kubernetes.shop import CLASSES, TIGHT, KubernetesSubject

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One cluster for all tests that do not break it."""
    with asyncio.Runner() as runner:
        try:
            tools = runner.run(install(debian.cache_folder(), print))
            made = Cluster(tools)
            runner.run(made.__aenter__())
        except KubernetesError as error:
            pytest.skip(str(error))
        try:
            runner.run(_prepare(made))
            yield made
        finally:
            runner.run(made.__aexit__())


async def _prepare(cluster: Cluster) -> None:
    client = KubernetesClient(cluster.connection())
    await client.apply(CLASSES, {"metadata": {"name": TIGHT}, "value": 0})
    await client.aclose()


@pytest.fixture
async def namespace(cluster: Cluster) -> str:
    """One that nobody has used yet."""
    name = f"shop-{os.getpid()}-{next(_numbers)}"
    await cluster.make_namespace(name)
    return name


@pytest.fixture
async def subject(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> AsyncIterator[KubernetesSubject]:
    made = KubernetesSubject(cluster, namespace, tmp_path)
    yield made
    await made.clean()
    # A request that is cut off as it connects leaves its socket to the collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def deployer(subject: KubernetesSubject) -> AsyncIterator[Deployer]:
    made = subject.deployer()
    yield made
    await made.aclose()
