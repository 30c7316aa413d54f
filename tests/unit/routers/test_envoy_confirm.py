"""Asking Envoys until each serves the route, with time and Envoys under the test's control."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.errors import Retryable, StaleGeneration, Terminal
from adapters.routers.envoy.file import RouteFile
from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.router import EnvoyRouter, Pace
from adapters.routers.envoy.routes import local_domains
from adapters.routers.files import read_document
from schemas.route import Route

PACE = Pace(confirm_within=1.0, poll_every=0.01, doubt=0.1)


class FakeEnvoy:
    """Answers the admin port; takes up the file when it has been asked `after` times."""

    def __init__(self, directory: Path, after: int = 0) -> None:
        self._routes = directory / "rds.yaml"
        self.after = after
        self.asked = 0
        self.rejects: Callable[[dict[str, Any]], bool] = lambda _: False
        self.rejections = 0
        self.served: dict[str, Any] | None = None
        self.seen = ""
        self.knows_clusters = True
        self.broken: httpx.Response | Exception | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if isinstance(self.broken, Exception):
            raise self.broken
        if self.broken is not None:
            return self.broken
        if request.url.path == "/stats":
            name = "http.aviary.rds.aviary.update_rejected"
            stats = [{"name": name, "value": self._take_up().rejections}]
            return httpx.Response(200, json={"stats": stats})
        if request.url.params["resource"] == "dynamic_active_clusters":
            return httpx.Response(200, json={"configs": self._clusters(request)})
        served = self._take_up().served
        if served is None:
            return httpx.Response(200, json={})
        entry = {"version_info": served["version_info"], "route_config": served["resources"][0]}
        return httpx.Response(200, json={"configs": [entry]})

    def mark(self) -> str:
        """What tells one file from the next, as a watch does."""
        found = self._routes.stat()
        return f"{found.st_ino} {found.st_mtime_ns}"

    def _take_up(self) -> FakeEnvoy:
        mark = self.mark()
        if self.asked >= self.after and mark != self.seen:
            self.seen, document = mark, read_document(self._routes)
            if self.rejects(document):
                self.rejections += 1
            else:
                self.served = document
        return self

    def _clusters(self, request: httpx.Request) -> list[dict[str, Any]]:
        pattern = re.compile(request.url.params["name_regex"])
        assert len(pattern.pattern) < 90, "Envoy refuses longer ones"
        names = ("cart@1", "cart@1/apart", "cart@2/cart@1", "cart@2/apart", "other@1")
        return [
            {"cluster": {"name": name}}
            for name in names
            if self.knows_clusters and pattern.fullmatch(name)
        ]


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Scene:
    """Two Envoys, one service, and the router before them."""

    def __init__(self, directory: Path) -> None:
        fleet = EnvoyFleet(directory)
        fleet.bootstrap(9901, 10000)
        endpoints = (("127.0.0.1", 1),)
        for service in ("cart", "other"):
            for version in ("1", "2"):
                fleet.put_pool(Pool(service=service, version=version, endpoints=endpoints))
        self.file = RouteFile(directory, local_domains, lock_within=1)
        for service in ("cart", "other"):
            self.file.register(Route.split(service=service, stable="1"))
        self.envoys = {"one": FakeEnvoy(directory), "two": FakeEnvoy(directory)}
        self.clock = Clock()
        transport = httpx.MockTransport(lambda r: self.envoys[r.url.host].answer(r))
        self.router = EnvoyRouter(
            directory,
            [f"http://{name}" for name in self.envoys],
            client=httpx.AsyncClient(transport=transport),
            pace=PACE,
            clock=self.clock,
            sleep=self.clock.sleep,
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def canary(weight: float, generation: int, service: str = "cart") -> Route:
    return Route.split(
        service=service, stable="1", canary="2", weight=weight, generation=generation
    )


def back(generation: int) -> Route:
    return Route.split(service="cart", stable="1", generation=generation)


async def test_it_waits_for_the_last_envoy(scene: Scene) -> None:
    scene.envoys["two"].after = 10

    confirmation = await scene.router.apply(back(1))

    assert confirmation.route == back(1)
    assert scene.envoys["two"].asked >= 10
    assert scene.clock.now > 0


async def test_an_envoy_that_never_follows_is_named_at_the_deadline(scene: Scene) -> None:
    scene.envoys["two"].after = 10**9

    with pytest.raises(Retryable, match=r"not confirmed within 1.0 s: http://two serves another"):
        await scene.router.apply(back(1))

    assert PACE.confirm_within <= scene.clock.now < 2 * PACE.confirm_within
    assert scene.file.read("cart") == back(1)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (httpx.Response(503, text="busy s3cret"), "answered 503"),
        (httpx.Response(200, text="<html>s3cret"), "answered no JSON"),
        (httpx.Response(200, json=["s3cret"]), "answered no JSON object"),
        (httpx.ConnectError("s3cret"), "ConnectError"),
        (httpx.ReadTimeout("s3cret"), "ReadTimeout"),
    ],
)
async def test_no_sound_answer_is_retryable_and_quotes_nothing(
    scene: Scene, broken: httpx.Response | Exception, said: str
) -> None:
    scene.envoys["one"].broken = broken
    for call in (scene.router.apply(back(1)), scene.router.requests("cart")):
        with pytest.raises(Retryable, match=f"Envoy at http://one: .*{said}") as caught:
            await call
        assert "s3cret" not in str(caught.value)


async def test_a_rollback_is_written_though_no_envoy_answers(scene: Scene) -> None:
    await scene.router.apply(canary(50, 1))
    for envoy in scene.envoys.values():
        envoy.broken = httpx.ConnectError("down")

    with pytest.raises(Retryable, match="was written but not confirmed"):
        await scene.router.apply(back(2))

    assert scene.file.read("cart") == back(2)


async def test_no_weight_is_written_for_a_pool_that_an_envoy_does_not_know(scene: Scene) -> None:
    scene.envoys["two"].knows_clusters = False

    with pytest.raises(Retryable, match=r"does not know its clusters yet: .*cart@2/cart@1"):
        await scene.router.apply(canary(5, 1))
    assert scene.file.read("cart").generation == 0

    await scene.router.apply(back(1))


async def test_a_route_that_is_overtaken_while_it_waits_says_so(scene: Scene) -> None:
    scene.envoys["one"].after = 5
    newer = back(2)
    original = scene.clock.sleep

    async def somebody_else_writes(seconds: float) -> None:
        scene.file.write(newer)
        await original(seconds)

    scene.router._sleep = somebody_else_writes
    with pytest.raises(StaleGeneration, match="generation 1 was overtaken by 2"):
        await scene.router.apply(canary(50, 1))
    assert scene.file.read("cart") == newer
    assert scene.clock.now < PACE.doubt


async def test_an_envoy_that_missed_the_file_is_woken(scene: Scene) -> None:
    envoy = scene.envoys["one"]
    await scene.router.apply(canary(5, 1))
    write = scene.file.write

    def missed(route: Route, over: Route | None = None) -> Any:
        before = write(route, over)
        envoy.seen = envoy.mark()
        return before

    scene.router._file.write = missed  # type: ignore[method-assign]
    assert (await scene.router.apply(back(2))).route == back(2)
    assert scene.clock.now >= PACE.doubt


async def test_one_envoy_that_rejects_is_enough_to_take_a_route_back(scene: Scene) -> None:
    await scene.router.apply(canary(5, 1))
    scene.envoys["two"].rejects = lambda document: '"generation": "2"' in json.dumps(document)

    with pytest.raises(Terminal, match="http://two rejected the file with generation 2"):
        await scene.router.apply(canary(50, 2))

    assert scene.file.read("cart") == canary(5, 1)
    scene.envoys["two"].rejects = lambda _: False
    await scene.router.apply(canary(50, 2))


async def test_of_two_changes_in_a_rejected_file_only_the_bad_one_goes(scene: Scene) -> None:
    await scene.router.apply(canary(5, 1))
    for envoy in scene.envoys.values():
        envoy.rejects = lambda document: '"generation": "666"' in json.dumps(document)
    # A writer died after it had written this.
    scene.file.write(canary(5, 666, service="other"))

    assert (await scene.router.apply(canary(50, 2))).route == canary(50, 2)

    assert scene.file.read("other") == Route.split(service="other", stable="1")


async def test_an_envoy_that_serves_nothing_yet_gets_back_what_was_there(scene: Scene) -> None:
    for envoy in scene.envoys.values():
        envoy.rejects = lambda document: '"generation": "1"' in json.dumps(document)
        envoy.seen = envoy.mark()

    with pytest.raises(Terminal):
        await scene.router.apply(canary(50, 1))

    assert scene.file.read("cart") == Route.split(service="cart", stable="1")
    assert scene.file.read("other") == Route.split(service="other", stable="1")
