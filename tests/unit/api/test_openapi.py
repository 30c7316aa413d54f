"""What OpenAPI says holds: each path, each answer, each error."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from aviary.api.roles import WORDS
from tests.unit.api.fakes import FakeSource, app_of, bearer, client_of, picking
from tests.unit.api.test_releases import KEY, WHY

SCHEMA: dict[str, Any] = app_of(FakeSource()).openapi()
REGISTRY: Registry[Any] = Registry().with_resource(
    "urn:openapi", Resource.from_contents(SCHEMA, default_specification=DRAFT202012)
)


def check(value: Any, method: str, path: str, status: int, kind: str) -> None:
    """Hold an answer against what is said of it."""
    described = SCHEMA["paths"][path][method]["responses"][str(status)]
    schema = described["content"][kind]["schema"]
    wanted = {"$ref": f"urn:openapi{schema['$ref']}"} if "$ref" in schema else schema
    jsonschema.Draft202012Validator(wanted, registry=REGISTRY).validate(value)


def test_every_path_is_there_with_its_errors_and_who_may() -> None:
    paths = SCHEMA["paths"]
    assert {path for path in paths if path.startswith("/releases")} == {
        "/releases",
        "/releases/{release}",
        "/releases/{release}/summary",
        "/releases/{release}/events",
        *(f"/releases/{{release}}/{word}" for word in WORDS),
    }
    for path in (one for one in paths if one.startswith(("/releases", "/whoami"))):
        for operation in paths[path].values():
            assert operation["security"] == [{"bearer": []}]
            assert {"200", "401", "403", "429", "503"} <= operation["responses"].keys()
    names = [one["operationId"] for path in paths.values() for one in path.values()]
    assert len(names) == len(set(names))
    assert SCHEMA["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/releases", "/releases"),
        ("/releases/{release}", "/releases/shop-1"),
        ("/whoami", "/whoami"),
    ],
)
async def test_what_is_read_is_as_described(path: str, url: str) -> None:
    async with client_of(app_of(FakeSource())) as http:
        good = await http.get(url, headers=bearer("all"))
        check(good.json(), "get", path, 200, "application/json")
        for headers in ({}, bearer("alerts")) if path != "/whoami" else ({},):
            bad = await http.get(url, headers=headers)
            check(bad.json(), "get", path, bad.status_code, "application/problem+json")


@pytest.mark.parametrize("word", WORDS)
async def test_what_a_word_is_answered_is_as_described(word: str) -> None:
    source = FakeSource()
    source.canaries = picking("ledger")
    path = f"/releases/{{release}}/{word}"
    body = WHY | ({"version": "2"} if word == "pick" else {})
    async with client_of(app_of(source)) as http:

        async def told(release: str = "shop-1", who: str = "all", **more: Any) -> int:
            answer = await http.post(
                f"/releases/{release}/{word}",
                headers=bearer(who) | more.get("headers", KEY),
                json=more.get("body", body),
            )
            kind = answer.headers["content-type"].split(";")[0]
            check(answer.json(), "post", path, answer.status_code, kind)
            return answer.status_code

        assert await told() == 200
        assert await told(headers={}) == 400
        assert await told(who="nobody") == 401
        assert await told(who="reader") == 403
        assert await told("shop-2") == 404
        assert await told(body={"reason": "x" * 20_000}) == 413
        assert await told(body={}) == 422
        source.refuses = "not now"
        assert await told(headers={"idempotency-key": "later"}) == 409
        source.refuses, source.kept = "", True
        assert await told(headers={"idempotency-key": "last"}) == 202


async def test_paths_that_are_not_there_are_problems_too() -> None:
    async with client_of(app_of(FakeSource())) as http:
        missing = await http.get("/nothing")
        wrong = await http.delete("/releases/shop-1", headers=bearer("all"))
    assert (missing.status_code, wrong.status_code) == (404, 405)
    for answer in (missing, wrong):
        assert answer.headers["content-type"] == "application/problem+json"
