"""A version as the cluster has it: its Deployments, its pods, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from adapters.deployers.fence import Obeyed
from adapters.deployers.kubernetes import labels
from adapters.deployers.kubernetes.looking import Look, as_draining, look, with_words
from adapters.deployers.kubernetes.troubles import TroubledError, of_failed_create
from adapters.errors import AdapterError
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.errors import Conflicted, Refused
from adapters.kubernetes.resources import DEPLOYMENTS, EVENTS, PODS, Json
from schemas.deployment import (
    INSTANCES_MOST,
    InstanceState,
    Trouble,
    VersionState,
    WantedVersion,
)

NOBODY: Final = "none"
"""The release of a version of which nobody says who wanted it."""
_LINES: Final = 5
_WORDS_OF: Final = 3
"""Pods whose log or events are asked for, of one version at a time."""


@dataclass(frozen=True)
class ObservedVersion:
    """A version at a moment."""

    state: VersionState
    is_so: bool
    """Whether the wanted pods are ready, for as long as the Deployment asks."""
    surplus: tuple[Look, ...]
    """Pods that are not wanted."""
    current: Json | None
    """The Deployment that is made of what is wanted."""
    others: tuple[Json, ...]
    """Those that are not."""

    @property
    def replicas(self) -> int:
        """Of the Deployment that is made of what is wanted."""
        return 0 if self.current is None else replicas_of(self.current)

    @property
    def is_autoscaled(self) -> bool:
        """Whether its HorizontalPodAutoscaler may have more pods than were ordered."""
        return self.current is not None and _is_autoscaled(self.current)

    def with_order(self, order: WantedVersion | None) -> ObservedVersion:
        """The same with what made it so, where that is remembered."""
        return replace(self, state=self.state.model_copy(update={"order": order}))

    def with_trouble(self, trouble: Trouble, text: str) -> ObservedVersion:
        """The same with trouble that no pod has."""
        return replace(self, state=self.state.model_copy(update={"trouble": trouble, "text": text}))


class Sight:
    """Looks at versions of one owner in one namespace."""

    def __init__(self, client: KubernetesClient, owner: str) -> None:
        self._client, self._owner = client, owner

    async def deployments(
        self, service: str | None = None, version: str | None = None
    ) -> list[Json]:
        """Those of a version, of a service, or all."""
        return await self._listed(DEPLOYMENTS, service, version)

    async def pods(self, service: str | None = None, version: str | None = None) -> list[Json]:
        """Likewise."""
        return await self._listed(PODS, service, version)

    async def of(self, service: str, version: str, wanted: WantedVersion) -> ObservedVersion:
        """How a version is, held against an order."""
        deployments = await self.deployments(service, version)
        pods = await self.pods(service, version)
        return await self.seen(wanted, wanted.made_of, deployments, pods)

    async def seen(
        self,
        wanted: WantedVersion,
        wished: str,
        deployments: Sequence[Json],
        pods: Sequence[Json],
    ) -> ObservedVersion:
        """The same of what was listed.

        Args:
            wanted: the order.
            wished: what the pods that are wanted are made of.
            deployments: of the version.
            pods: of the version.
        """
        current = next((one for one in deployments if made_of(one) == wished), None)
        others = tuple(one for one in deployments if made_of(one) != wished)
        ports = {made_of(one): labels.number(one, labels.PORT) for one in deployments}
        looks = [look(one, ports.get(made_of(one), 0)) for one in pods]
        alive = [one for one in looks if one.instance.state is not InstanceState.DRAINING]
        mine = sorted((one for one in alive if one.made_of == wished), key=_worth)
        is_free = bool(wanted.instances and current is not None and _is_autoscaled(current))
        kept = mine if is_free else mine[: wanted.instances]
        kept = await self._with_words(kept)
        names = {one.instance.name for one in kept}
        surplus = tuple(one for one in looks if one.instance.name not in names)
        trouble, text = _trouble(kept, current, wanted.instances)
        instances = [one.instance for one in kept] + [as_draining(one) for one in surplus]
        state = _state(wanted, instances, trouble, text)
        return ObservedVersion(
            state=state,
            is_so=_is_so(state, current, wanted.instances),
            surplus=surplus,
            current=current,
            others=others,
        )

    async def write(self, found: Json, said: dict[str, str], replicas: int) -> Json:
        """Write annotations and a number of pods on a Deployment of ours, over what was read.

        What others write on it meanwhile is in nobody's way: the server holds the order that was
        read, and the number of pods, against what is there.

        Raises:
            Conflicted: it obeys another order by now, or has another number of pods.
            Missing, Retryable, Terminal: of the cluster.
        """
        name, namespace = found["metadata"]["name"], await self._client.namespace()
        tests = _order_on(found)
        body = [{"op": "test", "path": path, "value": value} for path, value in tests.items()]
        body += [{"op": "add", "path": _at(each), "value": text} for each, text in said.items()]
        body += [{"op": "add", "path": "/spec/replicas", "value": replicas}]
        try:
            return await self._client.patch(DEPLOYMENTS, name, body, namespace)
        except Refused:
            now = await self._client.get(DEPLOYMENTS, name, namespace)
            if now is not None and _order_on(now) == tests:
                raise
            text = f"Deployment {namespace}/{name}: it obeys another order by now"
            raise Conflicted(text) from None

    async def _listed(self, resource: Any, service: str | None, version: str | None) -> list[Json]:
        mine = labels.matching(self._owner, service, version)
        found, _ = await self._client.list_all(
            resource, await self._client.namespace(), labels=mine
        )
        return found

    async def _with_words(self, looks: Sequence[Look]) -> list[Look]:
        """With the end of the log, or the last event, of the first that are in trouble."""
        left, found = _WORDS_OF, []
        for one in looks:
            if left and (one.log_of or one.is_failing):
                left -= 1
                found.append(await self._logged(one) if one.log_of else await self._heard(one))
            else:
                found.append(one)
        return found

    async def _logged(self, one: Look) -> Look:
        namespace, name = await self._client.namespace(), one.instance.name
        for previous in (True, False):
            try:
                text = await self._client.logs(
                    name, namespace, one.log_of, lines=_LINES, previous=previous
                )
            except AdapterError:
                continue  # a node that is away; the exit code is told all the same
            if text.strip():
                return with_words(one, f"last lines: {' / '.join(text.strip().splitlines())}")
        return one

    async def _heard(self, one: Look) -> Look:
        """What the kubelet says of a pod that runs and is not ready."""
        namespace = await self._client.namespace()
        found, _ = await self._client.list_all(
            EVENTS, namespace, fields=f"involvedObject.uid={one.uid},reason=Unhealthy"
        )
        said = sorted(found, key=lambda each: str(each.get("lastTimestamp") or ""))
        if not said:
            return one
        return with_words(one, str(said[-1].get("message") or ""), Trouble.PROBE_FAILED)


def _order_on(deployment: Json) -> dict[str, Any]:
    """What says which order a Deployment obeys, by its place."""
    said, obeyed = labels.said(deployment), (labels.GENERATION, labels.DOWN)
    return {
        "/metadata/uid": deployment["metadata"]["uid"],
        **{_at(name): said[name] for name in obeyed if name in said},
        "/spec/replicas": replicas_of(deployment),
    }


def _at(annotation: str) -> str:
    return f"/metadata/annotations/{annotation.replace('~', '~0').replace('/', '~1')}"


def order_of(whose: tuple[str, str], obeyed: Obeyed | None, newest: Json | None) -> WantedVersion:
    """The order that a version obeys, as its newest Deployment has it: only to be looked at."""
    said = labels.said(newest) if newest is not None else {}
    number = labels.number(newest, labels.GENERATION) if newest is not None else 0
    wanted = labels.number(newest, labels.WANTED) if newest is not None else 0
    return WantedVersion(
        service=whose[0],
        version=whose[1],
        release=said.get(labels.RELEASE) or NOBODY,
        generation=obeyed.generation if obeyed is not None else number,
        instances=min(INSTANCES_MOST, wanted),
    )


def newest_of(deployments: Sequence[Json]) -> Json | None:
    """The one of the newest order."""
    return max(deployments, key=lambda one: labels.number(one, labels.GENERATION), default=None)


def made_of(thing: Json | None) -> str:
    """What a Deployment, or a pod, is made of."""
    return "" if thing is None else str(labels.said(thing, "labels").get(labels.MADE_OF, ""))


def replicas_of(deployment: Json) -> int:
    """The pods that a Deployment is to have."""
    found = (deployment.get("spec") or {}).get("replicas")
    return found if type(found) is int else 1


def _worth(one: Look) -> tuple[bool, str]:
    """The order in which pods are kept: those that are ready first."""
    return one.instance.state is not InstanceState.READY, one.instance.name


def _is_autoscaled(deployment: Json) -> bool:
    return labels.said(deployment).get(labels.AUTOSCALED) == "true"


def _trouble(kept: Sequence[Look], current: Json | None, wanted: int) -> tuple[Trouble | None, str]:
    if not wanted:
        return None, ""
    for one in kept:
        if one.trouble is not None:
            return one.trouble, f"{one.instance.name}: {one.instance.text}"
    for one in ((current or {}).get("status") or {}).get("conditions") or ():
        if one.get("type") == "ReplicaFailure" and one.get("status") == "True":
            found: TroubledError = of_failed_create(one.get("message"))
            return found.trouble, found.text
    return None, ""


def is_observed(deployment: Json) -> bool:
    """Whether its controller has seen what was written last."""
    status, about = deployment.get("status") or {}, deployment["metadata"]
    return int(status.get("observedGeneration") or 0) >= int(about.get("generation") or 0)


def _is_so(state: VersionState, current: Json | None, wanted: int) -> bool:
    """Whether the wanted pods are ready, and have been for as long as the Deployment asks."""
    if current is None or state.trouble is not None or state.ready < wanted:
        return False
    status = current.get("status") or {}
    return is_observed(current) and int(status.get("availableReplicas") or 0) >= wanted


def _state(
    wanted: WantedVersion, instances: Sequence[Any], trouble: Trouble | None, text: str
) -> VersionState:
    return VersionState(
        service=wanted.service,
        version=wanted.version,
        release=wanted.release,
        generation=wanted.generation,
        wanted=wanted.instances,
        instances=tuple(sorted(instances, key=lambda one: one.name))[:INSTANCES_MOST],
        trouble=trouble,
        text=text,
    )
