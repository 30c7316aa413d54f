"""A deployer whose instances are processes of this machine, each under a supervisor of its own."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
from pydantic import ValidationError

from adapters.deployers.fence import Obeyed, check_still, check_take_down, check_wanted
from adapters.deployers.process.looking import Look, Looker
from adapters.deployers.process.recipe import ProcessRecipe
from adapters.deployers.process.starting import end, free_port, is_free, spec_of, start
from adapters.deployers.process.store import Folder, Ordered, Store
from adapters.errors import StillInUse, Terminal, UnknownVersion
from adapters.ports.deploying import Drain, Report, StillRouted
from schemas.deployment import (
    InstanceState,
    OneOff,
    OneOffEnd,
    Trouble,
    VersionState,
    WantedVersion,
)

_POLL_S: Final = 0.1
_LOST: Final = 137
"""Exit code of a command whose end nobody saw."""
_NOT_STARTED: Final = 127
_LINES: Final = 50
KEPT_S: Final = 30 * 86_400.0
"""How long the fence of a version that has gone stays; no order is ever that late."""


class ProcessDeployer:
    """A `Deployer` and a `OneOffRunner`. Workers of one machine may share its folder.

    Args:
        directory: where state and logs are; on a local disk.
        owner: written on all that it makes.
        ports: that instances may have.
        client: for readiness by HTTP; closed by its owner.
        patience: seconds that a process may run without being ready before that is called trouble.
        now: seconds since the epoch.
        sleep: waits for seconds.
    """

    def __init__(  # noqa: PLR0913 - two are seams for time
        self,
        directory: Path,
        owner: str,
        *,
        ports: range,
        client: httpx.AsyncClient,
        patience: float = 5.0,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = Store(directory, owner)
        self._owner = owner
        self._ports = ports
        self._looker = Looker(client, patience, now)
        self._now = now
        self._sleep = sleep

    async def put_up(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """Make the version so (see the port)."""
        recipe = _recipe(wanted)
        await asyncio.to_thread(self._obey, wanted)
        return await self._until_ready(wanted, recipe, report, drain)

    async def scale(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """Have as many instances as wanted of a version that is up (see the port)."""
        known = await asyncio.to_thread(self._store.ordered, wanted.service, wanted.version)
        check_wanted(wanted, known.obeyed if known else None)
        if known is None or known.wanted is None:
            raise UnknownVersion(f"{wanted.service} {wanted.version}: is not up")
        return await self.put_up(wanted, report, drain)

    async def take_down(
        self, service: str, version: str, generation: int, still_routed: StillRouted
    ) -> None:
        """Take all instances of a version away (see the port)."""
        known = await asyncio.to_thread(self._store.ordered, service, version)
        check_take_down(service, version, generation, known.obeyed if known else None)
        if await still_routed():
            raise StillInUse(f"{service} {version}: the route names it; it stays up")
        folders = await asyncio.to_thread(self._order_down, service, version, generation)
        drains = [_recipe_of(known).drain.total_seconds()] if folders else []
        await self._end_all(folders, max(drains, default=0.0))
        await asyncio.to_thread(self._store.prune, self._now() - KEPT_S)

    async def versions(self, service: str | None = None) -> Sequence[VersionState]:
        """What is up, or half-made, by this owner (see the port)."""
        found = await asyncio.to_thread(lambda: list(self._store.versions(service)))
        states = [await self._state(*one) for one in found]
        return [state for state in states if state is not None]

    async def run(self, one: OneOff) -> OneOffEnd:
        """Run a command, or find its run (see the port)."""
        folder = Folder(self._store.runs / one.key)
        await asyncio.to_thread(self._begin, folder, one)
        while True:
            status = await asyncio.to_thread(folder.status)
            if status.ended or not (status.is_supervised or status.runs):
                # Once more: it may have ended between the two looks.
                status = await asyncio.to_thread(folder.status)
                break
            await self._sleep(_POLL_S)
        lines = await asyncio.to_thread(folder.lines, _LINES)
        if status.error:
            return OneOffEnd(exit_code=_NOT_STARTED, lines=(*lines, status.error))
        code = _LOST if status.exit is None else status.exit
        return OneOffEnd(exit_code=code, lines=tuple(lines))

    async def aclose(self) -> None:
        """It holds nothing."""

    def _begin(self, folder: Folder, one: OneOff) -> None:
        with self._store.lock(self._store.runs):
            # Once its supervisor has begun it is never begun again, even where that died at once.
            if folder.has("status.json"):
                return
            end(folder)
            labels = self._labels(one.wanted)
            recipe = _recipe(one.wanted)
            start(folder, spec_of(one.wanted, recipe, labels, command=one.command))

    def _labels(self, wanted: WantedVersion) -> dict[str, str]:
        return {
            "AVIARY_OWNER": self._owner,
            "AVIARY_RELEASE": wanted.release,
            "AVIARY_SERVICE": wanted.service,
            "AVIARY_VERSION": wanted.version,
            "AVIARY_GENERATION": str(wanted.generation),
        }

    def _obey(self, wanted: WantedVersion) -> None:
        with self._store.lock(self._store.version(wanted.service, wanted.version)):
            known = self._store.ordered(wanted.service, wanted.version)
            check_wanted(wanted, known.obeyed if known else None)
            ordered = Ordered(obeyed=Obeyed.of(wanted), wanted=wanted)
            if ordered != known:
                self._store.order(wanted.service, wanted.version, ordered)

    def _order_down(self, service: str, version: str, generation: int) -> list[Folder]:
        with self._store.lock(self._store.version(service, version)):
            known = self._store.ordered(service, version)
            check_take_down(service, version, generation, known.obeyed if known else None)
            down = Ordered(obeyed=Obeyed(generation=generation))
            if known != down:
                self._store.order(service, version, down)
            folders = self._store.instances(service, version)
        mine = {"service": service, "version": version}
        runs = [one for one in self._store.commands() if mine.items() <= one.spec().items()]
        return [*folders, *runs]

    async def _until_ready(
        self, wanted: WantedVersion, recipe: ProcessRecipe, report: Report, drain: Drain | None
    ) -> VersionState:
        told: VersionState | None = None
        while True:
            quota = await asyncio.to_thread(self._make_missing, wanted, recipe)
            looks = await self._looker.all(self._store, wanted)
            kept = [one for one in looks if one.made_of == wanted.made_of and not one.draining]
            ready = [one for one in kept if one.state is InstanceState.READY]
            if len(ready) >= wanted.instances:
                kept = ready[: wanted.instances]
                state = await self._end_others(wanted, kept, looks, recipe, drain)
            else:
                state = self._looker.version(wanted, looks)
                if quota:
                    more = {"trouble": Trouble.QUOTA, "text": quota}
                    state = state.model_copy(update=more)
            if state != told:
                report(state)
                told = state
            if len(ready) >= wanted.instances:
                return state
            await self._sleep(_POLL_S)

    def _make_missing(self, wanted: WantedVersion, recipe: ProcessRecipe) -> str:
        """Start as many instances as are missing; returns why there can't be more, or nothing."""
        service, version = wanted.service, wanted.version
        with self._store.lock(self._store.version(service, version)):
            known = self._store.ordered(service, version)
            check_still(wanted, known.obeyed if known else None)
            there = 0
            for folder in self._store.instances(service, version):
                spec, status = folder.spec(), folder.status()
                if folder.has("draining") or spec.get("made_of") not in {wanted.made_of, None}:
                    continue
                blocked = status.failures > 0 and not status.runs and not is_free(spec["port"])
                if not spec or blocked or not (status.is_supervised or status.runs):
                    end(folder)  # half-made, ended for good, or its port is somebody else's
                else:
                    there += 1
            for _ in range(there, wanted.instances):
                if why := self._make(wanted, recipe):
                    return why
        return ""

    def _make(self, wanted: WantedVersion, recipe: ProcessRecipe) -> str:
        name = f"{wanted.service}-{wanted.version}-{secrets.token_hex(3)}"
        folder = Folder(self._store.version(wanted.service, wanted.version) / name)
        with self._store.lock_ports():
            port = free_port(self._ports, self._store.ports())
            if port is None:
                return f"no port is free of {self._ports[0]} to {self._ports[-1]}"
            spec = spec_of(wanted, recipe, self._labels(wanted), port=port)
            Store.make(folder, spec)
        start(folder, spec)
        return ""

    async def _end_others(
        self,
        wanted: WantedVersion,
        kept: Sequence[Look],
        looks: Sequence[Look],
        recipe: ProcessRecipe,
        drain: Drain | None,
    ) -> VersionState:
        """End those that are not kept, drained first."""
        names = {one.folder.name for one in kept}
        going = [one.folder for one in looks if one.folder.name not in names]
        state = self._looker.version(wanted, kept)
        if going:
            for folder in going:
                await asyncio.to_thread(folder.mark, "draining")
            if drain is not None:
                await drain(state)
            await self._end_all(going, recipe.drain.total_seconds())
        return state

    async def _end_all(self, folders: Sequence[Folder], drain: float) -> None:
        if any(one.status().runs for one in folders) and drain:
            await self._sleep(drain)
        await asyncio.gather(*(asyncio.to_thread(end, folder) for folder in folders))

    async def _state(self, service: str, version: str) -> VersionState | None:
        known = await asyncio.to_thread(self._store.ordered, service, version)
        if known is not None and known.wanted is not None:
            looks = await self._looker.all(self._store, known.wanted)
            return self._looker.version(known.wanted, looks)
        folders = await asyncio.to_thread(self._store.instances, service, version)
        if not folders:
            return None
        # It was being taken down, and something of it is left.
        instances = tuple(self._looker.gone(folder) for folder in folders)
        generation = known.obeyed.generation if known else 0
        return VersionState(
            service=service, version=version, generation=generation, instances=instances
        )


def _recipe(wanted: WantedVersion) -> ProcessRecipe:
    try:
        return ProcessRecipe.model_validate(wanted.recipe)
    except ValidationError as error:
        raise Terminal(f"{wanted.service}: recipe: {error}") from error


def _recipe_of(known: Ordered | None) -> ProcessRecipe:
    """The recipe of what is up; of what is not, one whose times are the defaults."""
    if known is None or known.wanted is None:
        return ProcessRecipe(command=("true",))
    return _recipe(known.wanted)
