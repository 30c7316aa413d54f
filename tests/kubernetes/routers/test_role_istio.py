"""The Role of the page about Istio is enough, with and without subsets, and each verb is needed."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import httpx
import pytest
import yaml
from pydantic import SecretStr

from adapters.kinds import Shared
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.errors import Denied
from adapters.kubernetes.resources import PODS, SERVICES, Json
from adapters.ports import Routing
from adapters.routers.istio.form import VIRTUAL_SERVICES
from adapters.routers.istio.subsets import DESTINATION_RULES
from adapters.routers.kubernetes.names import object_name
from adapters.secrets import Secret
from aviary.kinds import registry
from aviary.local.kubernetes.cluster import Cluster
from aviary.routers import make_router
from schemas.route import Route
from schemas.router_spec import RouterSpec
from tests.contract.routers.names import new_name
from tests.kubernetes.routers.objects import Team
from tests.kubernetes.routers.test_role import ACCOUNTS, BINDINGS, ROLES

_PAGE: Final = Path(__file__).parents[3] / "docs/how-to/istio.md"
NAME: Final = "aviary-istio"
VERSIONS: Final = ("1", "2")


def rules() -> list[Json]:
    """As the page has them."""
    blocks = re.findall(r"```yaml\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    found: list[Json] = next(yaml.safe_load(one)["rules"] for one in blocks if "verbs:" in one)
    return found


@pytest.fixture
def services(team: Team) -> dict[bool, str]:
    """A service with Services for its versions, and one with subsets."""
    made = {False: new_name(), True: new_name()}
    for service in made.values():
        to = {"host": service, "port": {"number": 80}}
        spec: Json = {"hosts": [f"{service}.test"], "http": [{"route": [{"destination": to}]}]}
        team.make(VIRTUAL_SERVICES, service, spec=spec)
    for version in VERSIONS:
        name = object_name(made[False], version)
        team.make_version(made[False], version, (name,), "10.255.0.1", 8080)
    service = made[True]
    ports: Json = {"selector": {"app": service}, "ports": [{"name": "http", "port": 80}]}
    team.make(SERVICES, service, spec=ports)
    subsets = [{"name": object_name(service, one), "labels": {"version": one}} for one in VERSIONS]
    team.make(DESTINATION_RULES, service, spec={"host": service, "subsets": subsets})
    for version in VERSIONS:
        about: Json = {"labels": {"app": service, "version": version}}
        container = {"name": "app", "image": f"shop/app:{version}"}
        name = object_name(service, version)
        team.make(PODS, name, metadata=about, spec={"containers": [container]})
    return made


@pytest.fixture
async def limited(
    cluster: Cluster, team: Team, services: dict[bool, str]
) -> AsyncIterator[list[tuple[Routing, str]]]:
    """The routers of both, as an account that has the Role alone."""
    team.make(ROLES, NAME, rules=rules())
    team.make(ACCOUNTS, NAME)
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": team.namespace}
    ref: Json = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    team.make(BINDINGS, NAME, subjects=[subject], roleRef=ref)
    account = KubernetesConnection(
        server=cluster.server,
        token=Secret(SecretStr(team.token(NAME))),
        ca_file=cluster.authority,
        namespace=team.namespace,
    )
    connections = {"all": cluster.connection(team.namespace), "limited": account}
    found = []
    async with httpx.AsyncClient() as http:
        for subsets, service in services.items():
            said = {"kind": "istio", "subsets": subsets}
            for name in connections:
                spec = RouterSpec.model_validate({**said, "connection": name})
                routing = make_router(spec, registry(), connections, Shared(http=http))
                assert routing.registrar is not None
                if name == "all":
                    await routing.registrar.register(service, VERSIONS[0])
                    await routing.router.aclose()
                else:
                    found.append((routing, service))
        yield found
        for routing, _ in found:
            await routing.router.aclose()


async def _all_of_it(each: Sequence[tuple[Routing, str]]) -> None:
    for routing, service in each:
        generation = (await routing.router.read(service)).generation + 1
        assert await routing.locator.exists(service, VERSIONS[1])
        assert routing.instances is not None
        assert await routing.instances.instances(service)
        weight = generation % 50 + 1
        await routing.router.apply(
            Route.split(service, *VERSIONS, weight, generation=generation, owner="r-1")
        )


async def test_the_role_is_enough_and_each_verb_in_it_is_needed(
    team: Team, limited: list[tuple[Routing, str]]
) -> None:
    async with asyncio.timeout(120):
        await _until(limited, denied=False)
        for number, rule in enumerate(rules()):
            for verb in rule["verbs"]:
                fewer = copy.deepcopy(rules())
                fewer[number]["verbs"].remove(verb)
                fewer[number]["verbs"].append("watch")  # none at all is no rule
                team.patch(ROLES, NAME, {"rules": fewer})
                await _until(limited, denied=True)
        team.patch(ROLES, NAME, {"rules": rules()})
        await _until(limited, denied=False)


async def _until(each: Sequence[tuple[Routing, str]], *, denied: bool) -> None:
    """Until the API server has taken a change of the Role up."""
    while True:
        try:
            await _all_of_it(each)
        except Denied:
            if denied:
                return
        else:
            if not denied:
                return
        await asyncio.sleep(0.02)
