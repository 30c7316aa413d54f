"""Versions as Deployments of one namespace."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import TypeAdapter, ValidationError

from adapters.deployers.fence import check_take_down, check_wanted
from adapters.deployers.kubernetes import labels
from adapters.deployers.kubernetes.attempt import Attempt, Shared
from adapters.deployers.kubernetes.beside import Beside
from adapters.deployers.kubernetes.changes import Changes
from adapters.deployers.kubernetes.fence import Fence
from adapters.deployers.kubernetes.seeing import (
    Sight,
    is_observed,
    made_of,
    newest_of,
    order_of,
    replicas_of,
)
from adapters.deployers.kubernetes.template import options_of
from adapters.errors import Retryable, StillInUse, UnknownVersion
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.errors import Conflicted, Missing
from adapters.kubernetes.resources import DEPLOYMENTS, Json
from adapters.ports import Drain, Report, StillRouted
from schemas.base import ServiceName, Version
from schemas.deployment import InstanceState, VersionState, WantedVersion

_SERVICE: Final = TypeAdapter[str](ServiceName)
_VERSION: Final = TypeAdapter[str](Version)
_TRIES: Final = 20


class KubernetesDeployer:
    """A `Deployer` over the Kubernetes API.

    Args:
        connection: what reaches the cluster, and which namespace.
        owner: the name of this Aviary; objects of other owners are foreign.
        clock: seconds that only grow.
        now: the time of day.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        connection: KubernetesConnection,
        owner: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = KubernetesClient(connection, sleep=sleep, clock=clock, now=now)
        self._fence = Fence(self._client, owner, now)
        self._sight = Sight(self._client, owner)
        self._beside = Beside(self._client, owner)
        self._changes = Changes(self._client, owner, sleep)
        self._shared = Shared(
            self._client, self._fence, self._sight, self._beside, self._changes, owner
        )

    async def put_up(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """Make the Deployment of a version, or take on what is there (see the port)."""
        options = options_of(wanted)
        await self._fence.take(wanted)
        return await Attempt(self._shared, wanted, options, report, drain).run()

    async def scale(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """The same for one that is up (see the port)."""
        newest = await self._fence.newest(wanted.service, wanted.version)
        check_wanted(wanted, newest)
        if newest is None or newest.down:
            raise UnknownVersion(f"{wanted.service} {wanted.version}: it is not up")
        return await self.put_up(wanted, report, drain)

    async def take_down(
        self, service: str, version: str, generation: int, still_routed: StillRouted
    ) -> None:
        """End all pods of a version, and keep its Deployment for a while (see the port)."""
        check_take_down(service, version, generation, await self._fence.newest(service, version))
        if await still_routed():
            raise StillInUse(f"{service} {version}: its route names it; nothing was touched")
        await self._fence.take_down(service, version, generation)
        async with self._changes.of(service, version) as woken:
            while True:
                mine = await self._sight.deployments(service, version)
                for one in mine:
                    await self._emptied(one)
                # A controller that has not seen it yet may still make a pod.
                if all(map(_is_empty, mine)) and not await self._sight.pods(service, version):
                    break
                await woken.wait()
        await self._prune(service)
        await self._fence.sweep(service)

    async def versions(self, service: str | None = None) -> Sequence[VersionState]:
        """The versions that have Deployments or pods, or shall have (see the port)."""
        deployments = _by_version(await self._sight.deployments(service))
        pods = _by_version(await self._sight.pods(service))
        fences = await self._fence.every(service)
        found = []
        for whose in sorted(deployments.keys() | pods.keys() | fences.keys()):
            mark, mine = fences.get(whose), deployments[whose]
            is_down = mark.obeyed.down if mark is not None else all(map(_is_down, mine))
            if not _are_names(*whose) or (is_down and not pods[whose]):
                continue
            newest = newest_of(mine)
            order = order_of(whose, mark.obeyed if mark is not None else None, newest)
            seen = await self._sight.seen(order, made_of(newest), mine, pods[whose])
            state = seen.with_order(mark.order if mark is not None else None).state
            found.append(_down(state) if is_down else state)
        return tuple(found)

    async def aclose(self) -> None:
        """Let go of connections; what was put up stays up."""
        await self._changes.aclose()
        await self._client.aclose()

    async def _emptied(self, deployment: Json) -> None:
        """Have no pod of it, whoever writes it meanwhile.

        Raises:
            Retryable: others write it all the time.
        """
        name, namespace = deployment["metadata"]["name"], await self._client.namespace()
        uid, found = deployment["metadata"]["uid"], deployment
        for _ in range(_TRIES):
            if _is_down(found) and not replicas_of(found):
                return
            try:
                await self._sight.write(found, {labels.DOWN: "true", labels.WANTED: "0"}, 0)
            except Conflicted:
                read = await self._client.get(DEPLOYMENTS, name, namespace)
                if read is None or read["metadata"]["uid"] != uid:
                    return
                found = read
            except Missing:
                return
            else:
                return
        raise Retryable(f"Deployment {namespace}/{name} was written by others {_TRIES} times")

    async def _prune(self, service: str) -> None:
        """Delete Deployments that were taken down, but for the newest."""
        down = [one for one in await self._sight.deployments(service) if _is_down(one)]
        down.sort(key=lambda one: labels.number(one, labels.GENERATION), reverse=True)
        most = labels.number(down[0], labels.KEEP) if down else 0
        for one in down[most:]:
            if await self._deleted(one):
                await self._beside.remove(*labels.whose(one))

    async def _deleted(self, deployment: Json) -> bool:
        """Delete one that was taken down; False where it was put up again meanwhile."""
        found: Json | None = deployment
        name, uid = deployment["metadata"]["name"], deployment["metadata"]["uid"]
        namespace = await self._client.namespace()
        for _ in range(_TRIES):
            if found is None:
                return True
            if found["metadata"]["uid"] != uid or not _is_down(found):
                return False
            version = found["metadata"]["resourceVersion"]
            try:
                await self._client.delete(DEPLOYMENTS, name, namespace, uid=uid, version=version)
            except Conflicted:  # its controller counts pods in it
                found = await self._client.get(DEPLOYMENTS, name, namespace)
            else:
                return True
        return False  # the next to take one down looks at it again


def _by_version(things: Iterable[Json]) -> defaultdict[tuple[str, str], list[Json]]:
    found: defaultdict[tuple[str, str], list[Json]] = defaultdict(list)
    for one in things:
        found[labels.whose(one)].append(one)
    return found


def _is_down(deployment: Json) -> bool:
    return labels.said(deployment).get(labels.DOWN) == "true"


def _is_empty(deployment: Json) -> bool:
    """Whether its controller has seen that it shall have no pod, and none is counted."""
    counted = int((deployment.get("status") or {}).get("replicas") or 0)
    return not replicas_of(deployment) and is_observed(deployment) and not counted


def _are_names(service: str, version: str) -> bool:
    """Whether labels can be Aviary's: somebody else may have written others."""
    try:
        _SERVICE.validate_python(service)
        _VERSION.validate_python(version)
    except ValidationError:
        return False
    return True


def _down(state: VersionState) -> VersionState:
    """Of one that is being taken down."""
    instances = (
        one.model_copy(update={"state": InstanceState.DRAINING}) for one in state.instances
    )
    fields = {"instances": tuple(instances), "wanted": 0, "trouble": None, "text": ""}
    return state.model_copy(update=fields)
