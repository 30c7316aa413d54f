"""From an alert's POST to a feature flag that is off: at Unleash, and where it is evaluated."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from adapters.routers.flag_shares import user
from adapters.routers.unleash import UnleashConnection
from adapters.routers.unleash.evaluation import Evaluation
from aviary.local.ports import FreePorts
from aviary.local.unleash.server import ENVIRONMENT, UnleashServer
from bench import testbed
from bench.figures import Figure, Spec
from bench.restoring import alert, payload
from bench.testbed import FLOOR, TARGET, Testbed
from schemas.release import CanaryPhase, ReleaseStatus

OFF: Final = Spec("alert → flag off at Unleash", "ms", "one PUT of the strategy, by Unleash's log")
SEEN: Final = Spec("alert → flag off where it is evaluated", "ms", "the same PUT, the same polls")
SPECS: Final = (OFF, SEEN)
QUICK: Final = 5
LONG: Final = 30
_POLL_S: Final = 0.02
_WITHIN_S: Final = 60.0
_USERS: Final = 20
_CONNECTION: Final = "flags"
_FEATURES: Final = "/api/admin/projects/default/features"


class Flags:
    """Flags of one Unleash, as a team's tools and an application see them."""

    def __init__(self, server: UnleashServer, http: httpx.AsyncClient) -> None:
        self._server = server
        self._http = http

    async def make(self, name: str) -> None:
        """A flag that nobody has yet."""
        await self._ask("POST", _FEATURES, {"name": name})

    async def make_by_hand(self, name: str) -> str:
        """One with a strategy of its own, switched on; returns the strategy's path."""
        await self.make(name)
        path = f"{_FEATURES}/{name}/environments/{ENVIRONMENT}"
        made = await self._ask("POST", f"{path}/strategies", _strategy(name, 0))
        await self._ask("POST", f"{path}/on")
        return f"{path}/strategies/{made['id']}"

    async def put(self, path: str, name: str, rollout: int) -> None:
        """Write the strategy."""
        await self._ask("PUT", path, _strategy(name, rollout))

    async def until(self, name: str, *, on: bool) -> float:
        """Ask as an application does until a flag is on for somebody, or for nobody; when it was.

        Raises:
            TimeoutError: it never was.
        """
        query = f"/api/client/features?project=default&namePrefix={name}"
        async with asyncio.timeout(_WITHIN_S):
            while True:
                found = await self._ask("GET", query, token=self._server.client_token)
                evaluation = Evaluation(found["features"])
                users = [user(number) for number in range(_USERS)]
                if any(evaluation.variant(name, one) == "on" for one in users) is on:
                    return time.time()
                await asyncio.sleep(_POLL_S)

    async def off_since(self, name: str, moment: float) -> float:
        """When Unleash had it off, by its own log, which has milliseconds."""
        path = f"/api/admin/search/events?feature=IS:{name}&limit=20"
        events = (await self._ask("GET", path))["events"]
        return min(
            at
            for one in events
            if ((one.get("data") or {}).get("parameters") or {}).get("rollout") == "0"
            and (at := datetime.fromisoformat(one["createdAt"]).timestamp()) >= moment - 0.001
        )

    async def _ask(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        headers = {"authorization": token or self._server.token}
        url = f"{self._server.url}{path}"
        answer = await self._http.request(method, url, json=body, headers=headers)
        answer.raise_for_status()
        return answer.json() if answer.content else None


def described() -> dict[str, Any]:
    """A catalog with one flag, which bakes until it is told to go back."""
    router = {"kind": "unleash", "connection": _CONNECTION, "environment": ENVIRONMENT}
    return testbed.catalog({TARGET: ()}, {"steps": [50], "bake": "1h"}, defaults={"router": router})


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Take turns: a release whose flag goes off for an alert; a strategy that is written."""
    home = folder.with_name(f"{folder.name}-unleash")
    home.mkdir(parents=True)
    server = await asyncio.to_thread(UnleashServer, home, FreePorts().take())
    try:
        await asyncio.to_thread(server.start)
        return await _measure(folder, server, LONG if long else QUICK)
    finally:
        await asyncio.to_thread(server.stop)


async def _measure(folder: Path, server: UnleashServer, runs: int) -> list[Figure]:
    given = {"url": server.url, "token": server.token, "client_token": server.client_token}
    known = {_CONNECTION: UnleashConnection.model_validate(given)}
    ours: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    floor: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    async with testbed.started(folder, lambda _: described(), known) as here:
        file = folder / "connections.yaml"
        file.write_text(json.dumps({_CONNECTION: {"kind": "unleash", **given}}))
        here.env["AVIARY_CONNECTIONS_FILE"] = str(file)
        flags = Flags(server, here.http)
        await flags.make(TARGET)
        path = await flags.make_by_hand(FLOOR)
        for name in ("worker", "bridge", "webhook"):
            await here.start(name)
        dice = random.Random(7)
        for number in range(-1, runs):  # the first warms up
            one = await _by_alert(here, flags, number, dice.random())
            other = await _by_hand(flags, path, dice.random())
            for spec in SPECS if number >= 0 else ():
                ours[spec].append(one[spec])
                floor[spec].append(other[spec])
    return [spec.figure(ours[spec], floor[spec]) for spec in SPECS]


async def _by_alert(here: Testbed, flags: Flags, number: int, wait: float) -> Mapping[Spec, float]:
    release = await testbed.begin(here, f"flag-{number}", {TARGET: "on"})
    await testbed.until(release, _bakes)
    await flags.until(TARGET, on=True)
    await asyncio.sleep(wait)  # Unleash looks for changes each second
    headers = {"authorization": f"Bearer {here.token}"}
    body = payload([alert(TARGET, uuid4().hex)])
    began = time.time()
    url = here.ports.addresses()["webhook"]
    (await here.http.post(url, json=body, headers=headers)).raise_for_status()
    seen = await flags.until(TARGET, on=False)
    await release.result()
    return _took(began, await flags.off_since(TARGET, began), seen)


async def _by_hand(flags: Flags, path: str, wait: float) -> Mapping[Spec, float]:
    await flags.put(path, FLOOR, 50)
    await flags.until(FLOOR, on=True)
    await asyncio.sleep(wait)
    began = time.time()
    await flags.put(path, FLOOR, 0)
    seen = await flags.until(FLOOR, on=False)
    return _took(began, await flags.off_since(FLOOR, began), seen)


def _took(began: float, off: float, seen: float) -> Mapping[Spec, float]:
    """Milliseconds."""
    return {OFF: 1000 * (off - began), SEEN: 1000 * (seen - began)}


def _bakes(status: ReleaseStatus) -> bool:
    return status.services[0].phase is CanaryPhase.BAKING


def _strategy(name: str, rollout: int) -> dict[str, Any]:
    parameters = {"rollout": str(rollout), "stickiness": "default", "groupId": name}
    return {"name": "flexibleRollout", "parameters": parameters, "constraints": []}
