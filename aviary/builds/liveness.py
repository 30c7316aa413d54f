"""Which builds have workers that live, by their heartbeats as one observer saw them change.

The clocks of other hosts are not trusted: a worker lives while its heartbeat changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aviary.builds.server import Beat

_MISSED: Final = 4
"""A worker that has missed so many heartbeats has gone."""
_FORGOTTEN: Final = 40


@dataclass(frozen=True)
class _Heard:
    beat: Beat
    at: float


class Liveness:
    """Remembers when each worker was heard of; seconds by the observer's own clock."""

    def __init__(self, began: float, beat_s: float) -> None:
        """Nobody was heard of so far.

        Args:
            began: when the observer began: a build that it never heard of is silent since then.
            beat_s: seconds between two heartbeats of a worker.
        """
        self._began = began
        self._beat_s = beat_s
        self._heard: dict[str, _Heard] = {}
        self._last: dict[str, float] = {}

    def see(self, beats: Iterable[Beat], now: float) -> None:
        """Take the last beat of each worker, as Temporal tells it now."""
        for beat in beats:
            before = self._heard.get(beat.instance)
            if before is None or before.beat != beat:
                self._heard[beat.instance] = _Heard(beat, now)
                if beat.running:
                    self._last[beat.build_id] = now
        kept = _FORGOTTEN * self._beat_s
        self._heard = {key: one for key, one in self._heard.items() if now - one.at <= kept}

    def identities(self, build_id: str, now: float) -> frozenset[str]:
        """The processes of a build that live."""
        return frozenset(
            one.beat.identity
            for one in self._heard.values()
            if one.beat.build_id == build_id and self._lives(one, now)
        )

    def builds(self, now: float) -> frozenset[str]:
        """The builds that have a worker."""
        heard = self._heard.values()
        return frozenset(one.beat.build_id for one in heard if self._lives(one, now))

    def silent_s(self, build_id: str, now: float) -> float:
        """For how long nothing was heard of a build's workers."""
        return now - self._last.get(build_id, self._began)

    def gone(self, build_id: str, now: float) -> bool:
        """Whether a build has no workers, for longer than a heartbeat or a restart takes."""
        if build_id in self.builds(now):
            return False
        heard = [one.beat for one in self._heard.values() if one.beat.build_id == build_id]
        stopped = bool(heard) and not any(one.running for one in heard)
        # After the last one has said that it stops, another may just start: one heartbeat's time.
        return self.silent_s(build_id, now) > self._beat_s * (1 if stopped else _MISSED)

    def _lives(self, one: _Heard, now: float) -> bool:
        return one.beat.running and now - one.at <= _MISSED * self._beat_s
