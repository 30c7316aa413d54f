"""The embedded stack with a feature flag: a real Unleash, and an application that asks it.

The flag stands in the catalog after the service that has its code. Unleash and its PostgreSQL are
fetched at first use, which takes minutes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

from aviary.local.npm import NpmError
from aviary.local.parts import MissingPartError
from aviary.local.ports import LOOPBACK
from aviary.local.process import ChildFailedError
from aviary.local.shop import Fault
from aviary.local.stack import DEFAULT_RPS, Say, Stack
from aviary.local.unleash.application import FlaggedApplication
from aviary.local.unleash.server import ENVIRONMENT, UnleashServer

FLAG: Final = "new-checkout"
"""Name of the flag, and of its entry in the catalog."""
NEEDS: Final = "checkout"
"""The service that has its code."""
_CONNECTION: Final = "flags"
_ENTRY: Final[Mapping[str, Any]] = {
    "router": {"kind": "unleash", "connection": _CONNECTION, "environment": ENVIRONMENT},
    "depends_on": [NEEDS],
    "strategy": "dark",
    "metrics": [],  # what an alert is for; a team has its own, by the flag's variant
}
_STRATEGY: Final[Mapping[str, Any]] = {
    "steps": [{"weight": 5, "bake": "5s"}, {"weight": 25, "bake": "1m"}],
    "soak": "0s",
}
_FEATURES: Final = "/api/admin/projects/default/features"
_WITHIN_S: Final = 10.0


class FlagStack(Stack):
    """An embedded stack with a flag.

    Args:
        folder: as of `Stack`.
        cache: as of `Stack`.
        rps: as of `Stack`.
    """

    def __init__(self, folder: Path, cache: Path, *, rps: float = DEFAULT_RPS) -> None:
        self._unleash_port = 0
        super().__init__(folder, cache, rps=rps, deploys=False)
        self._unleash_port = self._free.take()
        self._unleash: UnleashServer | None = None
        self._application: FlaggedApplication | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aexit__(self, *exc: object) -> None:
        try:
            if self._running is not None:
                self._running.cancel()
                await asyncio.gather(self._running, return_exceptions=True)
            await super().__aexit__(*exc)
        finally:
            if self._unleash is not None:
                await asyncio.to_thread(self._unleash.stop)

    @property
    def addresses(self) -> dict[str, str]:
        """As of `Stack`, and Unleash."""
        return {**super().addresses, "unleash": f"http://{LOOPBACK}:{self._unleash_port}"}

    @property
    def settings(self) -> dict[str, str]:
        """As of `Stack`, with Unleash among the connections."""
        file = str(self.folder / "connections.yaml")
        return {**super().settings, "AVIARY_CONNECTIONS_FILE": file}

    @property
    def application(self) -> FlaggedApplication:
        """What asks Unleash for the flag."""
        if self._application is None:
            raise RuntimeError("the stack is not started")
        return self._application

    async def request(
        self,
        release: str,
        versions: Mapping[str, str],
        strategy: str | None = None,
        faults: Mapping[str, Fault] | None = None,
    ) -> None:
        """As of `Stack`; of the flag, its version is the variant that all shall have."""
        services = {name: version for name, version in versions.items() if name != FLAG}
        flags = {name: version for name, version in versions.items() if name == FLAG}
        await self.build(services, faults or {})
        await self.pipeline.request(release, services, strategy, flags=flags)

    async def alert(self) -> float:
        """Tell Alertmanager of trouble with the flag, as Prometheus would; returns when, seconds.

        Raises:
            OSError: it did not take it.
        """
        labels = {
            "alertname": "OrdersFail",
            "severity": "critical",
            "service": FLAG,
            "version": "on",
        }
        summary = "orders of users with the flag on fail"
        alert = {"labels": labels, "annotations": {"summary": summary}}
        at = time.time()
        await _ask(self.addresses["alertmanager"], "POST", "/api/v2/alerts", [alert])
        return at

    async def rollout(self) -> str:
        """What Aviary's strategy of the flag gives, percent; empty without one."""
        path = f"{_FEATURES}/{FLAG}/environments/{ENVIRONMENT}/strategies"
        found = [one for one in await self._ask("GET", path) if "aviary" in one["parameters"]]
        return str(found[0]["parameters"]["rollout"]) if found else ""

    async def off_since(self, moment: float) -> float | None:
        """When Unleash had the flag off, by its own log, seconds since 1970; None: it had not."""
        events = await self._ask("GET", f"/api/admin/search/events?feature=IS:{FLAG}&limit=100")
        off = [
            datetime.fromisoformat(one["createdAt"]).timestamp()
            for one in events["events"]
            if ((one.get("data") or {}).get("parameters") or {}).get("rollout") == "0"
        ]
        return min((at for at in off if at >= moment - 0.001), default=None)

    async def _start_all(self, say: Say) -> None:
        began = time.monotonic()
        try:
            self._unleash = await asyncio.to_thread(UnleashServer, self.folder, self._unleash_port)
        except NpmError as error:
            raise MissingPartError(str(error)) from None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_unleash(self._unleash, say, began))
            group.create_task(super()._start_all(say))
        self._application = FlaggedApplication(self._unleash.url, self._unleash.client_token, FLAG)
        self._running = asyncio.create_task(self._application.run())

    async def _start_unleash(self, server: UnleashServer, say: Say, began: float) -> None:
        try:
            await asyncio.to_thread(server.start)
        except RuntimeError as error:
            raise ChildFailedError(str(error)) from None
        await self._ask("POST", _FEATURES, {"name": FLAG})
        say(f"unleash: ready after {time.monotonic() - began:.1f} s")

    def _write_configuration(self) -> None:
        if self._unleash is None:
            raise RuntimeError("the stack is not started")
        connection = {
            "kind": "unleash",
            "url": self._unleash.url,
            "token": self._unleash.token,
            "client_token": self._unleash.client_token,
        }
        file = self.folder / "connections.yaml"
        file.touch(mode=0o600)
        file.write_text(json.dumps({_CONNECTION: connection}))
        super()._write_configuration()

    def _document(self) -> dict[str, Any]:
        document = super()._document()
        document["services"][FLAG] = dict(_ENTRY)
        document["strategies"][_ENTRY["strategy"]] = dict(_STRATEGY)
        return document

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        if self._unleash is None:
            raise RuntimeError("the stack is not started")
        url, token = self._unleash.url, self._unleash.token
        return (await _ask(url, method, path, body, {"authorization": token})).json()


async def _ask(
    url: str, method: str, path: str, body: object, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """The answer to what must succeed.

    Raises:
        OSError: it did not.
    """
    async with httpx.AsyncClient(
        base_url=url,
        headers=headers,
        timeout=_WITHIN_S,
        verify=False,  # noqa: S501 - on this machine, without TLS
    ) as client:
        try:
            answer = await client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise OSError(f"{method} {url}{path}: {type(error).__name__}") from None
    if not answer.is_success:
        raise OSError(f"{method} {url}{path}: answered {answer.status_code}: {answer.text[:500]}")
    return answer
