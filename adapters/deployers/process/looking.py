"""How instances are: what their supervisors say, and what they answer themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from adapters.deployers.process.probing import HOST, why_not_ready
from adapters.deployers.process.recipe import ProcessRecipe
from adapters.deployers.process.store import Folder, Status, Store
from schemas.deployment import (
    Endpoint,
    Instance,
    InstanceState,
    Trouble,
    VersionState,
    WantedVersion,
)

_LOOP: Final = 2
"""Ends in a row that are a crash loop."""
_ANSWER_S: Final = 1.0
_LINES: Final = 5
"""Last lines of a log that are an instance's own words."""


@dataclass(frozen=True)
class Look:
    """One instance, as it was found."""

    folder: Folder
    made_of: str
    release: str
    draining: bool
    instance: Instance
    trouble: Trouble | None = None

    @property
    def state(self) -> InstanceState:
        """How it is."""
        return self.instance.state


class Looker:
    """Looks at instances.

    Args:
        client: for readiness by HTTP.
        patience: seconds that a process may run without being ready.
        now: seconds since the epoch.
    """

    def __init__(
        self, client: httpx.AsyncClient, patience: float, now: Callable[[], float]
    ) -> None:
        self._client = client
        self._patience = patience
        self._now = now

    async def all(self, store: Store, wanted: WantedVersion) -> list[Look]:
        """All instances of a version, in the order of their names."""
        folders = await asyncio.to_thread(store.instances, wanted.service, wanted.version)
        recipe = ProcessRecipe.model_validate(wanted.recipe)
        return list(await asyncio.gather(*(self._look(one, recipe) for one in folders)))

    def version(self, wanted: WantedVersion, looks: Sequence[Look]) -> VersionState:
        """A version whose instances these are."""
        current = [one for one in looks if one.made_of == wanted.made_of]
        troubled = [one for one in current if one.trouble is not None]
        ready = sum(one.state is InstanceState.READY for one in current)
        state = VersionState(
            service=wanted.service,
            version=wanted.version,
            release=wanted.release,
            generation=wanted.generation,
            wanted=wanted.instances,
            instances=tuple(one.instance for one in looks),
            order=wanted,
        )
        if not troubled or ready >= wanted.instances:
            return state
        first = troubled[0]
        text = f"{first.instance.name}: {first.instance.text}"
        return state.model_copy(update={"trouble": first.trouble, "text": text})

    def gone(self, folder: Folder) -> Instance:
        """One that is being taken down."""
        return Instance(name=folder.name, state=InstanceState.DRAINING)

    async def _look(self, folder: Folder, recipe: ProcessRecipe) -> Look:
        spec, status = await asyncio.to_thread(lambda: (folder.spec(), folder.status()))
        draining, was_ready = folder.has("draining"), folder.has("ready")
        port = int(spec.get("port", 0))
        why, state, trouble = "", InstanceState.STARTING, None
        if status.runs:
            age = self._now() - (status.started_at or 0.0)
            why = await why_not_ready(recipe.ready, port, age, self._client, _ANSWER_S)
            if not why and status.runs:
                state = InstanceState.READY
                if not was_ready:
                    await asyncio.to_thread(folder.mark, "ready")
            elif was_ready:
                state = InstanceState.NOT_READY
            if why and age > self._patience and recipe.ready.seconds is None:
                trouble = Trouble.PROBE_FAILED
        elif status.failures or status.ended or status.supervisor is not None:
            state, why, trouble = await self._ended(folder, status)
        if draining:
            state = InstanceState.DRAINING
        there = Endpoint(host=HOST, port=port) if port else None
        return Look(
            folder=folder,
            made_of=str(spec.get("made_of", "")),
            release=str(spec.get("release", "")),
            draining=draining,
            instance=Instance(name=folder.name, state=state, endpoint=there, text=why),
            trouble=trouble,
        )

    async def _ended(
        self, folder: Folder, status: Status
    ) -> tuple[InstanceState, str, Trouble | None]:
        if status.error:
            return InstanceState.FAILED, status.error, Trouble.WRONG_RECIPE
        if not status.failures and status.is_supervised:
            return InstanceState.STARTING, "", None
        lines = await asyncio.to_thread(folder.lines, _LINES)
        how = "is gone" if status.exit is None else f"ended with exit code {status.exit}"
        times = f", {status.failures} times in a row" if status.failures > 1 else ""
        text = f"{how}{times}{': ' if lines else ''}{' | '.join(lines)}"
        loops = Trouble.CRASH_LOOP if status.failures >= _LOOP else None
        return InstanceState.FAILED, text, loops
