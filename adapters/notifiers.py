"""Notifiers: how people are told."""

from __future__ import annotations

import structlog

from schemas.notice import Notice, NoticeKind

_LOUD = frozenset({NoticeKind.STUCK, NoticeKind.ROLLING_BACK})


class LogNotifier:
    """Writes notices to the log, where every installation has at least somebody reading."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("aviary.notice")

    async def notify(self, notice: Notice) -> None:
        """Write one notice; what needs a person is a warning."""
        write = self._log.warning if notice.kind in _LOUD else self._log.info
        write(notice.text, kind=notice.kind.value, release=notice.release, service=notice.service)
