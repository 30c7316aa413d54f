"""The shop's services: who answered, who is to blame, and what a fault does."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import yaml

from aviary.local import shop
from aviary.local.http1 import Client, Request, Response, fetch, serve
from aviary.local.shop import DEPENDENCIES, Fault, Shop
from schemas.catalog_file import load_catalog

_CATALOG = Path(shop.__file__).with_name("catalog.yaml")


class Mesh:
    """All services behind one port that routes by host, as the real router does."""

    def __init__(self, port: int, services: dict[str, Shop]) -> None:
        self.port = port
        self.services = services
        self.seen: list[Request] = []

    async def ask(self, service: str, **headers: str) -> Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await fetch(self.port, "/", headers={**names, "host": service})


@asynccontextmanager
async def _mesh() -> AsyncIterator[Mesh]:
    meshes: list[Mesh] = []

    async def route(request: Request) -> Response:
        meshes[0].seen.append(request)
        return await meshes[0].services[request.headers["host"]].handle(request)

    async with AsyncExitStack() as stack:
        server = await serve(route, "127.0.0.1", 0)
        stack.push_async_callback(_close, server)
        port = server.sockets[0].getsockname()[1]
        client = Client("127.0.0.1", port)
        stack.callback(client.close)
        services = {
            name: Shop(name, "1.0.0", client, dice=random.Random(7)) for name in DEPENDENCIES
        }
        meshes.append(Mesh(port, services))
        yield meshes[0]


async def _close(server: asyncio.Server) -> None:
    server.close()


def test_the_catalog_has_the_shops_own_graph() -> None:
    catalog = load_catalog(_CATALOG)
    assert {name: set(spec.depends_on) for name, spec in catalog.services.items()} == {
        name: set(calls) for name, calls in DEPENDENCIES.items()
    }


def test_the_catalog_needs_only_a_router_to_be_filled_in() -> None:
    router = yaml.safe_load(_CATALOG.read_text())["defaults"]["router"]
    assert router["kind"] == "envoy"


async def test_a_request_passes_through_the_whole_shop_and_says_who_took_part() -> None:
    async with _mesh() as mesh:
        response = await mesh.ask("storefront")
    assert response.status == 200
    assert response.headers["x-served-by"] == "storefront/1.0.0"
    took_part = {part.partition("/")[0] for part in response.headers["x-calls"].split()}
    assert took_part == set(DEPENDENCIES) - {"storefront"}
    assert json.loads(response.body)["parts"]["checkout"]["parts"]["cart"]["version"] == "1.0.0"


async def test_who_asks_is_passed_on_and_other_headers_are_not() -> None:
    passed_on = {"x_user_id": "u1", "x_canary": "always", "traceparent": "00-1", "cookie": "c=1"}
    async with _mesh() as mesh:
        await mesh.ask("payments", **passed_on, authorization="secret")
        below = next(r for r in mesh.seen if r.headers["host"] == "ledger")
    expected = {name.replace("_", "-"): value for name, value in passed_on.items()}
    assert {name: below.headers.get(name) for name in expected} == expected
    assert "authorization" not in below.headers


async def test_a_failing_dependency_is_marked_and_its_caller_still_answers_200() -> None:
    async with _mesh() as mesh:
        mesh.services["ledger"].fault = Fault(error_rate=1)
        response = await mesh.ask("checkout")
        direct = await mesh.ask("ledger")
    parts = json.loads(response.body)["parts"]
    assert response.status == 200
    assert parts["payments"]["parts"]["ledger"] == {"service": "ledger", "missing": "status 500"}
    assert "ledger/1.0.0=500@" in response.headers["x-calls"]
    assert direct.status == 500


async def test_a_fault_is_switched_while_the_service_runs_and_fields_left_out_stay() -> None:
    service = Shop("ledger", "1.0.0", None, dice=random.Random(7))
    await service.handle(_post({"latency_ms": 1}))
    answer = await service.handle(_post({"error_rate": 0.5}))
    assert json.loads(answer.body)["fault"] == {
        "error_rate": 0.5,
        "latency_ms": 1,
        "crash": False,
    }
    answers = [await service.handle(_get()) for _ in range(200)]
    assert 60 < sum(a.status == 500 for a in answers) < 140


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"error_rate": 1.5}, "error_rate: 1.5: expected a number from 0 to 1"),
        ({"error_rate": float("nan")}, "error_rate: nan"),
        ({"latency_ms": -1}, "latency_ms: -1: expected a number from 0 to 60000"),
        ({"crash": "yes"}, "crash: 'yes': expected true or false"),
        ({"errors": 1}, "errors: unknown; expected error_rate, latency_ms or crash"),
        ([1], "expected a JSON object"),
    ],
)
async def test_a_wrong_fault_is_refused_by_name(document: object, said: str) -> None:
    service = Shop("ledger", "1.0.0", None, dice=random.Random(7))
    answer = await service.handle(_post(document))
    assert answer.status == 400
    assert said in json.loads(answer.body)["error"]
    assert service.fault == Fault()


async def test_a_client_replaces_a_connection_that_was_closed_while_idle() -> None:
    async def answer(request: Request) -> Response:
        return Response(200, request.path.encode())

    first = await serve(answer, "127.0.0.1", 0)
    port = first.sockets[0].getsockname()[1]
    client = Client("127.0.0.1", port)
    assert (await client.request("GET", "/a")).body == b"/a"
    _drop_connections(first)
    second = await serve(answer, "127.0.0.1", port)
    assert (await client.request("GET", "/b")).body == b"/b"
    client.close()
    second.close()


def _drop_connections(server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


def _post(document: object) -> Request:
    return Request("POST", "/fault", {}, json.dumps(document).encode())


def _get() -> Request:
    return Request("GET", "/", {}, b"")
