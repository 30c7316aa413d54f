"""Who waits for a version is woken when something of it changes: one watch for all that wait.

The watch only wakes; what is so is then read. A watch that is cut wakes all, and begins anew.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from adapters.backoff import doubling
from adapters.deployers.kubernetes import labels
from adapters.errors import AdapterError
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.resources import DEPLOYMENTS, PODS, Json, Resource

LONGEST_S: Final = 10.0
"""After which who waits looks all the same."""
_WATCHED: Final = (PODS, DEPLOYMENTS)

Whose = tuple[str, str]
"""Labels of a service and a version."""


class Woken:
    """One that waits for changes of a version."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Something has changed."""
        self._changed.set()

    async def wait(self, longest_s: float = LONGEST_S) -> None:
        """Wait until something has changed since the last wait, or for so long."""
        try:
            async with asyncio.timeout(longest_s):
                await self._changed.wait()
        except TimeoutError:
            return
        finally:
            self._changed.clear()


class Changes:
    """The changes of all versions of one owner in one namespace.

    Args:
        client: of the cluster.
        owner: the name of this Aviary.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        client: KubernetesClient,
        owner: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._owner, self._sleep = client, owner, sleep
        self._waiting: dict[Whose, set[Woken]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def of(self, service: str, version: str) -> AsyncIterator[Woken]:
        """Be woken by changes of a version, as long as the context lasts.

        The first begins the watches, which go on until `aclose`.
        """
        key, woken = (service, labels.value(version)), Woken()
        self._waiting[key].add(woken)
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._watch(one)) for one in _WATCHED]
        try:
            yield woken
        finally:
            self._waiting[key].discard(woken)
            if not self._waiting[key]:
                del self._waiting[key]

    async def aclose(self) -> None:
        """End the watches."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _watch(self, resource: Resource) -> None:
        pauses = doubling()
        while True:
            try:
                await self._watch_once(resource)
                pauses = doubling()
            except AdapterError:
                # Whoever waits asks the server himself, and tells what it says.
                await self._sleep(next(pauses))
            self._wake(one for some in self._waiting.values() for one in some)

    async def _watch_once(self, resource: Resource) -> None:
        namespace, mine = await self._client.namespace(), labels.matching(self._owner)
        _, since = await self._client.list_all(resource, namespace, labels=mine)
        self._wake(one for some in self._waiting.values() for one in some)
        async for _, changed in self._client.watch(resource, namespace, since=since, labels=mine):
            self._wake(self._waiting.get(_whose(changed), ()))

    @staticmethod
    def _wake(those: Iterable[Woken]) -> None:
        for one in tuple(those):
            one.wake()


def _whose(thing: Json) -> Whose:
    said = labels.said(thing, "labels")
    return str(said.get(labels.SERVICE, "")), str(said.get(labels.VERSION, ""))
