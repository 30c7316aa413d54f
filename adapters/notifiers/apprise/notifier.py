"""Notices through Apprise: Slack, Teams, mail, PagerDuty, webhooks and a hundred more.

An Apprise URL holds the token or password of its service. So nothing that Apprise says of itself is
passed on: its logger is off, its results are only counted, and errors name the channel alone.
"""

from __future__ import annotations

import logging
from typing import Final

import apprise
from pydantic import SecretStr

from adapters.errors import Retryable
from adapters.links import Links
from adapters.notifiers.message import body, spelling, title
from schemas.notice import Notice, Severity

TIMEOUT_S: Final = 10.0
"""Less than an attempt of the activity: a slow service fails as itself."""

_TYPES: Final = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.SUCCESS: apprise.NotifyType.SUCCESS,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.FAILURE: apprise.NotifyType.FAILURE,
}


class AddressError(ValueError):
    """A URL that Apprise can't use. The text names its place, and nothing of the URL."""


class AppriseNotifier:
    """Tells one address: one Apprise URL of a channel."""

    def __init__(self, name: str, url: SecretStr, links: Links | None = None) -> None:
        """Prepare an address; nothing is sent.

        Args:
            name: what errors call it, such as `oncall`.
            url: where to.
            links: to the pages about a release.

        Raises:
            AddressError: no service of Apprise's takes such a URL.
        """
        _quiet()
        asset = apprise.AppriseAsset(
            app_id="Aviary",
            app_desc="Aviary's notices",
            storage_mode=apprise.PersistentStoreMode.MEMORY,
            result_log_disk_size=0,
        )
        found = apprise.Apprise.instantiate(url.get_secret_value(), asset=asset)
        if found is None:
            raise AddressError(f"{name}: expected a URL that Apprise takes (it is not shown)")
        self._name = name
        self._links = links or Links()
        self._spell = spelling(url.get_secret_value().partition(":")[0].strip().lower())
        self._apprise = apprise.Apprise(services=found, asset=asset)
        self.service = str(found.service_name)
        """What kind of service it is, such as `Slack`."""

    async def notify(self, notice: Notice) -> None:
        """Deliver one notice.

        Raises:
            Retryable: the service did not take it in time. Apprise tells no kinds of failure apart.
        """
        result = await self._apprise.async_notify(
            title=title(notice, self._spell),
            body=body(notice, self._links.of(notice), self._spell),
            notify_type=_TYPES[notice.severity],
            body_format=apprise.NotifyFormat.TEXT,
            timeout=TIMEOUT_S,
        )
        if not result:
            word = result.status.name.lower()
            raise Retryable(f"channel {self._name}: {self.service} did not take it ({word})")


def _quiet() -> None:
    """Let Apprise log nothing: its lines may hold parts of its URLs."""
    logging.getLogger("apprise").disabled = True
