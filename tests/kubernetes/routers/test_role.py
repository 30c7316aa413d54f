"""The Role of the how-to is enough for the router, and each verb in it is needed."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.errors import Denied
from adapters.kubernetes.resources import Json, Resource
from adapters.routers.kubernetes.router import ObjectRouter
from adapters.secrets import Secret
from aviary.local.kubernetes.cluster import Cluster
from tests.contract.routers.routes import NEW, OLD, on_stable, shifted
from tests.kubernetes.routers.traefik import GatewaySubject

_PAGE = Path(__file__).parents[3] / "docs/how-to/gateway-api.md"
_RBAC = "rbac.authorization.k8s.io/v1"
ROLES = Resource(_RBAC, "Role", "roles")
BINDINGS = Resource(_RBAC, "RoleBinding", "rolebindings")
ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
NAME = "aviary-routes"


def role() -> Json:
    """As the page has it."""
    blocks = re.findall(r"```yaml\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    found: Json = next(yaml.safe_load(one) for one in blocks if "\nkind: Role\n" in one)
    return found


@pytest.fixture
async def limited(cluster: Cluster, gateway: GatewaySubject) -> AsyncIterator[ObjectRouter]:
    """The router as an account that has the Role alone."""
    team = gateway.team
    team.make(ROLES, NAME, rules=role()["rules"])
    team.make(ACCOUNTS, NAME)
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": team.namespace}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    team.make(BINDINGS, NAME, subjects=[subject], roleRef=ref)
    said = team.token(NAME)
    connection = KubernetesConnection(
        server=cluster.server,
        token=Secret(SecretStr(said)),
        ca_file=cluster.authority,
        namespace=team.namespace,
    )
    router = gateway.another(gateway.form, connection)
    yield router
    await router.aclose()


async def _all_of_it(router: ObjectRouter, gateway: GatewaySubject, service: str) -> None:
    generation = (await router.read(service)).generation + 1
    assert await router.exists(service, NEW)
    assert await router.instances(service)
    await router.apply(shifted(gateway, service, generation % 50, generation))


async def test_the_role_is_enough_and_each_verb_in_it_is_needed(
    gateway: GatewaySubject, limited: ObjectRouter
) -> None:
    service = await on_stable(gateway, OLD, NEW)
    async with asyncio.timeout(60):
        await _until(limited, gateway, service, denied=False)
        rules = role()["rules"]
        for number, rule in enumerate(rules):
            for verb in rule["verbs"]:
                fewer = copy.deepcopy(rules)
                fewer[number]["verbs"].remove(verb)
                fewer[number]["verbs"].append("watch")  # none at all is no rule
                gateway.team.patch(ROLES, NAME, {"rules": fewer})
                await _until(limited, gateway, service, denied=True)
        gateway.team.patch(ROLES, NAME, {"rules": rules})
        await _until(limited, gateway, service, denied=False)


async def _until(
    router: ObjectRouter, gateway: GatewaySubject, service: str, *, denied: bool
) -> None:
    """Until the API server has taken a change of the Role up."""
    while True:
        try:
            await _all_of_it(router, gateway, service)
        except Denied:
            if denied:
                return
        else:
            if not denied:
                return
        await asyncio.sleep(0.02)
