"""What applications get: flags evaluated by the engine that Unleash's own SDKs have inside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from yggdrasil_engine.engine import UnleashEngine, YggdrasilError

from adapters.errors import Retryable
from adapters.routers.flag_people import Context, People
from adapters.routers.flag_shares import EVALUATED_WITHIN, sample
from adapters.routers.flag_shares import user as made_up
from adapters.routers.unleash.definitions import OFF, ON
from schemas.audience import TARGETING_KEY

_USER: Final = "userId"
_OWN: Final = (_USER, "sessionId", "environment", "appName", "remoteAddress")
"""Fields that Unleash knows; all others are the application's."""
NAMES: Final = {TARGETING_KEY: _USER}
"""What Unleash calls a field of an audience."""


def sticky_field(stickiness: str) -> str:
    """The field of the context that tells users apart."""
    return _USER if stickiness == "default" else stickiness


class Evaluation:
    """The flags that an application was sent.

    Args:
        features: their definitions.
        segments: that they name.
        stickiness: field of the context that tells users apart.

    Raises:
        Retryable: the engine refuses them, until somebody repairs them.
    """

    def __init__(
        self,
        features: Sequence[Mapping[str, Any]],
        segments: Sequence[Mapping[str, Any]] = (),
        stickiness: str = "default",
    ) -> None:
        self._engine = UnleashEngine()
        self._field = sticky_field(stickiness)
        state = {"version": 2, "features": features, "segments": segments}
        try:
            self._engine.take_state(json.dumps(state))
        except (YggdrasilError, TypeError, ValueError) as error:
            raise Retryable(f"Unleash's SDKs refuse the flags: {error}") from None
        self._names = {str(one.get("name")) for one in features}

    def variant(self, flag: str, user: str | Context) -> str:
        """What a user gets: `off`, a variant, or `on` where there are none.

        Args:
            flag: its name.
            user: what is said of them, or what tells them apart alone.

        Raises:
            Retryable: no such flag was sent.
        """
        if flag not in self._names:
            raise Retryable(f"flag {flag} is not sent to applications")
        found = self._engine.check_variant(flag, self._context(user)).variant
        if not found.feature_enabled:
            return OFF
        return str(found.name) if found.enabled else ON

    def with_variant(
        self, flag: str, variant: str, users: Iterable[int], people: People
    ) -> set[int]:
        """Those of some made-up users who get a variant."""
        return {number for number in users if self.variant(flag, people[number]) == variant}

    def sample(
        self,
        flag: str,
        variant: str,
        users: int,
        people: People,
        within: float = EVALUATED_WITHIN,
    ) -> tuple[set[int], int]:
        """Those who get a variant, and of how many made-up users (`flag_shares.sample`)."""
        return sample(lambda number: self.variant(flag, people[number]) == variant, users, within)

    def found(self, flag: str, users: int) -> dict[str, int]:
        """How many of so many made-up users get each variant."""
        counted: dict[str, int] = {}
        for number in range(users):
            variant = self.variant(flag, made_up(number))
            counted[variant] = counted.get(variant, 0) + 1
        return counted

    def _context(self, user: str | Context) -> dict[str, Any]:
        fields = {self._field: user} if isinstance(user, str) else user
        own = {name: value for name, value in fields.items() if name in _OWN}
        return {**own, "properties": {name: of for name, of in fields.items() if name not in own}}
