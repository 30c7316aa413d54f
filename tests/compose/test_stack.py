"""The stack of `docker-compose.yml`, up for real: a release goes through it, over every restart.

One release waits at a gate with a fifth of the users on the new version while each service of the
file is restarted in its turn. What was accepted just before a restart is a release afterwards, what
was routed stays routed, and an alert then takes the next release back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from aviary.local import debian, golang, images
from aviary.local.docker import DockerError, check_machine, install
from aviary.local.http1 import Client, Response
from aviary.local.load import Load
from aviary.local.pipeline import deploy_event
from aviary.local.temporal.programs import TemporalBuildError
from tests.compose.site import SERVICES, ComposeSite

pytestmark = [pytest.mark.long, pytest.mark.timeout(2_400)]

OLD, NEW, BAD = "1.0.0", "2.0.0", "3.0.0"
TOKEN: Final = "a-token-of-the-pipeline"
PATIENCE_S: Final = 600.0
_POLL_S: Final = 0.5
_RPS: Final = 10.0
_USERS: Final = 10_000
_API: Final = 18_088
_ALERTS: Final = 19_093
_SHARE_OF: Final = 150
"""Requests after which a share is looked at."""
NOT_MADE: Final = ("temporal-ui",)
"""Services of the file for which there is no stand-in: no registry of packages has the program."""
# Each runs on; the others end once they have done their part, or are another's profile.
RUNNING: Final = tuple(
    name
    for name, service in SERVICES.items()
    if service["restart"] == "unless-stopped"
    and not service.get("profiles")
    and name not in NOT_MADE
)
CATALOG: Final[dict[str, Any]] = {
    "version": 1,
    "environment": "production",
    "defaults": {
        "router": {
            "kind": "envoy",
            "directory": "/var/lib/aviary/envoy",
            "admin": ["http://envoy:9901"],
        },
        "judge": {"interval": "1s", "tolerance": 0.2, "bound_cluster": 1},
        "metrics": [{"kind": "ratio", "name": "errors"}],
        "strategy": "careful",
    },
    "strategies": {
        "careful": {
            "steps": [{"weight": 20, "bake": {"min": "5s", "max": "2m"}, "gate": "Go on?"}, 50],
            "bake": {"min": "2s", "max": "2m"},
            "soak": "1s",
            "lease": "30m",  # a machine that does much besides takes long for a restart
        },
        "at_once": {"steps": [100], "bake": "0s", "soak": "0s"},
    },
    "services": {"payments": None, "asked": {"strategy": "at_once", "metrics": []}},
}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ComposeSite]:
    """A host on which all images of the file are there."""
    if not golang.is_there():
        pytest.skip("go is not there, which builds Temporal's server")
    try:
        check_machine()
        tools = await install(debian.cache_folder())
    except (DockerError, debian.DebianError) as error:
        pytest.skip(str(error))
    async with ComposeSite(tools, told(tmp_path)) as made:
        try:
            await made.make_images()
        except TemporalBuildError as error:
            pytest.skip(str(error))
        yield made


def told(folder: Path) -> dict[str, dict[str, Any]]:
    """What differs from the file: whose services, who may call, doors that this test reaches."""
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    may = {"sha256": digest, "roles": ["deploy", "read", "approve"]}
    (folder / "callers.yaml").write_text(yaml.safe_dump({"tokens": {"test": may}}))
    (folder / "catalog.yaml").write_text(yaml.safe_dump(CATALOG))
    catalog = f"{folder}/catalog.yaml:/etc/aviary/catalog.yaml:ro"
    callers = f"{folder}/callers.yaml:/etc/aviary/callers.yaml:ro"
    return {
        **{
            name: {"volumes": [catalog]}
            for name in ("aviary-worker", "aviary-bridge", "aviary-sentinel")
        },
        "aviary-webhook": {
            "volumes": [catalog, callers],
            "environment": {"AVIARY_CALLERS_FILE": "/etc/aviary/callers.yaml"},
            "ports": [f"{_API}:8088"],
        },
        "alertmanager": {"ports": [f"{_ALERTS}:9093"]},
        **{name: {"profiles": ["not-made"]} for name in NOT_MADE},
    }


async def test_a_release_goes_through_and_no_restart_loses_anything(site: ComposeSite) -> None:
    await site.compose("up", "--detach", "--no-build")
    await settled(site)
    for version in (OLD, NEW):
        await put_up(site, version)
    await site.aviary("pools", "put", "payments", BAD, at(NEW))
    await ask(site, "payments-1", {"payments": OLD})
    await ask(site, "asked-0", {"asked": OLD})
    await until(site, "payments-1", "finalized")
    await until(site, "asked-0", "finalized")

    async with users(site) as seen:
        await ask(site, "payments-2", {"payments": NEW})
        await until(site, "payments-2", "gated")
        for number, name in enumerate(RUNNING, 1):
            await restart(site, name, f"asked-{number}", (OLD, NEW)[number % 2], seen)
        await canary_has_its_share(seen)
        await say(site, "POST", "/releases/payments-2/approve", b'{"reason": "it looks good"}')
        await until(site, "payments-2", "finalized")

        await ask(site, "payments-3", {"payments": BAD})
        await until(site, "payments-3", "gated")
        await fire(site, {"alertname": "Wrong", "service": "payments", "version": BAD})
        await until(site, "payments-3", "rolled_back")
        assert seen.tally.users.failed == 0


async def restart(site: ComposeSite, name: str, release: str, version: str, seen: Load) -> None:
    """Restart one service right after an event was accepted, and see that both go on."""
    await ask(site, release, {"asked": version})
    failed = seen.tally.users.failed
    await site.compose("restart", name)
    await settled(site)
    await until(site, release, "finalized")
    assert "gated" in await phases(site, "payments-2"), name
    if name == "envoy":  # the only one there is: nobody is answered while it begins again
        seen.tally.reset()
    else:
        assert seen.tally.users.failed == failed, name


async def settled(site: ComposeSite) -> None:
    """Wait until every service runs and is healthy, where it has a check."""

    async def all_well() -> bool:
        states = await site.states()
        said = [states.get(name, "") for name in RUNNING]
        return all(
            one.startswith("Up") and not one.endswith(("starting)", "(unhealthy)")) for one in said
        )

    await wait(site, all_well, "all services are healthy")


def at(version: str) -> str:
    """Where an instance is, as the router reaches it."""
    return f"payments-{version.replace('.', '-')}:{images.PORT}"


async def put_up(site: ComposeSite, version: str) -> None:
    """Start an instance as a pipeline would, and tell the router where it is."""
    await images.build(site.host, version, {})
    name, _, _ = at(version).partition(":")
    where = ("--network", "aviary_default", "--restart", "unless-stopped")
    shop = ("--service", "payments", "--router", "0")
    await site.host.docker("run", "-d", "--name", name, *where, images.image_of(version), *shop)
    for service in ("payments", "asked"):
        await site.aviary("pools", "put", service, version, at(version))


async def ask(site: ComposeSite, release: str, services: dict[str, str]) -> None:
    """Send a deploy event to the webhook, as a pipeline would."""
    event = deploy_event(release, services, None, at=datetime.now(UTC))
    await say(site, "POST", "/events", event, "application/cloudevents+json")


async def say(
    site: ComposeSite, method: str, path: str, body: bytes, kind: str = "application/json"
) -> None:
    """Ask the webhook for something, until it says that it is done or will be."""
    answers: list[Response] = []

    async def was_taken() -> bool:
        answer = await called(site, _API, method, path, body, kind)
        answers.append(answer)
        assert answer.status in {0, 200, 202, 429, 502, 503}, (answer.status, answer.body)
        return answer.status in {HTTPStatus.OK, HTTPStatus.ACCEPTED}

    await wait(site, was_taken, f"{method} {path}")


async def called(  # noqa: PLR0917 - what a request has
    site: ComposeSite,
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    kind: str = "application/json",
) -> Response:
    """One request to a published port; status 0 where nobody answers."""
    client = Client(site.host.address, port, timeout=30.0)
    headers = {
        "host": "aviary",
        "authorization": f"Bearer {TOKEN}",
        "content-type": kind,
        "idempotency-key": hashlib.sha256(path.encode() + body).hexdigest(),
    }
    try:
        return await client.request(method, path, headers=headers, body=body)
    except (OSError, TimeoutError) as error:
        return Response(0, repr(error).encode())
    finally:
        client.close()


async def phases(site: ComposeSite, release: str) -> set[str]:
    """Of the release and of its services; none where it can't be asked for yet."""
    answer = await called(site, _API, "GET", f"/releases/{release}")
    if answer.status != HTTPStatus.OK:
        return set()
    found = json.loads(answer.body)
    every = [found, *found["services"], *found["canaries"].values()]
    return {one["phase"] for one in every}


