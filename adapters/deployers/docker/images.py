"""Images: there, or pulled, with a word on how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from adapters.deployers.docker.credentials import credentials, normalized
from adapters.deployers.docker.engine import UNREACHED, Engine, EngineError
from adapters.deployers.docker.troubles import TroubledError, of_pull
from adapters.errors import Retryable
from schemas.deployment import Trouble

Say = Callable[[str], None]
_MEGA: Final = 1_000_000
_MOST_LAYERS: Final = 1_000


class Images:
    """The images of one daemon."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def have(self, name: str, pull: str, say: Say) -> None:
        """Have an image, as the recipe's `pull` says; `say` is told how far it is.

        Raises:
            TroubledError: it can't be had now: which, and why.
            Retryable: the daemon could not be asked.
        """
        if pull != "always" and await self._engine.image(name) is not None:
            return
        if pull == "never":
            raise TroubledError(
                Trouble.IMAGE_MISSING, f"{name} is not on this host, and is not pulled"
            )
        full = normalized(name)
        try:
            auth = await credentials(self._engine.connection.config_file, full)
        except Retryable as error:
            raise TroubledError(Trouble.PULL_FAILED, f"{name}: credentials: {error}") from None
        progress = _Progress(name)
        say(progress.text)
        try:
            async for one in self._engine.pull(full, auth):
                if progress.take(one):
                    say(progress.text)
        except EngineError as error:
            if error.status == UNREACHED:
                raise
            raise of_pull(name, _without(str(error), auth)) from None
        # A pull whose connection was cut ends like one that is done.
        if await self._engine.image(name) is None:
            raise TroubledError(Trouble.PULL_FAILED, f"{name} can't be pulled: it ended half-way")


class _Progress:
    """Bytes of all layers, told in steps of a twentieth."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._layers: dict[str, tuple[int, int]] = {}
        self._told = -1

    @property
    def text(self) -> str:
        done = sum(now for now, _ in self._layers.values())
        total = sum(total for _, total in self._layers.values())
        if not total:
            return f"pulling {self._image}"
        return f"pulling {self._image}: {done / _MEGA:.1f} of {total / _MEGA:.1f} MB"

    def take(self, said: dict[str, Any]) -> bool:
        """Whether there is something new to tell."""
        detail, layer = said.get("progressDetail"), said.get("id")
        if not isinstance(detail, dict) or said.get("status") != "Downloading":
            return False
        now, total = detail.get("current"), detail.get("total")
        if not (isinstance(layer, str) and isinstance(now, int) and isinstance(total, int)):
            return False
        if layer in self._layers or len(self._layers) < _MOST_LAYERS:
            self._layers[layer] = (now, total)
        every = sum(total for _, total in self._layers.values())
        step = 20 * sum(now for now, _ in self._layers.values()) // max(1, every)
        told, self._told = self._told, step
        return step != told


def _without(text: str, auth: dict[str, Any] | None) -> str:
    for name in ("password", "identitytoken"):
        secret = (auth or {}).get(name)
        if isinstance(secret, str) and len(secret) > 3:  # noqa: PLR2004 - shorter is everywhere
            text = text.replace(secret, "(hidden)")
    return text
