"""A notifier that every installation has: the log."""

from __future__ import annotations

import structlog

from adapters.links import Links
from schemas.notice import Notice, Severity


class LogNotifier:
    """Writes notices to the log, where every installation has at least somebody reading."""

    def __init__(self, links: Links | None = None) -> None:
        """Write with links to the pages about a release, where there are any."""
        self._log = structlog.get_logger("aviary.notice")
        self._links = links or Links()

    async def notify(self, notice: Notice) -> None:
        """Write one notice; what needs a person is a warning."""
        loud = notice.severity.is_at_least(Severity.WARNING)
        write = self._log.warning if loud else self._log.info
        write(
            notice.text,
            kind=notice.kind.value,
            severity=notice.severity.value,
            release=notice.release,
            service=notice.service,
            **{f"{name}_page": url for name, url in self._links.of(notice).items()},
        )