async def until(site: ComposeSite, release: str, phase: str) -> None:
    """Wait until a release, or a service of it, is so far."""

    async def is_there() -> bool:
        found = await phases(site, release)
        assert not found & ({"rolled_back", "finalized", "failed"} - {phase}), (release, found)
        return phase in found

    await wait(site, is_there, f"{release} is {phase}")


async def fire(site: ComposeSite, labels: dict[str, str]) -> None:
    """Have Alertmanager send an alert on, as one of Prometheus' would be."""
    alert = json.dumps([{"labels": {**labels, "severity": "critical"}}]).encode()
    answer = await called(site, _ALERTS, "POST", "/api/v2/alerts", alert)
    assert answer.status == HTTPStatus.OK, answer.body


async def canary_has_its_share(seen: Load) -> None:
    """A fifth of the users, as before all of the restarts."""
    seen.tally.reset()
    async with asyncio.timeout(PATIENCE_S):
        while seen.tally.users.sent < _SHARE_OF:  # noqa: ASYNC110 - the load has no event for it
            await asyncio.sleep(_POLL_S)
    versions = seen.tally.document()["versions"]
    sent = {name: one["sent"] for name, one in versions.items()}
    share = sent[f"payments/{NEW}"] / sum(sent.values())
    assert 0.05 < share < 0.4, sent


@asynccontextmanager
async def users(site: ComposeSite) -> AsyncIterator[Load]:
    """Users of payments, by way of Envoy."""
    router = Client(site.host.address, _USERS, timeout=30.0)
    load = Load(router, _RPS, dice=random.Random(1), entries={"payments": 1})
    task = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        router.close()


async def wait(site: ComposeSite, done: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask again until it is so; what services said is in the error."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await done():  # noqa: ASYNC110 - the stack is asked
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        states = await site.states()
        pytest.fail(f"{what}: not after {PATIENCE_S:.0f} s\n{states}\n{await site.logs()}")
