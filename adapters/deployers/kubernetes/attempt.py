"""One order carried out: a Deployment made and filled, and watched until its pods are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adapters.deployers.kubernetes import labels
from adapters.deployers.kubernetes.beside import Beside
from adapters.deployers.kubernetes.changes import Changes
from adapters.deployers.kubernetes.fence import Fence, remembered
from adapters.deployers.kubernetes.looking import Look
from adapters.deployers.kubernetes.options import KubernetesOptions
from adapters.deployers.kubernetes.seeing import ObservedVersion, Sight, replicas_of
from adapters.deployers.kubernetes.template import deployment_of, find_template
from adapters.deployers.kubernetes.troubles import TroubledError, of_conflict, of_denied
from adapters.errors import StaleGeneration
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.errors import Conflicted, Denied, Missing
from adapters.kubernetes.resources import DEPLOYMENTS, PODS, Json
from adapters.ports import Drain, Report
from schemas.deployment import Trouble, VersionState, WantedVersion

_AGAIN_S: Final = 2.0
"""How soon what was refused is tried again."""
_AT_ONCE: Final = 8
_FIRST_TO_GO: Final = "-1000"


@dataclass(frozen=True)
class Shared:
    """What the attempts of one deployer share."""

    client: KubernetesClient
    fence: Fence
    sight: Sight
    beside: Beside
    changes: Changes
    owner: str


class Attempt:
    """Carries one order out.

    Args:
        shared: of the deployer.
        wanted: the order.
        options: its recipe.
        report: told whenever the state has changed.
        drain: awaited before pods that go are told to end.
    """

    def __init__(
        self,
        shared: Shared,
        wanted: WantedVersion,
        options: KubernetesOptions,
        report: Report,
        drain: Drain | None,
    ) -> None:
        self._shared, self._wanted, self._options = shared, wanted, options
        self._report, self._drain = report, drain
        self._last: VersionState | None = None

    async def run(self) -> VersionState:
        """Go on until it is so.

        Raises:
            StaleGeneration, Terminal, Retryable: as the port says.
        """
        wanted = self._wanted
        async with self._shared.changes.of(wanted.service, wanted.version) as woken:
            while True:
                troubled = await self._tried()
                seen = await self._see(troubled)
                if troubled is None and seen.is_so and not seen.surplus:
                    self._tell(seen.state)
                    return seen.state
                self._tell(seen.state)
                await self._shared.fence.check_still(wanted)
                if troubled is None and seen.is_so and await self._surplus_goes(seen):
                    continue
                await woken.wait(*([_AGAIN_S] if troubled is not None else []))

    async def _see(self, troubled: TroubledError | None) -> ObservedVersion:
        wanted = self._wanted
        seen = await self._shared.sight.of(wanted.service, wanted.version, wanted)
        seen = seen.with_order(remembered(wanted))
        return seen if troubled is None else seen.with_trouble(troubled.trouble, troubled.text)

    def _tell(self, state: VersionState) -> None:
        if state != self._last:
            self._last = state
            self._report(state)

    # --- what there is to be ---

    async def _tried(self) -> TroubledError | None:
        """Have the objects so; the trouble that keeps them from it."""
        try:
            await self._have()
        except TroubledError as error:
            return error
        except Denied as error:
            if error.by_role:
                raise
            return of_denied(error)
        return None

    async def _have(self) -> None:
        wanted = self._wanted
        found = await self._deployment()
        if found is None:
            found = await self._made()
        least = max(wanted.instances, replicas_of(found))
        port = labels.said(found).get(labels.PORT, "0")
        await self._shared.beside.have(wanted, self._options, found["metadata"]["name"], port)
        obeyed = labels.annotations_of(wanted)
        if replicas_of(found) < least or not obeyed.items() <= labels.said(found).items():
            # What was read may have been emptied by a newer order: its fence was before that.
            await self._shared.fence.check_still(wanted)
            await self._write(found, least)

    async def _deployment(self) -> Json | None:
        """The version's Deployment, made of what is wanted."""
        for one in await self._shared.sight.deployments(self._wanted.service, self._wanted.version):
            if labels.said(one, "labels").get(labels.MADE_OF) == self._wanted.made_of:
                return one
        return None

    async def _made(self) -> Json:
        """Make it, without pods, and look at the fence again before it may have any."""
        client, wanted = self._shared.client, self._wanted
        template = await find_template(client, wanted, self._options)
        body = deployment_of(template, wanted, self._options, self._shared.owner)
        namespace, name = await client.namespace(), await self._free_name()
        body["metadata"]["name"] = name
        try:
            made = await client.apply(DEPLOYMENTS, body, namespace)
        except Conflicted as error:
            raise of_conflict(error, f"Deployment {namespace}/{name}") from None
        try:
            await self._shared.fence.check_still(wanted)
        except StaleGeneration:
            uid = made["metadata"]["uid"]
            if not replicas_of(made):
                await client.delete(DEPLOYMENTS, name, namespace, uid=uid)
            raise
        return made

    async def _free_name(self) -> str:
        """The version's own name; with a digest where one made of something else has it.

        Raises:
            TroubledError: somebody else has it.
        """
        wanted, client = self._wanted, self._shared.client
        name, namespace = labels.name_of(wanted.service, wanted.version), await client.namespace()
        mine = labels.of(self._shared.owner, wanted.service, wanted.version)
        for each in (name, f"{name}-{wanted.made_of[:6]}"):
            found = await client.get(DEPLOYMENTS, each, namespace)
            if found is None:
                return each
            if not mine.items() <= labels.said(found, "labels").items():
                text = f"Deployment {namespace}/{each} is not Aviary's"
                raise TroubledError(Trouble.NAME_TAKEN, text)
        raise TroubledError(Trouble.NAME_TAKEN, f"Deployment {namespace}/{name}: being replaced")

    async def _write(self, found: Json, replicas: int) -> None:
        """Write an order on a Deployment, over what was read; who wrote meanwhile is seen next."""
        try:
            await self._shared.sight.write(found, labels.annotations_of(self._wanted), replicas)
        except (Conflicted, Missing):
            await self._shared.fence.check_still(self._wanted)

    # --- what is not wanted goes ---

    async def _surplus_goes(self, seen: ObservedVersion) -> bool:
        """Drain and end what is not wanted; whether there was anything to do."""
        shrinks = seen.current is not None and seen.replicas > self._wanted.instances
        if not seen.others and (not shrinks or seen.is_autoscaled):
            return False  # they are told to end already
        if self._drain is not None:
            await self._drain(seen.state)
        await self._shared.fence.check_still(self._wanted)
        client = self._shared.client
        namespace = await client.namespace()
        for one in seen.others:
            about = one["metadata"]
            await client.delete(DEPLOYMENTS, about["name"], namespace, uid=about["uid"])
        if seen.current is not None and shrinks and not seen.is_autoscaled:
            await self._first_to_go(namespace, seen.surplus)
            await self._write(seen.current, self._wanted.instances)
        return True

    async def _first_to_go(self, namespace: str, leaving: Sequence[Look]) -> None:
        """Have the ReplicaSet take these, and not others."""
        body = {"metadata": {"annotations": {labels.DELETION_COST: _FIRST_TO_GO}}}
        mine = [one for one in leaving if one.made_of == self._wanted.made_of]
        for start in range(0, len(mine), _AT_ONCE):
            await asyncio.gather(
                *(self._marked(namespace, one, body) for one in mine[start : start + _AT_ONCE])
            )

    async def _marked(self, namespace: str, one: Look, body: Json) -> None:
        try:
            await self._shared.client.patch(PODS, one.instance.name, body, namespace)
        except Missing:
            return  # it has gone by itself
