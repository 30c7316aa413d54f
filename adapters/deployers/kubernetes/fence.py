"""The fence: which order about a version was obeyed last, in a Lease beside it.

The Lease outlives the version. It is written over the resourceVersion that was read, so that of two
orders one comes second and sees the other. What an order writes then, it writes over what it has
read as well, and reads the fence again after it has made something: a late order either finds the
object changed, or takes back a Deployment that never had a pod.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from adapters.deployers.fence import Obeyed, check_still, check_take_down, check_wanted
from adapters.deployers.kubernetes import labels
from adapters.errors import Retryable
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.errors import Conflicted
from adapters.kubernetes.resources import LEASES, Json
from schemas.deployment import WantedVersion

KEPT: Final = timedelta(days=30)
"""How long that of a version that is gone stays; no order is ever that late."""
_TRIES: Final = 20
_LONGEST_ORDER: Final = 100_000
"""Bytes of an order that is remembered: all annotations of an object are 262,144 at most."""
_FENCE: Final = "fence"


@dataclass(frozen=True)
class Mark:
    """What was obeyed of a version."""

    obeyed: Obeyed
    order: WantedVersion | None
    """The order itself; None where the version is down, or it was too long to be written down."""


class Fence:
    """The fences of one owner in one namespace.

    Args:
        client: of the cluster.
        owner: the name of this Aviary.
        now: the time of day.
    """

    def __init__(self, client: KubernetesClient, owner: str, now: Callable[[], datetime]) -> None:
        self._client, self._owner, self._now = client, owner, now

    async def newest(self, service: str, version: str) -> Obeyed | None:
        """The order that was obeyed last; None: there was none."""
        return _obeyed(await self._read(service, version))

    async def every(self, service: str | None = None) -> dict[tuple[str, str], Mark]:
        """Those that there are, by service and version."""
        return {
            labels.whose(one): Mark(obeyed, _order(one, obeyed))
            for one in await self._all(service)
            if (obeyed := _obeyed(one)) is not None
        }

    async def check_still(self, wanted: WantedVersion) -> None:
        """Check that an order that is being obeyed was not overtaken.

        Raises:
            StaleGeneration: it was.
        """
        check_still(wanted, await self.newest(wanted.service, wanted.version))

    async def take(self, wanted: WantedVersion) -> None:
        """Write an order down, so that every smaller one is refused from now on.

        Raises:
            StaleGeneration: a newer order was obeyed.
        """
        await self._take(
            wanted.service,
            wanted.version,
            Obeyed.of(wanted),
            lambda obeyed: check_wanted(wanted, obeyed),
            _written(wanted),
        )

    async def take_down(self, service: str, version: str, generation: int) -> None:
        """The same for the order to take a version down.

        Raises:
            StaleGeneration: a newer order was obeyed.
        """
        await self._take(
            service,
            version,
            Obeyed(generation=generation),
            lambda obeyed: check_take_down(service, version, generation, obeyed),
        )

    async def sweep(self, service: str) -> None:
        """Forget versions that were taken down longer ago than any order can be."""
        oldest = self._now() - KEPT
        for one in await self._all(service):
            obeyed, since = _obeyed(one), _time(one.get("spec", {}).get("renewTime"))
            if obeyed is not None and obeyed.down and since is not None and since < oldest:
                about = one["metadata"]
                await self._client.delete(
                    LEASES,
                    about["name"],
                    await self._client.namespace(),
                    version=about["resourceVersion"],
                )

    async def _take(
        self,
        service: str,
        version: str,
        obeyed: Obeyed,
        check: Callable[[Obeyed | None], None],
        order: str = "",
    ) -> None:
        for _ in range(_TRIES):
            found = await self._read(service, version)
            before = _obeyed(found)
            check(before)
            if before == obeyed:
                return
            try:
                await self._write(service, version, obeyed, order, found)
            except Conflicted:
                continue  # somebody else has written: who is second looks again
            return
        raise Retryable(f"{service} {version}: its Lease was written by others {_TRIES} times")

    async def _write(
        self, service: str, version: str, obeyed: Obeyed, order: str, found: Json | None
    ) -> None:
        namespace = await self._client.namespace()
        made = labels.of(self._owner, service, version) | {labels.PART: _FENCE}
        said = {
            labels.VERSION: version,
            labels.GENERATION: str(obeyed.generation),
            labels.ORDER: obeyed.digest,
        } | ({labels.ORDERED: order} if order else {})
        about: Json = {"name": self._name(service, version), "labels": made, "annotations": said}
        body: Json = {"apiVersion": LEASES.api, "kind": LEASES.kind, "metadata": about}
        moment = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body["spec"] = {"holderIdentity": self._owner, "renewTime": moment}
        if found is None:
            await self._client.create(LEASES, body, namespace)
            return
        about["resourceVersion"] = found["metadata"]["resourceVersion"]
        await self._client.replace(LEASES, body, namespace)

    async def _read(self, service: str, version: str) -> Json | None:
        name = self._name(service, version)
        return await self._client.get(LEASES, name, await self._client.namespace())

    async def _all(self, service: str | None) -> list[Json]:
        wanted = f"{labels.matching(self._owner, service)},{labels.PART}={_FENCE}"
        found, _ = await self._client.list_all(
            LEASES, await self._client.namespace(), labels=wanted
        )
        return found

    def _name(self, service: str, version: str) -> str:
        whose = f"{self._owner}/{service}/{version}"
        return f"aviary-fence-{hashlib.sha256(whose.encode()).hexdigest()[:20]}"


def _obeyed(lease: Json | None) -> Obeyed | None:
    if lease is None:
        return None
    said = labels.said(lease)
    try:
        return Obeyed(
            generation=labels.number(lease, labels.GENERATION),
            digest=str(said.get(labels.ORDER, "")),
        )
    except ValidationError:
        return None


def remembered(wanted: WantedVersion) -> WantedVersion | None:
    """The order as it is handed back later: None where it is too long to be written down."""
    return wanted if _written(wanted) else None


def _written(wanted: WantedVersion) -> str:
    text = wanted.model_dump_json()
    return text if len(text.encode()) <= _LONGEST_ORDER else ""


def _order(lease: Json, obeyed: Obeyed) -> WantedVersion | None:
    """The order beside what was obeyed: secrets are named in it, and no more.

    One that somebody else has changed is none.
    """
    try:
        found = WantedVersion.model_validate_json(str(labels.said(lease).get(labels.ORDERED, "")))
    except ValidationError:
        return None
    is_its = (found.service, found.version) == labels.whose(lease)
    return found if is_its and Obeyed.of(found) == obeyed else None


def _time(said: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return found if found.tzinfo else None
