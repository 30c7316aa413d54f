"""The control plane of Envoys against its own protocol, with peers that mean well and others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Retryable
from adapters.routers.envoy.file import RouteFile, refusals_of
from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.names import CLUSTER_TYPE, LISTENER_TYPE, ROUTES_NAME, ROUTES_TYPE
from adapters.routers.envoy.routes import local_domains, virtual_host
from adapters.routers.envoy.xds.messages import UnknownFieldError, encoded, new
from adapters.routers.envoy.xds.server import SERVICE, ControlPlane, _take
from adapters.routers.files import read_document
from schemas.route import Audience, AudienceBy, Match, Mirror, Route

WITHIN_S = 60.0
_PATH = f"/{SERVICE}/DeltaAggregatedResources"


class Peer:
    """One stream of a client."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def say(self, kind: str, *names: str, node: str = "edge-1", **fields: Any) -> None:
        """Send a request; with a node in each, as the first needs it."""
        request = new("envoy.service.discovery.v3.DeltaDiscoveryRequest")
        request.node.id, request.node.cluster = node, fields.pop("cluster", "aviary")
        request.type_url = kind
        request.resource_names_subscribe.extend(names)
        if "error" in fields:
            request.error_detail.message = fields.pop("error")
        request.response_nonce = fields.pop("nonce", "")
        request.initial_resource_versions.update(fields.pop("has", {}))
        await self._call.write(request.SerializeToString())

    async def hear(self) -> Any:
        """The next answer."""
        content = await asyncio.wait_for(self._call.read(), WITHIN_S)
        assert content is not grpc.aio.EOF, await self._call.details()
        answer = new("envoy.service.discovery.v3.DeltaDiscoveryResponse")
        answer.ParseFromString(content)
        return answer

    async def code(self) -> grpc.StatusCode:
        """How the stream ended."""
        found: grpc.StatusCode = await asyncio.wait_for(self._call.code(), WITHIN_S)
        return found


def names(answer: Any) -> Mapping[str, str]:
    return {one.name: one.version for one in answer.resources}


@pytest.fixture
def fleet(tmp_path: Path) -> EnvoyFleet:
    found = EnvoyFleet(tmp_path / "fleet")
    found.bootstrap(9901, 10000)
    for version in ("1", "2"):
        found.put_pool(Pool(service="cart", version=version, endpoints=(("127.0.0.1", 1),)))
    return found


@pytest.fixture
def routes(fleet: EnvoyFleet) -> RouteFile:
    found = RouteFile(fleet.directory, local_domains, 1.0)
    found.register(Route.split("cart", "1"))
    return found


@asynccontextmanager
async def talking(port: int) -> AsyncIterator[Peer]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.stream_stream(_PATH)()
        try:
            yield Peer(call)
        finally:
            call.cancel()


async def until(is_so: Any) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not is_so():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_what_is_there_is_sent_and_then_only_what_changes(
    fleet: EnvoyFleet, routes: RouteFile
) -> None:
    async with ControlPlane(fleet.directory).serving("127.0.0.1:0") as port, talking(port) as peer:
        await peer.say(CLUSTER_TYPE)
        clusters = names(await peer.hear())
        assert {"cart@1", "cart@2", "cart@2/cart@1"} <= clusters.keys()
        await peer.say(LISTENER_TYPE)
        assert names(await peer.hear()).keys() == {"aviary"}
        await peer.say(ROUTES_TYPE, ROUTES_NAME)
        before = names(await peer.hear())
        routes.write(Route.split("cart", "1", "2", 50, generation=1))
        answer = await peer.hear()
        assert answer.type_url == ROUTES_TYPE
        assert names(answer)[ROUTES_NAME] != before[ROUTES_NAME]
        fleet.put_pool(Pool(service="cart", version="3", endpoints=()))
        answer = await peer.hear()
        assert answer.type_url == CLUSTER_TYPE
        assert names(answer).keys() & clusters.keys() == set(), "those it has are not sent again"
        fleet.drop_pool("cart", "3")
        assert {"cart@3", "cart@3/apart"} <= set((await peer.hear()).removed_resources)


async def test_one_that_comes_back_is_sent_what_it_missed_alone(
    fleet: EnvoyFleet, routes: RouteFile
) -> None:
    plane = ControlPlane(fleet.directory)
    async with plane.serving("127.0.0.1:0") as port:
        async with talking(port) as peer:
            await peer.say(CLUSTER_TYPE)
            has = dict(names(await peer.hear()))
        async with talking(port) as peer:
            await peer.say(CLUSTER_TYPE, has={**has, "cart@0": "old"})
            answer = await peer.hear()
            assert (dict(names(answer)), list(answer.removed_resources)) == ({}, ["cart@0"])
            await peer.say(ROUTES_TYPE, "nothing of the kind")
            assert list((await peer.hear()).removed_resources) == ["nothing of the kind"]


