"""Load that looks like users: `python -m aviary.local.load`.

Open loop: requests leave at their own times whether or not earlier ones were answered, so that a
slow service is not spared. Users come back (the same ids again and again) and enter the shop at any
of its services. What was seen is read at `GET /stats` of the control port, begun again by
`POST /reset`, and the rate is changed by `POST /rate` with `{"rps": 80}`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Mapping
from typing import Final

from aviary.local.http1 import Client, Request, Response, serve
from aviary.local.tally import Tally, parse_calls

ENTRIES: Final[dict[str, float]] = {
    "storefront": 10,
    "checkout": 12,
    "catalogue": 14,
    "recommendations": 14,
    "cart": 12,
    "payments": 12,
    "inventory": 12,
    "ledger": 14,
}
"""Where users enter, in percent."""

USERS: Final = 5_000
MAX_RPS: Final = 1_000
_MAX_UNDER_WAY: Final = 500
_MAX_LAG_S: Final = 1.0


class Load:
    """Sends users' requests to the router and tallies the answers.

    Args:
        router: its client.
        rps: requests per second, at most `MAX_RPS`.
        dice: chooses users, entries and the times between requests.
        entries: where users enter, with a weight each.
    """

    def __init__(
        self,
        router: Client,
        rps: float,
        *,
        dice: random.Random,
        entries: Mapping[str, float] = ENTRIES,
    ) -> None:
        self.tally = Tally()
        self.rps = checked_rate(rps)
        self._router = router
        self._dice = dice
        self._names, self._weights = list(entries), list(entries.values())
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._dice.expovariate(self.rps), loop.time() - _MAX_LAG_S)
            await asyncio.sleep(max(0.0, due - loop.time()))
            if len(self._under_way) >= _MAX_UNDER_WAY:
                self.tally.users.held_back += 1
                continue
            task = asyncio.create_task(self._visit())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def control(self, request: Request) -> Response:
        """Answer on the control port."""
        match request.method, request.path:
            case "GET", "/healthz":
                return Response(200, b"ok")
            case "GET", "/stats":
                return _json(200, {"rps": self.rps, **self.tally.document()})
            case "POST", "/reset":
                self.tally.reset()
                return _json(200, {})
            case "POST", "/rate":
                try:
                    self.rps = checked_rate(json.loads(request.body)["rps"])
                except (ValueError, KeyError, TypeError) as error:
                    return _json(400, {"error": str(error)})
                return _json(200, {"rps": self.rps})
            case _:
                return _json(404, {"error": f"{request.method} {request.path}: unknown"})

    async def _visit(self) -> None:
        service = self._dice.choices(self._names, self._weights)[0]
        headers = {
            "host": service,
            "x-user-id": f"user-{self._dice.randrange(USERS)}",
            "x-request-id": f"{self._dice.getrandbits(64):016x}",
        }
        started = time.time() * 1000
        try:
            response = await self._router.request("GET", "/", headers=headers)
        except (OSError, TimeoutError):
            self.tally.add(parse_calls(f"{service}/?", 0, started, ""))
            return
        who = response.headers.get("x-served-by", f"{service}/?")
        below = response.headers.get("x-calls", "")
        self.tally.add(parse_calls(who, response.status, started, below))


def checked_rate(rps: object) -> float:
    """Refuse a rate that is not above 0 and at most `MAX_RPS`.

    Raises:
        ValueError: names the value and what was expected.
    """
    if isinstance(rps, bool) or not isinstance(rps, int | float) or not 0 < rps <= MAX_RPS:
        raise ValueError(f"rps: {rps!r}: expected a number above 0, at most {MAX_RPS}")
    return float(rps)


def _json(status: int, document: object) -> Response:
    return Response(status, json.dumps(document).encode(), {"content-type": "application/json"})


async def run(arguments: argparse.Namespace) -> None:
    """Send until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    router = Client("127.0.0.1", arguments.router, timeout=5.0)
    dice = random.Random(arguments.seed)  # noqa: S311 - users
    entries = dict.fromkeys(arguments.service, 1.0) if arguments.service else ENTRIES
    load = Load(router, arguments.rps, dice=dice, entries=entries)
    server = await serve(load.control, "127.0.0.1", arguments.port)
    sending = asyncio.create_task(load.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((sending, stopping), return_when=asyncio.FIRST_COMPLETED)
    server.close()
    if sending.done():
        sending.result()  # it never ends by itself: show why it did
    sending.cancel()


def main() -> None:
    """Read the command line and send."""
    parser = argparse.ArgumentParser(prog="python -m aviary.local.load")
    parser.add_argument("--router", required=True, type=int, help="the router's port")
    parser.add_argument("--port", required=True, type=int, help="control port")
    parser.add_argument("--rps", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--service", action="append", help="where users enter; default: the shop")
    arguments = parser.parse_args()
    try:
        checked_rate(arguments.rps)
    except ValueError as error:
        sys.exit(f"--{error}")
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
