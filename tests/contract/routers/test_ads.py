"""A real Envoy without a shared disk: its control plane refuses, dies, comes back, and knows it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import trustme

from adapters.errors import Terminal
from adapters.routers.envoy.fleet import EnvoyFleet
from adapters.routers.envoy.router import EnvoyRouter, Pace
from adapters.routers.envoy.xds.nodes import file_of
from adapters.routers.files import read_document
from adapters.tls import TlsFiles
from schemas.route import Route
from tests.contract.routers.live import LiveEnvoy, free_port
from tests.contract.routers.live_ads import AdsEnvoy, LiveControlPlane
from tests.contract.routers.served import WAITS_S, running
from tests.contract.routers.subjects import EnvoySubject
from tests.contract.routers.wire import Caller, Instances

PATIENT = Pace(confirm_within=30.0, answer_within=5.0)
USERS = [str(number) for number in range(20)]


@pytest.fixture
def ads(request: pytest.FixtureRequest) -> EnvoySubject:
    found: EnvoySubject = request.getfixturevalue("envoy-ads_subject")
    return found


def patient(live: LiveEnvoy, client: httpx.AsyncClient) -> EnvoyRouter:
    return EnvoyRouter(live.fleet.directory, [live.admin_url], client=client, pace=PATIENT)


async def test_what_envoy_refuses_is_taken_back_and_told_in_its_own_words(
    ads: EnvoySubject, client: httpx.AsyncClient
) -> None:
    service = ads.put_up("1", "2")
    good = patient(ads.envoy, client)
    await good.apply(await good.register(service, "1"))

    other = ads.put_up("1", "2")
    await good.apply(await good.register(other, "1"))

    def taken(_: str) -> list[str]:
        return [other]

    directory, admins = ads.envoy.fleet.directory, [ads.envoy.admin_url]
    bad = EnvoyRouter(directory, admins, client=client, pace=PATIENT, domains=taken)
    with pytest.raises(Terminal, match=r"taken back \(edge-1: RouteConfiguration: .*unique.*"):
        await bad.apply(Route.split(service, "1", "2", 50, generation=1))
    assert await good.read(service) == Route.split(service, "1")
    await good.apply(Route.split(service, "1", "2", 100, generation=2))
    assert set((await ads.call(service, USERS)).values()) == {"2"}


async def test_without_its_control_plane_it_keeps_what_it_has_and_follows_once_it_is_back(
    ads: EnvoySubject, control_plane: LiveControlPlane, client: httpx.AsyncClient
) -> None:
    service = ads.put_up("1", "2")
    router = patient(ads.envoy, client)
    await router.register(service, "1")
    await router.apply(Route.split(service, "1", "2", 100, generation=1))
    control_plane.stop()
    assert set((await ads.call(service, USERS)).values()) == {"2"}
    back = asyncio.create_task(router.apply(Route.split(service, "1", generation=2)))
    await asyncio.to_thread(control_plane.start)
    await back
    assert set((await ads.call(service, USERS)).values()) == {"1"}


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, TlsFiles]:
    """Of the control plane, of an Envoy, and of one whom another authority vouches for."""
    ours, theirs = trustme.CA(), trustme.CA()
    found = {}
    for name, authority, host in (
        ("control", ours, "control.example"),
        ("edge", ours, "edge.example"),
        ("stranger", theirs, "edge.example"),
    ):
        issued = authority.issue_cert(host)
        pem, key, ca = (tmp_path / f"{name}.{kind}" for kind in ("pem", "key", "ca"))
        pem.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        ca.write_bytes(ours.cert_pem.bytes())
        found[name] = TlsFiles(ca=ca, cert=pem, key=key)
    return found


@pytest.fixture
def secured(tmp_path: Path, certificates: dict[str, TlsFiles]) -> Iterator[LiveControlPlane]:
    """A control plane that lets in whom its authority vouches for."""
    directory = tmp_path / "fleet" / "fleet"
    EnvoyFleet(directory).bootstrap(free_port(), free_port())
    own = certificates["control"]
    words = ["--cert", str(own.cert), "--key", str(own.key), "--ca", str(own.ca)]
    with running(LiveControlPlane(directory, words)) as live:
        yield live


async def test_both_sides_show_certificates_and_an_envoy_may_start_before_its_control_plane(
    secured: LiveControlPlane,
    binary: Path,
    instances: Instances,
    certificates: dict[str, TlsFiles],
    client: httpx.AsyncClient,
) -> None:
    port = free_port()
    EnvoyFleet(secured.directory).bootstrap(free_port(), port)
    secured.stop()
    envoys = {
        name: AdsEnvoy(
            binary, secured.directory, instances, secured.port, node=name, tls=certificates[name]
        )
        for name in ("edge", "stranger")
    }
    for live in envoys.values():
        live._ready = ("/server_info", "PRE_INITIALIZING")
    EnvoyFleet(secured.directory).bootstrap(free_port(), port)
    with running(envoys["stranger"]) as stranger, running(envoys["edge"]) as edge:
        await asyncio.to_thread(secured.start)
        await asyncio.to_thread(edge.wait_for, "/listeners", "aviary")
        await asyncio.to_thread(edge.add_version, "cart", "1", instances.port("1"))
        router = patient(edge, client)
        await router.apply(await router.register("cart", "1"))
        async with Caller(port, "cart") as caller:
            assert (await caller.get()).version == "1"
        failures = "/stats?filter=cluster.aviary-xds.upstream_cx_connect_fail$|ssl.connection_error"
        assert stranger.ask("/listeners") == ""
        assert "ssl" in stranger.ask(failures)
        until = time.monotonic() + WAITS_S  # it is written a moment after an Envoy is told
        while (told := set(_nodes(secured))) != {"edge"} and time.monotonic() < until:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
        assert told == {"edge"}


def _nodes(live: LiveControlPlane) -> Mapping[str, object]:
    """The Envoys that a control plane has told of."""
    found: Mapping[str, object] = read_document(file_of(live.directory, "one"))["nodes"]
    return found
