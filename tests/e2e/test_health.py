"""Each of Aviary's processes answers for its health where the image's health check asks."""

import asyncio
import json

import pytest

from aviary.builds.identity import own_build_id
from aviary.local.http1 import fetch
from aviary.local.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
WITHIN_S = 120.0


async def answers(port: int, path: str, expected: dict[str, str]) -> None:
    """Ask until it answers so: on a busy machine a part is a while on its way."""
    said: object = None
    try:
        async with asyncio.timeout(WITHIN_S):
            while said != (200, expected):
                await asyncio.sleep(0.2 if said else 0)
                try:
                    response = await fetch(port, path)
                except (OSError, TimeoutError) as error:
                    said = error
                else:
                    said = (response.status, json.loads(response.body))
    except TimeoutError:
        pytest.fail(f"{path}: at last {said}")


@pytest.mark.parametrize("process", ["worker", "bridge", "webhook"])
async def test_lives_and_can_do_its_work(shop: Stack, process: str) -> None:
    port = getattr(shop.ports, {"webhook": "webhook"}.get(process, f"{process}_metrics"))
    await answers(port, "/healthz", {"status": "ok"})
    await answers(port, "/readyz", {"status": "ready", "build": own_build_id()})
    assert (await fetch(port, "/metrics")).status == 200
