"""One version of one service of the shop, as a process: `python -m aviary.local.shop`.

A service answers with its own name and version and calls its dependencies through the router, as a
service in a mesh does: one address for all, the service's name as the host. It passes on who asks
(`x-user-id`, `x-request-id`, `traceparent`, the canary header and cookie), what a copy is marked by
and what is in a lane (`baggage`), so that a user sees the same versions all the way down.

**Blame stays where it is.** A caller whose dependency fails answers 200 and marks that part as
missing, as a shop shows a page without recommendations. Otherwise one bad ledger would count as
errors of payments, checkout and storefront too, and no judge could tell who is ill.

Each response says who took part: `x-served-by: checkout/1.4.2`, and in `x-calls` each call below
it as `service/version=status@started`, started in milliseconds since 1970.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from aviary.local.http1 import Client, Request, Response, serve

DEPENDENCIES: Final[dict[str, tuple[str, ...]]] = {
    "storefront": ("catalogue", "recommendations", "checkout"),
    "checkout": ("cart", "payments"),
    "catalogue": ("inventory",),
    "recommendations": (),
    "cart": ("inventory",),
    "payments": ("ledger",),
    "inventory": (),
    "ledger": (),
}
"""The shop: what each service calls. The same graph as in `catalog.yaml` (a test compares them)."""

FAULT: Final = "FAULT"
"""Variable of the environment: what is wrong from the beginning, as for `POST /fault`."""
ROUTER_PORT: Final = "ROUTER_PORT"
"""Variable of the environment: the router's port."""
PASSED_ON: Final = (
    "x-user-id",
    "x-request-id",
    "traceparent",
    "x-canary",
    "cookie",
    "baggage",
    "x-aviary-mirror",
)
_CALL_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True)
class Fault:
    """What is wrong with a version, switchable while it runs by `POST /fault`."""

    error_rate: float = 0.0
    """Share of requests answered 500, 0 to 1."""
    latency_ms: float = 0.0
    """Added to each answer, milliseconds."""
    crash: bool = False
    """End the process without a word."""

    @classmethod
    def parse(cls, document: object, before: Fault) -> Fault:
        """Read a fault; fields left out stay as they were.

        Raises:
            ValueError: names the field, its value and what was expected.
        """
        if not isinstance(document, dict):
            raise ValueError(f"fault: {document!r}: expected a JSON object")  # noqa: TRY004
        for name, value in document.items():
            _check(name, value)
        return replace(before, **document)


def _check(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "error_rate" if not (number and 0 <= float(str(value)) <= 1):
            raise ValueError(f"error_rate: {value!r}: expected a number from 0 to 1")
        case "latency_ms" if not (number and 0 <= float(str(value)) <= 60_000):  # noqa: PLR2004
            raise ValueError(f"latency_ms: {value!r}: expected a number from 0 to 60000")
        case "crash" if not isinstance(value, bool):
            raise ValueError(f"crash: {value!r}: expected true or false")
        case "error_rate" | "latency_ms" | "crash":
            return
        case _:
            raise ValueError(f"{name}: unknown; expected error_rate, latency_ms or crash")


class Shop:
    """One version of one service.

    Args:
        service: one of `DEPENDENCIES`.
        version: what it says it is.
        router: the router's address; None answers without calling anybody.
        dice: decides which requests a fault hits.
    """

    def __init__(
        self, service: str, version: str, router: Client | None, *, dice: random.Random
    ) -> None:
        self._me = f"{service}/{version}"
        self._about = {"service": service, "version": version}
        self._calls = DEPENDENCIES[service]
        self._router = router
        self._dice = dice
        self.fault = Fault()

    async def handle(self, request: Request) -> Response:
        """Answer one request: health, a change of fault, or the service's work."""
        if request.path == "/healthz":
            return Response(200, b"ok", {"x-served-by": self._me})
        if request.path == "/fault":
            return self._set_fault(request)
        if self.fault.latency_ms:
            await asyncio.sleep(self.fault.latency_ms / 1000)
        if self._dice.random() < self.fault.error_rate:
            return self._answer(500, {"error": "fault"}, [])
        return await self._work(request)

    def _set_fault(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self.fault = Fault.parse(json.loads(request.body or b"{}"), self.fault)
            except ValueError as error:
                return self._answer(400, {"error": str(error)}, [])
        if self.fault.crash:
            os._exit(1)
        return self._answer(200, {"fault": asdict(self.fault)}, [])

    async def _work(self, request: Request) -> Response:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        answers = await asyncio.gather(*(self._call(name, headers) for name in self._calls))
        parts = {name: part for name, (part, _) in zip(self._calls, answers, strict=True)}
        calls = [call for _, below in answers for call in below]
        return self._answer(200, {"parts": parts} if parts else {}, calls)

    async def _call(self, service: str, headers: Mapping[str, str]) -> tuple[Any, list[str]]:
        """What a dependency answered (or that it failed), and the calls that this took."""
        if self._router is None:
            return {"service": service, "missing": "no router"}, []
        started = int(time.time() * 1000)
        try:
            response = await self._router.request("GET", "/", headers={**headers, "host": service})
        except (OSError, TimeoutError) as error:
            why = f"{type(error).__name__}: {error}"
            return {"service": service, "missing": why}, [f"{service}/?=0@{started}"]
        who = response.headers.get("x-served-by", f"{service}/?")
        calls = [f"{who}={response.status}@{started}", *response.headers.get("x-calls", "").split()]
        if response.status != 200:  # noqa: PLR2004 - the only success there is here
            return {"service": service, "missing": f"status {response.status}"}, calls
        return json.loads(response.body), calls

    def _answer(self, status: int, document: dict[str, Any], calls: list[str]) -> Response:
        headers = {"content-type": "application/json", "x-served-by": self._me}
        if calls:
            headers["x-calls"] = " ".join(calls)
        return Response(status, json.dumps({**self._about, **document}).encode(), headers)


async def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    router = Client(arguments.router_host, arguments.router, timeout=_CALL_TIMEOUT_S)
    shop = Shop(
        arguments.service,
        arguments.version,
        router if arguments.router else None,
        dice=random.Random(),  # noqa: S311 - which requests fail is no secret
    )
    shop.fault = Fault.parse(json.loads(arguments.fault), shop.fault)
    server = await serve(shop.handle, arguments.host, arguments.port)
    await stop.wait()
    server.close()
    router.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m aviary.local.shop")
    parser.add_argument("--service", required=True, choices=sorted(DEPENDENCIES))
    parser.add_argument("--version", default="")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", required=True, type=int)
    env = os.environ
    port = env.get(ROUTER_PORT, "0")
    parser.add_argument("--router", type=int, default=port, help="the router's port; 0: none")
    parser.add_argument("--router-host", default="127.0.0.1")
    parser.add_argument("--fault", default=env.get(FAULT, "{}"), help="as for POST /fault")
    parser.add_argument("--built", type=Path, help="a file with version, and faults by service")
    arguments = parser.parse_args()
    if arguments.built is not None:
        _take_built(arguments)
    if not arguments.version:
        parser.error("expected --version or --built")
    try:
        Fault.parse(json.loads(arguments.fault), Fault())
    except ValueError as error:
        sys.exit(f"--fault: {error}")
    asyncio.run(run(arguments))


def _take_built(arguments: argparse.Namespace) -> None:
    """Take the version that an image was built as, and what is wrong with it."""
    built = json.loads(arguments.built.read_text())
    arguments.version = arguments.version or built["version"]
    if arguments.service in built["faults"]:
        arguments.fault = json.dumps(built["faults"][arguments.service])


if __name__ == "__main__":
    main()
