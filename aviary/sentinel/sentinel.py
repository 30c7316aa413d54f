"""One look at all routers after the other: who has a lease, and whose is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from adapters.errors import AdapterError, Retryable, StaleGeneration
from adapters.ports import Leased, Routing
from aviary.sentinel.leases import Due, Key, Watched, due, looked
from aviary.sentinel.metrics import SentinelMetrics
from schemas.catalog import Catalog
from schemas.router_spec import RouterSpec

_log = structlog.get_logger("aviary.sentinel")

READ_WITHIN_S: Final = 1.0
"""An answer of a router that takes longer is none, in this look: the others must not wait."""
WRITE_WITHIN_S: Final = 5.0
_SILENT_S: Final = 30.0
"""Between two lines in the log about one trouble that goes on."""


class Sentinel:
    """Watches the leases of the routers of a catalog.

    Args:
        router_for: finds the router of a specification, of a single one.
        catalog: the newest valid one.
        metrics: what is counted.
        clock: seconds that only grow, of this process alone.
    """

    def __init__(
        self,
        router_for: Callable[[RouterSpec], Routing],
        catalog: Callable[[], Catalog],
        metrics: SentinelMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._router_for = router_for
        self._catalog = catalog
        self._metrics = metrics
        self._clock = clock
        self._watch: dict[Key, Watched] = {}
        self._specs: list[RouterSpec] = []
        """Every router that was ever seen; its place is what a key names."""
        self._troubles: dict[str, str] = {}
        self._told: dict[str, float] = {}
        self._unconfirmed: dict[Key, Due] = {}
        """What was written, perhaps, and its router did not say so."""

    @property
    def trouble(self) -> str:
        """Why a router's leases can't be seen, or a canary not be taken back; empty: nothing."""
        return "; ".join(self._troubles[one] for one in sorted(self._troubles))

    async def look(self) -> None:
        """Look once at all routers, and take back what is due.

        A router that does not answer is left as it was seen before: nothing is concluded from
        that. One that refuses a write is written to again in the next look.
        """
        catalog, began = self._catalog(), self._clock()
        places = self._places(catalog)
        found = await asyncio.gather(*(self._read(at, names) for at, names in places.items()))
        seen = {at for at, one in zip(places, found, strict=True) if one is not None}
        now = self._clock()
        leases = {key: leased for one in found if one for key, leased in one.items()}
        fresh = looked(self._watch, leases, now)
        unseen = {key: one for key, one in self._watch.items() if key.router not in seen}
        self._watch = {**{key: one for key, one in unseen.items() if key.router in places}, **fresh}
        await self._settle(seen, fresh)
        self._metrics.leases.set(len(self._watch))
        self._metrics.silence.set(max((one.silent(began) for one in fresh.values()), default=0.0))
        needs = {name: spec.depends_on for name, spec in catalog.services.items()}
        for wave in due(fresh, began, needs):
            await asyncio.gather(*map(self._take_back, wave))

    def _places(self, catalog: Catalog) -> dict[int, list[str]]:
        """The services of each router that can carry leases, by its place."""
        found: dict[int, list[str]] = {}
        for name, spec in catalog.services.items():
            router = catalog.router(spec)
            for one in () if router is None else router.each:
                facts = catalog.router_facts(one)
                if facts is None or not facts.capabilities.leases:
                    continue
                if one not in self._specs:
                    self._specs.append(one)
                self._metrics.knows(name)
                found.setdefault(self._specs.index(one), []).append(name)
        return found

    async def _read(self, at: int, services: list[str]) -> Mapping[Key, Leased] | None:
        """The leases of one router; None where it does not answer in time."""
        spec = self._specs[at]
        about = f"router {spec.kind} {at + 1}"
        try:
            leases = self._router_for(spec).leases
            if leases is None:
                return {}
            async with asyncio.timeout(READ_WITHIN_S):
                found = await leases.leased(services)
        except TimeoutError:
            self._fails(about, "read", f"no answer within {READ_WITHIN_S:g} s")
            return None
        except AdapterError as error:
            self._fails(about, "read", str(error))
            return None
        self._troubles.pop(about, None)
        return {Key(service, at): one for service, one in found.items()}

    async def _settle(self, seen: set[int], fresh: Mapping[Key, Watched]) -> None:
        """Find out what became of writes that no router confirmed, and that are due no more."""
        for key, one in list(self._unconfirmed.items()):
            if key in fresh or key.router not in seen:
                continue
            try:
                async with asyncio.timeout(READ_WITHIN_S):
                    router = self._router_for(self._specs[key.router]).router
                    now = await router.read(key.service)
            except (AdapterError, TimeoutError):
                continue
            if now.taken_back == one.why:
                self._taken_back(one, confirmed=False)
            self._unconfirmed.pop(key)
            self._troubles.pop(_about(key), None)

    async def _take_back(self, one: Due) -> None:
        """Give stable everything, with the next generation: whoever wrote meanwhile is alive."""
        about, router = _about(one.key), self._router_for(self._specs[one.key.router]).router
        self._unconfirmed[one.key] = one
        try:
            async with asyncio.timeout(WRITE_WITHIN_S):
                await router.apply(one.route.given_back(one.why))
        except StaleGeneration as error:
            _log.info("sign_of_life", service=one.key.service, found=str(error))
        except TimeoutError:
            self._fails(about, "write", f"not written within {WRITE_WITHIN_S:g} s")
            return
        except AdapterError as error:
            self._fails(about, "write", str(error))
            return
        else:
            self._taken_back(one, confirmed=True)
        self._unconfirmed.pop(one.key)
        self._troubles.pop(about, None)
        self._watch.pop(one.key, None)

    def _taken_back(self, one: Due, *, confirmed: bool) -> None:
        route = one.route
        self._metrics.taken_back.labels(one.key.service).inc()
        _log.error(
            "taken_back",
            service=one.key.service,
            release=route.owner,
            generation=route.generation + 1,
            stable=route.stable,
            canary=route.canary,
            why=one.why,
            confirmed=confirmed,
        )

    def _fails(self, about: str, call: str, why: str) -> None:
        self._metrics.failures.labels(call).inc()
        self._troubles[about] = f"{about}: {why}"
        now = self._clock()
        if now - self._told.get(about, -_SILENT_S) >= _SILENT_S:
            self._told[about] = now
            _log.error("router_fails", router=about, call=call, error=why)


def _about(key: Key) -> str:
    return f"{key.service} at router {key.router + 1}"


def check(sentinel: Sentinel) -> None:
    """Raise `Retryable` while it can't see to all of its routers."""
    if sentinel.trouble:
        raise Retryable(sentinel.trouble)
