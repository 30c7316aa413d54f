"""Which builds have workers that live, by their heartbeats as one observer saw them change.

The clocks of other hosts are not trusted: a worker lives while its heartbeat changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aviary.builds.server import Heartbeat

_MISSED: Final = 4
"""A worker that has missed so many heartbeats has gone."""
_FORGOTTEN: Final = 40


@dataclass(frozen=True)
class _Heard:
    heartbeat: Heartbeat
    at: float


class Liveness:
    """Remembers when each worker was heard of; seconds by the observer's own clock."""

    def __init__(self, began: float, heartbeat_s: float) -> None:
        """Nobody was heard of so far.

        Args:
            began: when the observer began: a build that it never heard of is silent since then.
            heartbeat_s: seconds between two heartbeats of a worker.
        """
        self._began = began
        self._heartbeat_s = heartbeat_s
        self._heard: dict[str, _Heard] = {}
        self._last: dict[str, float] = {}

    def see(self, heartbeats: Iterable[Heartbeat], now: float) -> None:
        """Take the last heartbeat of each worker, as Temporal tells it now."""
        for heartbeat in heartbeats:
            before = self._heard.get(heartbeat.instance)
            if before is None or before.heartbeat != heartbeat:
                self._heard[heartbeat.instance] = _Heard(heartbeat, now)
                if heartbeat.running:
                    self._last[heartbeat.build_id] = now
        kept = _FORGOTTEN * self._heartbeat_s
        self._heard = {key: one for key, one in self._heard.items() if now - one.at <= kept}

    def identities(self, build_id: str, now: float) -> frozenset[str]:
        """The processes of a build that live."""
        return frozenset(
            one.heartbeat.identity
            for one in self._heard.values()
            if one.heartbeat.build_id == build_id and self._lives(one, now)
        )

    def builds(self, now: float) -> frozenset[str]:
        """The builds that have a worker."""
        heard = self._heard.values()
        return frozenset(one.heartbeat.build_id for one in heard if self._lives(one, now))

    def silent_s(self, build_id: str, now: float) -> float:
        """For how long nothing was heard of a build's workers."""
        return now - self._last.get(build_id, self._began)

    def gone(self, build_id: str, now: float) -> bool:
        """Whether a build has no workers, for longer than a heartbeat or a restart takes."""
        if build_id in self.builds(now):
            return False
        heard = [
            one.heartbeat for one in self._heard.values() if one.heartbeat.build_id == build_id
        ]
        stopped = bool(heard) and not any(one.running for one in heard)
        # After the last one has said that it stops, another may just start: one heartbeat's time.
        return self.silent_s(build_id, now) > self._heartbeat_s * (1 if stopped else _MISSED)

    def _lives(self, one: _Heard, now: float) -> bool:
        return one.heartbeat.running and now - one.at <= _MISSED * self._heartbeat_s
