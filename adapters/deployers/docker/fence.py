"""The fence: which order about a version was obeyed last, kept on the host itself.

A labelled volume a version says it: it outlives the containers, a crash and a restart of the
daemon, and so the version itself (then it is a tombstone). It is written before anything is done
and read after, by both sides of a race: whoever writes second sees the other. So of two orders the
smaller one either finds the larger, and takes back what it made, or had made it before the larger
looked.

A container is made, the fence is read, and only then it is started. What a killed process can leave
of a late order is a container that never ran, which `versions` shows and `take_down` removes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from adapters.deployers.docker import labels
from adapters.deployers.docker.engine import Engine
from adapters.deployers.fence import Obeyed, check_still, check_take_down, check_wanted
from adapters.errors import StaleGeneration
from schemas.deployment import WantedVersion

KEPT: Final = timedelta(days=30)
"""How long a tombstone stays; no order is ever that late."""


@dataclass(frozen=True)
class Mark:
    """One order, as a volume says it."""

    volume: str
    service: str
    version: str
    release: str
    obeyed: Obeyed
    wanted: int
    order: WantedVersion | None
    made: datetime | None

    @classmethod
    def of(cls, volume: dict[str, Any]) -> Mark:
        """Of a volume, as the daemon lists it."""
        said = labels.labels_of(volume)
        return cls(
            volume=str(volume.get("Name", "")),
            service=said.get(labels.SERVICE, ""),
            version=said.get(labels.VERSION, ""),
            release=said.get(labels.RELEASE, ""),
            obeyed=Obeyed(
                generation=labels.number(said, labels.GENERATION),
                digest=said.get(labels.ORDER, ""),
            ),
            wanted=labels.number(said, labels.WANTED),
            order=_order(said.get(labels.ORDERED)),
            made=_time(volume.get("CreatedAt")),
        )

    @property
    def rank(self) -> tuple[int, bool]:
        """Grows with every order; of one generation, to take down is the last."""
        return self.obeyed.generation, self.obeyed.down


class Fence:
    """The fences of one owner on one host."""

    def __init__(self, engine: Engine, owner: str, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._owner = owner
        self._now = now

    async def marks(self, service: str | None = None, version: str | None = None) -> list[Mark]:
        """Those that there are, the newest of a version last."""
        wanted = labels.matching(self._owner, service, version, labels.FENCE_KIND)
        found = [Mark.of(one) for one in await self._engine.volumes(wanted)]
        return sorted(found, key=lambda one: one.rank)

    async def newest(self, service: str, version: str) -> Mark | None:
        """The order that was obeyed last; None: there was none."""
        return next(reversed(await self.marks(service, version)), None)

    async def check_still(self, wanted: WantedVersion) -> None:
        """Check that an order that is being obeyed was not overtaken.

        Raises:
            StaleGeneration: it was.
        """
        newest = await self.newest(wanted.service, wanted.version)
        check_still(wanted, newest.obeyed if newest else None)

    async def check_not_older(self, wanted: WantedVersion) -> None:
        """Let through what belongs to a version that is up, or was never heard of.

        Raises:
            StaleGeneration: a newer order was obeyed.
        """
        newest = await self.newest(wanted.service, wanted.version)
        check_take_down(
            wanted.service, wanted.version, wanted.generation, newest.obeyed if newest else None
        )

    async def take(self, wanted: WantedVersion) -> None:
        """Write an order down, so that every smaller one is refused from now on.

        Raises:
            StaleGeneration: a newer order was obeyed.
        """

        def check(obeyed: Obeyed | None) -> None:
            check_wanted(wanted, obeyed)

        await self._take(wanted, Obeyed.of(wanted), check)

    async def take_down(self, order: WantedVersion) -> None:
        """The same for the order to take a version down.

        Raises:
            StaleGeneration: a newer order was obeyed.
        """

        def check(obeyed: Obeyed | None) -> None:
            check_take_down(order.service, order.version, order.generation, obeyed)

        await self._take(order, Obeyed(generation=order.generation), check)

    async def sweep(self) -> None:
        """Forget tombstones that are older than any order can be."""
        oldest = self._now() - KEPT
        for mark in await self.marks():
            if mark.obeyed.down and mark.made is not None and mark.made < oldest:
                await self._engine.remove_volume(mark.volume)

    async def _take(
        self, order: WantedVersion, obeyed: Obeyed, check: Callable[[Obeyed | None], None]
    ) -> None:
        newest = await self.newest(order.service, order.version)
        check(newest.obeyed if newest else None)
        mine = self._name(order, obeyed)
        said = labels.of(labels.FENCE_KIND, self._owner, order)
        said |= {labels.WANTED: str(order.instances), labels.ORDER: obeyed.digest}
        if obeyed.digest:
            said[labels.ORDERED] = order.model_dump_json()
        if newest is None or newest.volume != mine:
            await self._engine.make_volume(mine, said)
        marks = await self.marks(order.service, order.version)
        others = [one for one in marks if one.volume != mine]
        try:
            for one in others:
                check(one.obeyed)
        except StaleGeneration:
            await self._engine.remove_volume(mine)
            raise
        for one in others:
            await self._engine.remove_volume(one.volume)

    def _name(self, order: WantedVersion, obeyed: Obeyed) -> str:
        whose = f"{self._owner}/{order.service}/{order.version}"
        digest = hashlib.sha256(whose.encode()).hexdigest()[:20]
        prefix = self._engine.connection.prefix
        return f"{prefix}-fence-{digest}-{obeyed.generation}-{obeyed.digest or 'down'}"


def _order(said: str | None) -> WantedVersion | None:
    """The whole order, as `versions` hands it back; secrets are named in it, and no more."""
    try:
        return WantedVersion.model_validate_json(said) if said else None
    except ValidationError:
        return None


def _time(said: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return found if found.tzinfo else None
