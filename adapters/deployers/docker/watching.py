"""Looks at containers, each with its probe and the end of its log, and ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import aiohttp

from adapters.deployers.docker import labels
from adapters.deployers.docker.body import hider_of, probe_of
from adapters.deployers.docker.engine import Engine
from adapters.deployers.docker.looking import Look, look, with_log
from adapters.deployers.docker.probing import refused
from schemas.deployment import InstanceState, Trouble

_LINES: Final = 5
_GRACE_S: Final = 10


class Watch:
    """The containers of one daemon."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def looks(self, containers: Iterable[str]) -> dict[str, Look]:
        """How they are, by what they were asked by; one that has gone is left out."""
        asked = tuple(containers)
        found = await asyncio.gather(*(self._look(one) for one in asked))
        return {name: one for name, one in zip(asked, found, strict=True) if one is not None}

    async def end(self, container: str) -> None:
        """SIGTERM, its grace, SIGKILL, and away with it."""
        found = await self._engine.inspect(container)
        if found is None:
            return
        name = str(found.get("Name", "")).lstrip("/")
        if not name.endswith(labels.GOING):  # so that a newer order does not count on it
            await self._engine.rename(container, f"{name}{labels.GOING}")
        grace = found.get("Config", {}).get("StopTimeout")
        await self._engine.stop(container, float(grace if isinstance(grace, int) else _GRACE_S))
        await self._engine.remove(container)

    async def _look(self, container: str) -> Look | None:
        found = await self._engine.inspect(container)
        if found is None:
            return None
        hide = await asyncio.to_thread(hider_of, found, self._engine.connection)
        one = look(found, self._engine.connection.published_at, self._now())
        if one.wants_log:
            one = with_log(one, await self._engine.last_lines(container, _LINES))
        one = await self._probed(one, probe_of(labels.labels_of(found)))
        instance = one.instance.model_copy(update={"text": hide(one.instance.text)})
        return replace(one, instance=instance)

    async def _probed(self, one: Look, probe: dict[str, Any] | None) -> Look:
        endpoint = one.instance.endpoint
        if probe is None or endpoint is None or one.state is not InstanceState.READY:
            return one
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
        why = await refused(self._session, endpoint, probe)
        if not why:
            return replace(one, is_plain=False)
        start = probe.get("start")
        instance = one.instance.model_copy(
            update={"state": InstanceState.NOT_READY, "text": f"its check fails: {why}"}
        )
        return replace(
            one,
            instance=instance,
            trouble=Trouble.PROBE_FAILED,
            patience_s=float(start) if isinstance(start, int | float) else 0.0,
        )