async def test_a_refusal_is_told_in_the_words_of_the_envoy_and_bounded(
    fleet: EnvoyFleet, routes: RouteFile
) -> None:
    async with ControlPlane(fleet.directory).serving("127.0.0.1:0") as port, talking(port) as peer:
        await peer.say(ROUTES_TYPE, ROUTES_NAME)
        answer = await peer.hear()
        hostile = "weights\x1b[31m must be\n" + "x" * 5_000
        await peer.say(ROUTES_TYPE, nonce=answer.nonce, error=hostile)
        config = read_document(fleet.routes_path)["resources"][0]
        await until(lambda: refusals_of(fleet.directory, config))
        said = refusals_of(fleet.directory, config)
        assert said.startswith("edge-1: RouteConfiguration: weights")
        assert len(said) < 1_200
        assert "\x1b" not in said
        assert "\n" not in said
        routes.write(Route.split("cart", "1", "2", 50, generation=1))
        answer = await peer.hear()
        await peer.say(ROUTES_TYPE, nonce=answer.nonce)
        config = read_document(fleet.routes_path)["resources"][0]
        assert refusals_of(fleet.directory, config) == "", "of the new file"


async def test_what_was_refused_is_sent_again_once_the_file_is_written_again(
    fleet: EnvoyFleet, routes: RouteFile
) -> None:
    """That is how a writer finds out whether its file is refused."""
    async with ControlPlane(fleet.directory).serving("127.0.0.1:0") as port, talking(port) as peer:
        await peer.say(ROUTES_TYPE, ROUTES_NAME)
        first = await peer.hear()
        await peer.say(ROUTES_TYPE, nonce=first.nonce, error="no")
        await peer.say(CLUSTER_TYPE)
        await peer.hear()
        routes.again(Route.split("cart", "1"))
        assert names(await peer.hear()) == names(first)


@pytest.mark.parametrize(
    "fields",
    [{"node": ""}, {"node": "x" * 201}, {"node": "a\x1b[31m"}, {"cluster": "theirs"}],
)
async def test_a_node_that_is_none_of_its_own_is_refused(
    fleet: EnvoyFleet, fields: dict[str, str]
) -> None:
    plane = ControlPlane(fleet.directory)
    async with plane.serving("127.0.0.1:0") as port, talking(port) as peer:
        await peer.say(CLUSTER_TYPE, **fields)
        assert await peer.code() is grpc.StatusCode.PERMISSION_DENIED
    assert not plane.nodes.known


async def test_what_is_too_much_or_no_request_ends_the_stream_and_nothing_else(
    fleet: EnvoyFleet,
) -> None:
    async with ControlPlane(fleet.directory).serving("127.0.0.1:0") as port:
        async with talking(port) as peer:
            await peer._call.write(b"\xff\xff\xff no message")
            assert await peer.code() is grpc.StatusCode.INVALID_ARGUMENT
        async with talking(port) as peer:
            await peer._call.write(b"x" * 2_000_000)
            assert await peer.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with talking(port) as peer:
            await peer.say(ROUTES_TYPE, *(f"n{number}" for number in range(10_001)))
            assert await peer.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with talking(port) as peer:
            await peer.say(ROUTES_TYPE, "n" * 1_001)
            assert await peer.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with talking(port) as peer:
            await peer.say("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret")
            await peer.say(LISTENER_TYPE)
            assert names(await peer.hear()).keys() == {"aviary"}


async def test_requests_that_wait_are_let_go_when_their_stream_has_ended() -> None:
    async def flood() -> AsyncIterator[bytes]:
        while True:
            yield b"x"

    waiting: asyncio.Queue[Any] = asyncio.Queue(4)
    taking = asyncio.create_task(_take(flood(), waiting))
    await until(waiting.full)
    taking.cancel()
    await until(taking.done)


@pytest.mark.parametrize(
    ("content", "said"),
    [('{"resources": [{"name": "aviary"}]}', "@type"), ("[" * 100_000, "expected JSON")],
)
async def test_a_file_that_is_none_of_aviarys_leaves_what_was_served(
    fleet: EnvoyFleet, routes: RouteFile, content: str, said: str
) -> None:
    plane = ControlPlane(fleet.directory)
    async with plane.serving("127.0.0.1:0") as port, talking(port) as peer:
        await peer.say(ROUTES_TYPE, ROUTES_NAME)
        before = names(await peer.hear())
        own = fleet.routes_path.read_text()
        fleet.routes_path.write_text(content)
        await until(lambda: said in plane.trouble)
        await peer.say(ROUTES_TYPE, ROUTES_NAME)
        assert names(await peer.hear()) == before
        fleet.routes_path.write_text(own)
        await until(lambda: not plane.trouble)


