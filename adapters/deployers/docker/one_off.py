"""Commands that are run to their end, each in a container of its own that stays until then.

The container is the memory of the key: whoever comes again finds it. It is started by who made it,
and by somebody else only where that one has not done so for long; so of two callers at the same
moment one runs it. What remains: a caller who dies between the two, or sleeps for ten seconds there
and then goes on after another has started it and it has ended, would have it run twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from adapters.deployers.docker import labels
from adapters.deployers.docker.body import Recipe, run_body
from adapters.deployers.docker.engine import BAD, CONFLICT, UNREACHED, Engine, EngineError
from adapters.deployers.docker.fence import Fence
from adapters.deployers.docker.images import Images
from adapters.deployers.docker.troubles import TroubledError, of_start
from adapters.errors import Retryable, Terminal
from schemas.deployment import OneOff, OneOffEnd, Trouble

_LINES: Final = 50
_POLL_S: Final = 0.3
_PATIENCE: Final = 30
"""Looks at a container that another caller has made, before it is started in its place."""


class OneOffs:
    """The commands of one owner on one host."""

    def __init__(
        self,
        engine: Engine,
        fence: Fence,
        owner: str,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._engine, self._fence, self._owner, self._sleep = engine, fence, owner, sleep
        self._images = Images(engine)

    async def run(self, one: OneOff, recipe: Recipe) -> OneOffEnd:
        """Run it, or find its run, and wait for its end (see `OneOffRunner`)."""
        name = self._name(one)
        found = await self._found(name, one)
        if found is None:
            await self._fence.check_not_older(one.wanted)
            await self._have_image(recipe)
            await self._begun(name, one, recipe)
        return await self._end(name, one, recipe)

    def _name(self, one: OneOff) -> str:
        digest = hashlib.sha256(f"{self._owner}/{one.key}".encode()).hexdigest()[:20]
        return f"{self._engine.connection.prefix}-run-{digest}"

    async def _found(self, name: str, one: OneOff) -> Mapping[str, Any] | None:
        found = await self._engine.inspect(name)
        if found is None:
            return None
        said = labels.labels_of(found)
        if (said.get(labels.OWNER), said.get(labels.KEY)) != (self._owner, one.key):
            raise Terminal(f"{name}: a container that is not Aviary's has the name")
        return found

    async def _have_image(self, recipe: Recipe) -> None:
        try:
            await self._images.have(recipe.image, recipe.options.pull, lambda _: None)
        except TroubledError as error:
            raise Retryable(error.text) from None

    async def _begun(self, name: str, one: OneOff, recipe: Recipe) -> None:
        body = run_body(recipe, self._owner, one.key, one.command)
        try:
            container = await self._engine.create(name, body)
        except EngineError as error:
            if error.status == CONFLICT:
                return  # another caller was faster, and starts it
            if error.status == BAD:
                raise Terminal(f"{name}: {recipe.hide(str(error))}") from None
            raise
        await self._started(name, container, recipe)

    async def _started(self, name: str, container: str, recipe: Recipe) -> None:
        try:
            if recipe.files:
                await self._engine.put_files(container, "/run/secrets", recipe.files)
            for network in recipe.options.networks[1:]:
                await self._engine.connect(network, container)
            await self._fence.check_not_older(recipe.wanted)
            await self._engine.start(container)
        except EngineError as error:
            if error.status == UNREACHED:
                raise
            troubled = of_start(name, recipe.hide(str(error)))
            wrong = troubled.trouble is Trouble.WRONG_RECIPE
            raise (Terminal if wrong else Retryable)(troubled.text) from None

    async def _end(self, name: str, one: OneOff, recipe: Recipe) -> OneOffEnd:
        waited = 0
        while True:
            found = await self._found(name, one)
            if found is None:
                raise Retryable(f"{name}: somebody removed it before its end")
            state = found.get("State", {})
            status = state.get("Status")
            if status in {"exited", "dead"}:
                code = state.get("ExitCode")
                lines = await self._engine.last_lines(name, _LINES)
                return OneOffEnd(
                    exit_code=code if isinstance(code, int) else -1,
                    lines=tuple(recipe.hide(line) for line in lines),
                )
            if status == "created" and (waited := waited + 1) >= _PATIENCE:
                waited = 0
                await self._started(name, str(found["Id"]), recipe)
            await self._sleep(_POLL_S)
