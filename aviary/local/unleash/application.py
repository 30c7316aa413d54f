"""An application that has a flag of Unleash: it polls as the SDKs do, with the engine of theirs."""

from __future__ import annotations

import asyncio
import time
from typing import Final, NamedTuple

import httpx
from yggdrasil_engine.engine import UnleashEngine

POLL_S: Final = 1.0
"""How often it asks for flags. Unleash's SDKs have 15 s; an own server can be asked more often."""
USERS: Final = 1000
_WITHIN_S: Final = 5.0


class Seen(NamedTuple):
    """What its users had from a poll on."""

    at: float
    """Seconds since 1970."""
    share: float
    """Users with the flag on, percent."""


class FlaggedApplication:
    """Asks for the flag of each of its users again after each poll.

    Args:
        url: of the server.
        token: a backend API token.
        flag: name of the flag.
    """

    def __init__(self, url: str, token: str, flag: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": token},
            timeout=_WITHIN_S,
            verify=False,  # noqa: S501 - on this machine, without TLS
        )
        self._engine = UnleashEngine()
        self._flag = flag
        self._etag = ""
        self.seen: list[Seen] = []
        """Each change of what its users have, the first as it began."""

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                began = time.monotonic()
                await self._poll()
                await asyncio.sleep(max(0.0, POLL_S - (time.monotonic() - began)))
        finally:
            await self._client.aclose()

    @property
    def share(self) -> float:
        """Users with the flag on, percent."""
        return self.seen[-1].share if self.seen else 0.0

    def off_since(self, moment: float) -> float | None:
        """When its users were without the flag, seconds since 1970; None: they are not yet."""
        return next((one.at for one in self.seen if one.at >= moment and not one.share), None)

    async def _poll(self) -> None:
        """Take what has changed; who can't be reached leaves everything as it was."""
        headers = {"if-none-match": self._etag} if self._etag else {}
        try:
            answer = await self._client.get("/api/client/features", headers=headers)
        except httpx.HTTPError:
            return  # as the SDKs do
        if answer.status_code != httpx.codes.OK:
            return
        self._etag = answer.headers.get("etag", "")
        self._engine.take_state(answer.text)
        share = 100 * sum(self._is_on(user) for user in range(USERS)) / USERS
        if not self.seen or share != self.share:
            self.seen.append(Seen(time.time(), share))

    def _is_on(self, user: int) -> bool:
        found = self._engine.check_enabled(self._flag, {"userId": f"user-{user}"})
        return bool(found.is_enabled)
