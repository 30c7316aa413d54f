"""What activities share that look at routers again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from activities.policy import rest
from adapters.ports import Routing
from schemas.router_spec import RouterSpec

_Seen = TypeVar("_Seen")


class RouterActivities:
    """Activities over the routers, each of which looks until it has seen enough.

    Args:
        router_for: finds the router of a specification.
        sleep: waits that many seconds.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        router_for: Callable[[RouterSpec], Routing],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._router_for = router_for
        self._sleep = sleep
        self._clock = clock

    async def _look_until(
        self,
        enough: Callable[[_Seen], bool],
        look: Callable[[], Awaitable[_Seen]],
        *,
        within: timedelta | None,
        every_s: float,
    ) -> _Seen:
        """Look until that is enough, or the time is over; return what was seen last.

        Args:
            enough: whether it is.
            look: looks once, and heartbeats.
            within: None: for ever.
            every_s: seconds between two looks.
        """
        began = self._clock()
        while True:
            seen = await look()
            if enough(seen) or self._is_over(began, within):
                return seen
            await rest(every_s, self._sleep)

    def _is_over(self, began: float, within: timedelta | None) -> bool:
        return within is not None and self._clock() - began >= within.total_seconds()
