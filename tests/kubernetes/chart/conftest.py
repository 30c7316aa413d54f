from __future__ import annotations

import asyncio

import pytest

from aviary.local import debian
from aviary.local.kubernetes.clients import ClientTools, install_clients
from aviary.local.kubernetes.programs import KubernetesError


@pytest.fixture(scope="session")
def clients() -> ClientTools:
    """Helm and kubectl."""
    try:
        return asyncio.run(install_clients(debian.cache_folder(), print))
    except KubernetesError as error:
        pytest.skip(str(error))
