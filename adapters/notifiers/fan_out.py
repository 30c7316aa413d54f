"""One notice to many: the log first, then every address of the channels that it is for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from adapters.errors import AdapterError, Retryable
from adapters.ports import Notifier
from schemas.notice import Notice

_REMEMBERED: Final = 1000

_Place = tuple[str, str, int]
"""A notice as JSON, the channel, and the number of its address."""


class FanOut:
    """Tells the log and the channels of a notice, and remembers who has heard it.

    A notice that one address did not take is tried again as a whole; those that took it are then
    left out, as far as this process remembers. Another worker's attempt may tell them again.
    """

    def __init__(
        self,
        log: Notifier,
        channels: Mapping[str, Sequence[Notifier]],
        route: Callable[[Notice], Collection[str]],
    ) -> None:
        """Tell these.

        Args:
            log: is told everything.
            channels: by name, the addresses of each.
            route: names the channels that a notice is for; those that are not there are left out.
        """
        self._log = log
        self._channels = channels
        self._route = route
        self._heard: OrderedDict[_Place, None] = OrderedDict()

    async def notify(self, notice: Notice) -> None:
        """Deliver one notice to all.

        Raises:
            Retryable: some did not take it; names them.
        """
        said = notice.model_dump_json()
        await self._tell(self._log, notice, (said, "", 0))
        told = [
            self._tell(member, notice, (said, name, number))
            for name in sorted(self._route(notice))
            for number, member in enumerate(self._channels.get(name, ()))
        ]
        failed: list[str] = []
        for result in await asyncio.gather(*told, return_exceptions=True):
            if isinstance(result, AdapterError):
                failed.append(str(result))
            elif isinstance(result, BaseException):
                raise result
        if failed:
            raise Retryable("; ".join(failed))

    async def _tell(self, member: Notifier, notice: Notice, place: _Place) -> None:
        if place in self._heard:
            return
        await member.notify(notice)
        self._heard[place] = None
        while len(self._heard) > _REMEMBERED:
            self._heard.popitem(last=False)
