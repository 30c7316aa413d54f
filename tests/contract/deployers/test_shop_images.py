"""The images of the demo's shop, as `make demo DEMO=docker` builds them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aviary.local import images
from aviary.local.docker import DockerHost
from aviary.local.shop import Fault
from schemas.deployment import Endpoint
from tests.contract.deployers.docker_host import DockerSubject, answer
from tests.contract.deployers.subjects import order

_BAD = "9.9.9"


@pytest.fixture
async def shop(docker_host: DockerHost) -> AsyncIterator[DockerHost]:
    await images.import_base(docker_host)
    await images.build(docker_host, _BAD, {"payments": Fault(error_rate=1.0)})
    yield docker_host
    await docker_host.docker("rmi", "--force", images.image_of(_BAD), images.BASE)


async def test_a_version_is_an_image_for_all_services_with_what_is_wrong_in_it(
    shop: DockerHost, docker_deployer_subject: DockerSubject
) -> None:
    endpoints: dict[str, Endpoint] = {}
    for service in ("payments", "ledger"):
        recipe = {
            "image": images.image_of("{version}"),
            "pull": "never",
            "port": images.PORT,
            "reach": "address",
            "probe": {"path": "/healthz"},
            "command": ["--service", service],
            "stop_grace": "5s",
        }
        wanted = order(service, _BAD, 1, 1, recipe=recipe)
        state = await docker_deployer_subject.deployer().put_up(wanted, lambda _: None)
        (endpoints[service],) = state.endpoints
    assert '"error": "fault"' in await answer(endpoints["payments"])
    assert await answer(endpoints["ledger"]) == f'{{"service": "ledger", "version": "{_BAD}"}}'
    user = await shop.docker("inspect", "-f", "{{.Config.User}}", images.image_of(_BAD))
    assert user == "10001:10001"
