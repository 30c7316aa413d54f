"""Each of Aviary's processes answers for its health where the image's health check asks."""

import json

import pytest

from aviary.local.http1 import fetch
from aviary.local.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("process", ["worker", "bridge", "webhook"])
async def test_lives_and_can_do_its_work(shop: Stack, process: str) -> None:
    port = getattr(shop.ports, {"webhook": "webhook"}.get(process, f"{process}_metrics"))
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        response = await fetch(port, path)
        assert (response.status, json.loads(response.body)) == (200, {"status": status})
    assert (await fetch(port, "/metrics")).status == 200