async def test_a_fault_of_a_look_is_told_and_it_looks_on(
    fleet: EnvoyFleet, routes: RouteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = ControlPlane(fleet.directory)

    def fault() -> None:
        raise KeyError("nobody thought of that")

    async with plane.serving("127.0.0.1:0") as port, talking(port) as peer:
        await peer.say(ROUTES_TYPE, ROUTES_NAME)
        before = names(await peer.hear())
        with monkeypatch.context() as patch:
            patch.setattr(plane._source, "fresh", fault)
            await until(lambda: "nobody thought of that" in plane.trouble)
        routes.write(Route.split("cart", "1", "2", 50, generation=1))
        assert names(await peer.hear()) != before


async def test_it_does_not_begin_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match=r"cds\.yaml"):
        async with ControlPlane(tmp_path).serving("127.0.0.1:0"):
            pass


_audiences = st.lists(
    st.just(Match(by=AudienceBy.NETWORK, value="2001:db8::/32", negated=True))
    | st.builds(
        Match,
        by=st.just(AudienceBy.QUERY) | st.just(AudienceBy.HEADER) | st.just(AudienceBy.COOKIE),
        name=st.just("x-beta"),
        value=st.just("yes"),
    ),
    min_size=1,
    max_size=3,
    unique=True,
)


@given(matches=_audiences, share=st.integers(1, 100), weight=st.integers(0, 10_000))
def test_any_route_can_be_sent(matches: list[Match], share: int, weight: int) -> None:
    audience = Audience(any_of=tuple(matches))
    route = Route.split("cart", "1", "2", weight / 100, generation=1, audience=audience)
    mirrored = route.model_copy(update={"mirror": Mirror(version="2", share=share)})
    host = virtual_host(mirrored, local_domains)
    document = {"@type": ROUTES_TYPE, "name": ROUTES_NAME, "virtual_hosts": [host]}
    assert encoded(document)[1]


def test_a_listener_with_countries_can_be_sent(tmp_path: Path) -> None:
    fleet = EnvoyFleet(tmp_path / "fleet")
    fleet.bootstrap(1, 2, countries=Path("/srv/countries.mmdb"), country_header="X-Country")
    (listener,) = read_document(fleet.listeners_path)["resources"]
    assert b"x-country" in encoded(listener)[1]


@pytest.mark.parametrize(
    ("file", "header", "expected"),
    [
        ("countries.csv", "x-country", r"countries: expected a database \.mmdb, got .*csv"),
        ("a.mmdb", "x country", r"country_header: expected the name of a header, got 'x country'"),
        ("a.mmdb", "", "country_header: expected"),
        ("a.mmdb", "x\r\ny", "country_header: expected"),
    ],
)
def test_countries_are_refused_before_anything_is_written(
    tmp_path: Path, file: str, header: str, expected: str
) -> None:
    fleet = EnvoyFleet(tmp_path / "fleet")
    with pytest.raises(ValueError, match=expected):
        fleet.bootstrap(1, 2, countries=Path(file), country_header=header)
    assert not fleet.directory.exists()


def test_any_pool_can_be_sent(fleet: EnvoyFleet) -> None:
    fleet.put_pool(
        Pool(service="cart", version="3", endpoints=(("host", 1),), health_path="/healthz")
    )
    for resource in read_document(fleet.directory / "cds.yaml")["resources"]:
        assert encoded(resource)[1]


@given(key=st.text(max_size=20), value=st.recursive(st.none() | st.text(), st.lists, max_leaves=4))
def test_what_is_not_listed_is_refused_by_name(key: str, value: object) -> None:
    document = {"@type": ROUTES_TYPE, "name": "aviary", f"{key}?": value}
    with pytest.raises(UnknownFieldError, match="RouteConfiguration"):
        encoded(document)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"@type": 7},
        {"@type": "type.googleapis.com/envoy.Nothing"},
        {"@type": CLUSTER_TYPE, "lb_policy": "FASTEST"},
        {"@type": CLUSTER_TYPE, "connect_timeout": "soon"},
        {"@type": CLUSTER_TYPE, "name": 7},
        {"@type": CLUSTER_TYPE, "load_assignment": [1]},
    ],
)
def test_a_value_that_is_none_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(UnknownFieldError):
        encoded(document)
