"""Objects of one kind as they are now: listed once, and watched from there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from adapters.backoff import doubling
from adapters.errors import Retryable
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.errors import Expired
from adapters.kubernetes.resources import Json, Resource
from adapters.kubernetes.templates import TEMPLATE

_SELECTOR: Final = f"{TEMPLATE}=true"
_NOT_YET: Final = "not listed yet"
_log = structlog.get_logger("aviary.watch")


class Following:
    """Follows the templates of one kind, and tells what it sees; the same may be seen twice.

    A watch that ends is begun again where it was; one that is too old (410), and one that can't be
    begun, is begun anew with a list, so that no state is passed over.

    Args:
        client: of the cluster.
        resource: the kind.
        namespace: of the templates.
        seen: told of each object as it is.
        gone: told of each that is no more, by uid.
        listed: told of the uids of all that there are, after each list.
        sleep: waits so many seconds.
    """

    def __init__(  # noqa: PLR0913 - who is told
        self,
        client: KubernetesClient,
        resource: Resource,
        namespace: str,
        *,
        seen: Callable[[Json], None],
        gone: Callable[[str], None],
        listed: Callable[[frozenset[str]], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._resource, self._namespace = client, resource, namespace
        self._seen, self._gone, self._listed, self._sleep = seen, gone, listed, sleep
        self._since = ""
        self.trouble = _NOT_YET
        """Why it does not see what happens now; empty while it does."""

    async def run(self) -> None:
        """Follow for ever."""
        pauses = doubling()
        while True:
            try:
                if not self._since:
                    await self._list()
                self.trouble = ""
                await self._watch()
                pauses = doubling()
            except Expired as error:
                _log.info("watch_expired", kind=self._resource.kind, error=str(error))
                self._since = ""
            except Retryable as error:
                self.trouble = str(error)
                pause = next(pauses)
                _log.warning(
                    "watch_cut", kind=self._resource.kind, error=self.trouble, delay_s=pause
                )
                await self._sleep(pause)

    async def _list(self) -> None:
        found, since = await self._client.list_all(
            self._resource, self._namespace, labels=_SELECTOR
        )
        for one in found:
            self._seen(one)
        self._listed(frozenset(map(_uid, found)))
        self._since = since

    async def _watch(self) -> None:
        watching = self._client.watch(
            self._resource, self._namespace, since=self._since, labels=_SELECTOR, bookmarks=True
        )
        async for change, thing in watching:
            if change == "DELETED":
                self._gone(_uid(thing))
            elif change != "BOOKMARK":
                self._seen(thing)
            self._since = str((thing.get("metadata") or {}).get("resourceVersion") or self._since)


def _uid(thing: Json) -> str:
    return str((thing.get("metadata") or {}).get("uid"))
